//! Questions that somebody asks over the broker and waits for: no stream keeps them.

use crate::Connection;
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures::StreamExt;

/// Listens for questions; several that listen under one name share them.
pub struct Questions {
    connection: Connection,
    asked: Subscriber,
}

/// One question.
pub struct Question {
    /// What is asked.
    pub payload: Bytes,
    connection: Connection,
    reply: Option<async_nats::Subject>,
}

/// The broker cannot be listened to, or not be answered.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct QuestionError(String);

impl Questions {
    /// Listens on a subject under a shared name.
    pub async fn listen(connection: &Connection, subject: &str, name: &str) -> Result<Self, QuestionError> {
        let asked = connection.listen_together(subject.to_owned(), name.to_owned()).await;
        Ok(Self { connection: connection.clone(), asked: asked.map_err(QuestionError)? })
    }

    /// The next question; `None` when no more will come over this connection.
    pub async fn next(&mut self) -> Option<Question> {
        let message = self.asked.next().await?;
        Some(Question { payload: message.payload, connection: self.connection.clone(), reply: message.reply })
    }
}

impl Question {
    /// Answers it, if somebody waits.
    pub async fn answer(self, answer: String) -> Result<(), QuestionError> {
        let Some(reply) = self.reply else { return Ok(()) };
        let sent = self.connection.send(reply.to_string(), HeaderMap::new(), answer.into()).await;
        sent.map_err(QuestionError)
    }
}
