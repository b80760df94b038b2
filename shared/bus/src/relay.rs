//! The relay: publishes committed rows in order and marks them after the server's acknowledgement.
//!
//! It survives a broker restart (rows stay until acknowledged) and a crash between acknowledgement and mark (the row
//! is published again under the same id; the server or the inbox of the reader drops it).

mod publish;
mod refill;

use crate::outbox::{self, Waiting};
use crate::{Connection, Desk, Report, inbox};
use kernel::MessageId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Rows in flight at once.
const BATCH: i64 = publish::LARGEST_BATCH as i64;
/// The safety net below the wake-ups.
const PERIOD: Duration = Duration::from_millis(500);
/// How often the streams are compared with what the relay remembers of them.
const VERIFY_EVERY: Duration = Duration::from_secs(5);
/// Who stopped relaying is replaced after this long.
const LEASE: Duration = Duration::from_secs(10);
/// How long handled messages are remembered. A command older than that is never sent again, whatever the broker lost:
/// nobody would know any more that it was obeyed.
const INBOX_KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Why a round did not get everything out.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error("publishing: {0}")]
    Publish(String),
}

impl From<sqlx::Error> for RelayError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Publishes one service's outbox.
pub struct Relay {
    desk: Desk,
    connection: Connection,
    report: Report,
    owner: String,
    /// The connection's epoch when the streams were last found to hold what they acknowledged.
    verified: AtomicU64,
}

impl Relay {
    /// A relay for the outbox behind `desk`.
    pub fn new(desk: Desk, connection: Connection, report: Report) -> Self {
        Self {
            desk,
            connection,
            report,
            owner: MessageId::new().to_string(),
            verified: AtomicU64::new(u64::MAX),
        }
    }

    /// Publishes until told to stop, then once more, so that nothing that was said stays behind.
    pub async fn run(self, stop: CancellationToken) {
        let wake = self.desk.relay_wake().clone();
        let mut failures: u32 = 0;
        let mut next_verify = Instant::now();
        let mut next_prune = Instant::now() + PRUNE_EVERY;
        loop {
            let stopping = stop.is_cancelled();
            if Instant::now() >= next_verify {
                if let Err(error) = self.verify().await {
                    self.report.unwell(error.to_string());
                }
                next_verify = Instant::now() + VERIFY_EVERY;
            }
            match self.round().await {
                Ok(published) => {
                    failures = 0;
                    self.report.well("publishing");
                    // a full batch means that more is waiting
                    if published == BATCH as usize {
                        continue;
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(service = self.desk.service(), %error, failures, "outbox waits");
                    self.report.unwell(error.to_string());
                    // a stream may be gone: bring it back, compare what it holds
                    let _ = self.connection.ensure_streams().await;
                    next_verify = Instant::now();
                }
            }
            if Instant::now() >= next_prune {
                if let Err(error) = self.prune().await {
                    tracing::warn!(%error, "inbox not pruned");
                }
                next_prune = Instant::now() + PRUNE_EVERY;
            }
            if stopping {
                return;
            }
            let pause = if failures == 0 { PERIOD } else { Duration::from_millis(100 << failures.min(5)) };
            tokio::select! {
                () = stop.cancelled() => {}
                () = wake.notified(), if failures == 0 => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Publishes a batch in order. Returns how many rows are out.
    async fn round(&self) -> Result<usize, RelayError> {
        if !self.hold_lease().await? {
            return Ok(0);
        }
        self.verify_if_reconnected().await?;
        let rows = outbox::unpublished(self.desk.store(), BATCH).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let (acknowledged, failure) = self.publish(&rows).await;
        // what flew during a reconnection may have landed on a stream that lost its tail: look before marking, while the
        // rows that were marked before still tell how far it reached
        self.verify_if_reconnected().await?;
        self.mark(&acknowledged).await?;
        match failure {
            Some(reason) => Err(RelayError::Publish(reason)),
            None => Ok(rows.len()),
        }
    }

    /// A server that went away may come back with less than it had, and others may publish first: its length proves
    /// nothing. Nothing is published or marked on a new connection before the streams were looked at.
    async fn verify_if_reconnected(&self) -> Result<(), RelayError> {
        let epoch = self.connection.epoch();
        if self.verified.load(Ordering::SeqCst) != epoch {
            self.verify().await?;
            self.verified.store(epoch, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn mark(&self, acknowledged: &[Acknowledged<'_>]) -> Result<(), RelayError> {
        if acknowledged.is_empty() {
            return Ok(());
        }
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for ack in acknowledged {
            let last = newest.entry(&ack.row.stream).or_default();
            *last = (*last).max(ack.sequence);
        }
        let mut tx = self.desk.store().begin().await?;
        self.notice_lost_tails(&mut tx, acknowledged).await?;
        let published: Vec<(i64, i64)> = acknowledged.iter().map(|a| (a.row.seq, a.sequence)).collect();
        outbox::mark_published(&mut tx, &published).await?;
        for (stream, last) in newest {
            refill::remember(&mut tx, stream, last).await?;
        }
        Ok(tx.commit().await?)
    }

    /// One process relays at a time when several share the database: order, and no double work.
    async fn hold_lease(&self) -> Result<bool, RelayError> {
        if self.desk.store().dialect() == store::Dialect::Sqlite {
            return Ok(true);
        }
        let now = self.desk.clock().now();
        let mut tx = self.desk.store().begin().await?;
        let held = sqlx::query(
            "INSERT INTO relay_lease (id, owner, expires_at) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET owner = $1, expires_at = $2
             WHERE relay_lease.owner = $1 OR relay_lease.expires_at < $3",
        )
        .bind(&self.owner)
        .bind(now.after(LEASE).micros())
        .bind(now.micros())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(held.rows_affected() == 1)
    }

    async fn prune(&self) -> Result<(), RelayError> {
        let before = kernel::Timestamp(self.desk.clock().now().micros() - INBOX_KEEP.as_micros() as i64);
        let mut tx = self.desk.store().begin().await?;
        inbox::prune(&mut tx, before).await?;
        Ok(tx.commit().await?)
    }
}

/// A row the server has taken.
struct Acknowledged<'r> {
    row: &'r Waiting,
    sequence: i64,
    duplicate: bool,
}
