//! Publishing and subscribing without a stream: nobody keeps it, and nobody waits for ever to get rid of it.

use crate::Connection;
use crate::wait::ANSWER;
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;

impl Connection {
    /// Hands a message to the client, which takes none while its queue is full: when the broker has been away for long,
    /// or reads slowly.
    pub(crate) async fn send(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), String> {
        in_time(self.client().publish_with_headers(subject, headers, payload)).await
    }

    /// What comes at a subject from now on, also after the connection was lost and made again.
    pub(crate) async fn listen(&self, subject: String) -> Result<Subscriber, String> {
        in_time(self.client().subscribe(subject)).await
    }

    /// The same, shared by all who listen under one name.
    pub(crate) async fn listen_together(&self, subject: String, name: String) -> Result<Subscriber, String> {
        in_time(self.client().queue_subscribe(subject, name)).await
    }
}

async fn in_time<T, E: std::fmt::Display>(handing: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    let handed = tokio::time::timeout(ANSWER, handing).await;
    let handed =
        handed.map_err(|_| format!("the client took nothing for {ANSWER:?}: is the broker away?"))?;
    handed.map_err(|error| error.to_string())
}
