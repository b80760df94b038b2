//! Short-lived samples: sent and forgotten, seen by whoever listens now.

use crate::Connection;
use async_nats::HeaderMap;
use futures::{Stream, StreamExt};
use kernel::{Kind, Message, Subject};

/// Samples cannot be sent or listened to now.
#[derive(Debug, thiserror::Error)]
#[error("samples: {0}")]
pub struct SampleError(String);

/// Sends a sample; nobody acknowledges it.
pub async fn publish<M: Message>(connection: &Connection, sample: &M) -> Result<(), SampleError> {
    let subject = subject::<M>(sample.key());
    if !connection.is_up() {
        // one that is sent when the broker is back tells nothing any more
        return Err(SampleError("there is no connection to the broker".to_owned()));
    }
    connection.send(subject, HeaderMap::new(), sample.to_bytes().into()).await.map_err(SampleError)
}

/// All samples of a kind from now on. What cannot be read is skipped.
pub async fn subscribe<M: Message>(
    connection: &Connection,
) -> Result<impl Stream<Item = M> + Send + Unpin + use<M>, SampleError> {
    let wildcard = format!("tel.{}.{}.{}.*", M::SERVICE, M::VERSION, M::NAME);
    let messages = connection.listen(wildcard).await.map_err(SampleError)?;
    Ok(messages.filter_map(|message| std::future::ready(M::from_bytes(&message.payload).ok())))
}

fn subject<M: Message>(key: &str) -> String {
    debug_assert_eq!(M::KIND, Kind::Sample, "{} is not a sample", M::NAME);
    Subject {
        kind: Kind::Sample,
        service: M::SERVICE.to_owned(),
        version: M::VERSION.to_owned(),
        name: M::NAME.to_owned(),
        tenant: String::new(),
        key: key.to_owned(),
    }
    .to_string()
}
