//! A bench for one service: messages in, messages out, without a broker. Each message can be delivered several times;
//! the bench goes through the same inbox, savepoints and outbox as the runner.

use bus::{Cause, Desk, Envelope, Failure, Subscriptions};
use kernel::{CorrelationId, Message, MessageId, Subject, SystemClock};
use sqlx::Row;
use std::sync::Arc;
use store::Store;

/// A service on the bench.
pub struct Bench {
    /// Where its work begins.
    pub desk: Desk,
    subscriptions: Subscriptions,
    deliveries: usize,
    read_up_to: i64,
    /// Whose messages are sent.
    pub tenant: String,
}

/// A message the service sent.
#[derive(Debug, Clone)]
pub struct Said {
    /// Where it goes.
    pub subject: Subject,
    /// Protobuf bytes.
    pub payload: Vec<u8>,
}

impl Said {
    /// The message, when it is an `M`.
    pub fn get<M: Message>(&self) -> Option<M> {
        if self.subject.service != M::SERVICE || self.subject.name != M::NAME {
            return None;
        }
        Some(M::from_bytes(&self.payload).expect("what a service says can be read"))
    }
}

impl Bench {
    /// A bench on which every message is delivered `deliveries` times: run each case with 1 and with 2.
    pub fn new(service: &'static str, store: Store, subscriptions: Subscriptions, deliveries: usize) -> Self {
        let desk = Desk::new(service, store, Arc::new(SystemClock));
        Self::on(desk, subscriptions, deliveries)
    }

    /// The same on a desk that is there already.
    pub fn on(desk: Desk, subscriptions: Subscriptions, deliveries: usize) -> Self {
        Self { desk, subscriptions, deliveries, read_up_to: 0, tenant: "default".into() }
    }

    /// Delivers a message. An error is the handler's of the first delivery.
    pub async fn deliver<M: Message>(&mut self, message: &M) -> Result<(), Failure> {
        self.deliver_about(message.key(), message).await
    }

    /// The same for a message that does not say itself which object it is about.
    pub async fn deliver_about<M: Message>(&mut self, key: &str, message: &M) -> Result<(), Failure> {
        let envelope = Envelope {
            id: MessageId::new(),
            subject: Subject {
                kind: M::KIND,
                service: M::SERVICE.to_owned(),
                version: M::VERSION.to_owned(),
                name: M::NAME.to_owned(),
                tenant: self.tenant.clone(),
                key: key.to_owned(),
            },
            cause: Cause {
                correlation: CorrelationId::new(),
                causation: None,
                actor: "test".into(),
                tenant: self.tenant.clone(),
                traceparent: String::new(),
            },
            occurred_at: self.desk.clock().now(),
            payload: message.to_bytes().into(),
        };
        for _ in 0..self.deliveries {
            self.subscriptions.deliver(&self.desk, &envelope).await?;
        }
        Ok(())
    }

    /// What the service sent since it was asked last, in order.
    pub async fn said(&mut self) -> Vec<Said> {
        let rows = sqlx::query("SELECT seq, subject, payload FROM outbox WHERE seq > $1 ORDER BY seq")
            .bind(self.read_up_to)
            .fetch_all(self.desk.store().reader())
            .await
            .expect("the outbox");
        let mut said = Vec::with_capacity(rows.len());
        for row in rows {
            self.read_up_to = row.get("seq");
            let subject: String = row.get("subject");
            said.push(Said {
                subject: subject.parse().expect("a subject of ours"),
                payload: row.get("payload"),
            });
        }
        said
    }

    /// All messages of one type that were sent since last asked.
    pub async fn said_of<M: Message>(&mut self) -> Vec<M> {
        self.said().await.iter().filter_map(Said::get::<M>).collect()
    }
}
