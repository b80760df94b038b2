//! Tables out of events: what proves that `EVENTS` says everything, and what brings a lost database back.
//!
//! A rebuilt database knows what the lost one knew of the broker as well: its own events are in the outbox with their
//! places (so that a stream that loses them is refilled), and the messages that led to them are in the inbox (so that
//! none of them has its effect again). What was decided and not yet published when the database was lost is lost.

mod books;
mod replay;
mod standing;

pub use replay::{Rebuilt, apply_all, rebuild};
pub use standing::{Standing, standing};

use crate::watch::WatchError;
use crate::{Envelope, Failure, Subscriptions, Work};
use async_trait::async_trait;
use store::{Store, StoreError};

/// An event could not be applied, or none could be read.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Its bytes are not what its subject says.
    #[error("{subject}: {reason}")]
    Event {
        /// Where it travelled.
        subject: String,
        /// What is wrong.
        reason: String,
    },
    /// The table did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The events cannot be read, or not all of them are there.
    #[error("{0}")]
    Stream(String),
}

impl RebuildError {
    /// An event that is not what its subject says.
    pub fn event(event: &Envelope, reason: impl Into<String>) -> Self {
        Self::Event { subject: event.subject.to_string(), reason: reason.into() }
    }

    /// A handler did not take the event.
    pub fn failed(event: &Envelope, failure: Failure) -> Self {
        Self::event(event, failure.to_string())
    }
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<WatchError> for RebuildError {
    fn from(error: WatchError) -> Self {
        Self::Stream(error.to_string())
    }
}

/// How a service's tables come out of the events. Used to verify them, and to make them again.
#[async_trait]
pub trait Rebuild: Send + Sync + 'static {
    /// The service's name in the proto package.
    fn service(&self) -> &'static str;

    /// Tables that are a function of the events alone. The others hold work in hand and may start empty.
    fn tables(&self) -> &'static [&'static str];

    /// The name under which the service's inbox remembers.
    fn consumer(&self) -> String {
        self.service().to_owned()
    }

    /// Whether the event came out of this database: several of them may speak for one service, one for each host.
    fn said(&self, event: &Envelope) -> bool {
        event.subject.service == self.service()
    }

    /// Applies one event to the tables; events that do not concern them are passed over. Events come in the order of
    /// the stream; coming twice does no harm. What is said or told here is thrown away.
    async fn apply(&self, work: &mut Work, event: &Envelope) -> Result<(), RebuildError>;

    /// Once the tables are there: sends again what may have been lost on its way out. Readers must not mind.
    async fn finish(&self, work: &mut Work) -> Result<(), RebuildError> {
        let _ = work;
        Ok(())
    }
}

/// Tables that the service's handlers make every day: handlers that skip what they have seen and say nothing.
pub struct FromHandlers {
    /// See [`Rebuild::tables`].
    pub tables: &'static [&'static str],
    /// The handlers.
    pub subscriptions: Subscriptions,
}

#[async_trait]
impl Rebuild for FromHandlers {
    fn service(&self) -> &'static str {
        self.subscriptions.service
    }

    fn tables(&self) -> &'static [&'static str] {
        self.tables
    }

    async fn apply(&self, work: &mut Work, event: &Envelope) -> Result<(), RebuildError> {
        let applied = self.subscriptions.apply(work, event).await;
        applied.map(|_| ()).map_err(|failure| RebuildError::failed(event, failure))
    }
}

/// The name of a database: made with it, kept as long as it is, another one after a rebuild.
pub async fn store_id(store: &Store) -> Result<String, StoreError> {
    let mut tx = store.begin().await?;
    sqlx::query("INSERT INTO store_identity (id, store_id) VALUES (1, $1) ON CONFLICT (id) DO NOTHING")
        .bind(kernel::MessageId::new().to_string())
        .execute(&mut *tx)
        .await?;
    let id =
        sqlx::query_scalar("SELECT store_id FROM store_identity WHERE id = 1").fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(id)
}
