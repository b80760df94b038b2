//! The broker is transport and log, never the only copy: what a stream lost is published again from the outbox.

use super::{Acknowledged, INBOX_KEEP, Relay, RelayError};
use crate::{outbox, topology};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use kernel::Timestamp;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeMap;
use std::time::Duration;

/// Commands younger than this are sent again; a day less than the inboxes remember.
const COMMANDS_KEEP: Duration = Duration::from_secs(INBOX_KEEP.as_secs() - 24 * 3600);

/// Remembers how far a stream has acknowledged us.
pub(super) async fn remember(
    tx: &mut AnyConnection,
    stream: &str,
    last_sequence: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO relay_stream (stream, incarnation, last_sequence) VALUES ($1, '', $2)
         ON CONFLICT (stream) DO UPDATE SET last_sequence = $2",
    )
    .bind(stream)
    .bind(last_sequence)
    .execute(tx)
    .await?;
    Ok(())
}

impl Relay {
    /// Compares each stream with what is remembered of it: another incarnation lost everything, a shorter one its tail.
    pub(super) async fn verify(&self) -> Result<(), RelayError> {
        let known = sqlx::query("SELECT stream, incarnation, last_sequence FROM relay_stream")
            .fetch_all(self.desk.store().reader())
            .await?;
        for row in known {
            let (stream, incarnation, last): (String, String, i64) =
                (row.try_get("stream")?, row.try_get("incarnation")?, row.try_get("last_sequence")?);
            let found = match self.connection.jetstream().get_stream(&stream).await {
                Ok(found) => found,
                Err(error) if crate::topology::is_missing(&error) => {
                    self.connection.ensure_streams().await.map_err(|e| RelayError::Publish(e.to_string()))?;
                    self.connection
                        .jetstream()
                        .get_stream(&stream)
                        .await
                        .map_err(|e| RelayError::Publish(e.to_string()))?
                }
                Err(error) => return Err(RelayError::Publish(error.to_string())),
            };
            let info = found.cached_info();
            let present = info.created.unix_timestamp_nanos().to_string();
            let held = info.state.last_sequence as i64;
            let same = incarnation.is_empty() || incarnation == present;
            let intact = if same { self.intact(&found, &stream, held, last).await? } else { 0 };
            if incarnation == present && intact == last {
                continue;
            }
            let mut tx = self.desk.store().begin().await?;
            if intact < last {
                self.refill_after(&mut tx, &stream, intact).await?;
            }
            sqlx::query("UPDATE relay_stream SET incarnation = $1, last_sequence = $2 WHERE stream = $3")
                .bind(&present)
                .bind(intact)
                .bind(&stream)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Up to which place the stream still holds what it acknowledged, at most `last`. Its length is no proof, because
    /// other publishers make it longer: our own messages have to be found where they were.
    async fn intact(&self, found: &Stream, stream: &str, held: i64, last: i64) -> Result<i64, RelayError> {
        // nothing was acknowledged, so nothing can be lost
        if last == 0 {
            return Ok(0);
        }
        if held >= last && self.holds(found, stream, last).await? {
            return Ok(last);
        }
        if stream != topology::EVENTS {
            // a work queue forgets what was obeyed, so its places tell nothing: all of it is sent again, and the
            // inboxes know what they had
            return Ok(0);
        }
        // what is lost is always a tail: the newest of our rows that is still there is found by halving
        let bound = held.min(last);
        let mut lost: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM outbox WHERE stream = $1 AND stream_sequence > 0 AND stream_sequence <= $2",
        )
        .bind(stream)
        .bind(bound)
        .fetch_one(self.desk.store().reader())
        .await?;
        let (mut sound, mut place) = (0, 0);
        while sound < lost {
            let middle = sound + (lost - sound) / 2;
            let sequence: i64 = sqlx::query_scalar(
                "SELECT stream_sequence FROM outbox WHERE stream = $1 AND stream_sequence > 0 AND stream_sequence <= $2
                 ORDER BY stream_sequence LIMIT 1 OFFSET $3",
            )
            .bind(stream)
            .bind(bound)
            .bind(middle)
            .fetch_one(self.desk.store().reader())
            .await?;
            if self.holds(found, stream, sequence).await? {
                (sound, place) = (middle + 1, sequence);
            } else {
                lost = middle;
            }
        }
        Ok(place)
    }

    /// Whether the stream holds our message at `sequence`. A work queue that has no message there has obeyed it.
    async fn holds(&self, found: &Stream, stream: &str, sequence: i64) -> Result<bool, RelayError> {
        let ours: Vec<String> =
            sqlx::query_scalar("SELECT message_id FROM outbox WHERE stream = $1 AND stream_sequence = $2")
                .bind(stream)
                .bind(sequence)
                .fetch_all(self.desk.store().reader())
                .await?;
        if ours.is_empty() {
            return Ok(true);
        }
        match found.direct_get(u64::try_from(sequence).unwrap_or(0)).await {
            Ok(message) => {
                let there = message.headers.get("Nats-Msg-Id").map(|id| id.as_str());
                Ok(ours.iter().any(|id| Some(id.as_str()) == there))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(stream != topology::EVENTS),
            Err(error) => Err(RelayError::Publish(error.to_string())),
        }
    }

    /// An acknowledgement below what the stream had told us before: it was rolled back under our feet.
    pub(super) async fn notice_lost_tails(
        &self,
        tx: &mut AnyConnection,
        acknowledged: &[Acknowledged<'_>],
    ) -> Result<(), RelayError> {
        let mut first: BTreeMap<&str, i64> = BTreeMap::new();
        for ack in acknowledged.iter().filter(|a| !a.duplicate) {
            let sequence = first.entry(&ack.row.stream).or_insert(ack.sequence);
            *sequence = (*sequence).min(ack.sequence);
        }
        for (stream, sequence) in first {
            let last: Option<i64> =
                sqlx::query_scalar("SELECT last_sequence FROM relay_stream WHERE stream = $1")
                    .bind(stream)
                    .fetch_optional(&mut *tx)
                    .await?;
            if last.is_some_and(|last| sequence <= last) {
                self.refill_after(tx, stream, sequence - 1).await?;
            }
        }
        Ok(())
    }

    async fn refill_after(
        &self,
        tx: &mut AnyConnection,
        stream: &str,
        sequence: i64,
    ) -> Result<(), RelayError> {
        let oldest = if stream == topology::EVENTS {
            Timestamp(0)
        } else {
            Timestamp(self.desk.clock().now().micros() - COMMANDS_KEEP.as_micros() as i64)
        };
        let rows = outbox::unpublish_after(tx, stream, sequence, oldest).await?;
        if rows > 0 {
            tracing::error!(
                service = self.desk.service(),
                stream,
                after = sequence,
                rows,
                "the broker lost messages; publishing them again"
            );
        }
        Ok(())
    }
}
