//! Questions that somebody asks over the broker and waits for: no stream keeps them.

use crate::Connection;
use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt;

/// Listens for questions; several that listen under one name share them.
pub struct Questions {
    client: async_nats::Client,
    asked: Subscriber,
}

/// One question.
pub struct Question {
    /// What is asked.
    pub payload: Bytes,
    client: async_nats::Client,
    reply: Option<async_nats::Subject>,
}

/// The broker cannot be listened to, or not be answered.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct QuestionError(String);

impl Questions {
    /// Listens on a subject under a shared name.
    pub async fn listen(connection: &Connection, subject: &str, name: &str) -> Result<Self, QuestionError> {
        let client = connection.client().clone();
        let asked = client.queue_subscribe(subject.to_owned(), name.to_owned()).await;
        Ok(Self { client, asked: asked.map_err(|e| QuestionError(e.to_string()))? })
    }

    /// The next question; `None` when no more will come over this connection.
    pub async fn next(&mut self) -> Option<Question> {
        let message = self.asked.next().await?;
        Some(Question { payload: message.payload, client: self.client.clone(), reply: message.reply })
    }
}

impl Question {
    /// Answers it, if somebody waits.
    pub async fn answer(self, answer: String) -> Result<(), QuestionError> {
        let Some(reply) = self.reply else { return Ok(()) };
        self.client.publish(reply, answer.into()).await.map_err(|e| QuestionError(e.to_string()))
    }
}
