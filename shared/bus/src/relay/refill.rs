//! The broker is transport and log, never the only copy: what a stream lost is published again from the outbox.

use super::{Acknowledged, Relay, RelayError};
use crate::outbox;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeMap;

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
            if incarnation == present && held >= last {
                continue;
            }
            let intact = if incarnation.is_empty() || incarnation == present { held.min(last) } else { 0 };
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
        let rows = outbox::unpublish_after(tx, stream, sequence).await?;
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
