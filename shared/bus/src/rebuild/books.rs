//! What a rebuilt database has to know of the broker: outbox, inbox, and how far a rebuild has come.

use crate::{Envelope, topology};
use kernel::Timestamp;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use store::{Store, StoreError};

/// How far a rebuild has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RebuildProgress {
    pub incarnation: String,
    pub after: u64,
    pub events: u64,
    pub unreadable: u64,
    pub began_at: Timestamp,
}

fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The rebuild that is under way; none: the tables are whole.
pub(super) async fn progress(store: &Store) -> Result<Option<RebuildProgress>, StoreError> {
    let row = sqlx::query(
        "SELECT incarnation, after_sequence, events, unreadable, began_at FROM rebuild WHERE id = 1",
    )
    .fetch_optional(store.reader())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(RebuildProgress {
        incarnation: row.try_get("incarnation")?,
        after: number(row.try_get("after_sequence")?),
        events: number(row.try_get("events")?),
        unreadable: number(row.try_get("unreadable")?),
        began_at: Timestamp(row.try_get("began_at")?),
    }))
}

pub(super) async fn put_progress(
    tx: &mut AnyConnection,
    progress: &RebuildProgress,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO rebuild (id, incarnation, after_sequence, events, unreadable, began_at) VALUES (1, $1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET incarnation = $1, after_sequence = $2, events = $3, unreadable = $4",
    )
    .bind(&progress.incarnation)
    .bind(column(progress.after))
    .bind(column(progress.events))
    .bind(column(progress.unreadable))
    .bind(progress.began_at.micros())
    .execute(tx)
    .await?;
    Ok(())
}

/// The tables are whole. False: another process said so before.
pub(super) async fn end(tx: &mut AnyConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query("DELETE FROM rebuild WHERE id = 1").execute(tx).await?.rows_affected() == 1)
}

/// Rows of one statement: well below SQLite's limit of values, and few different lengths.
const ROWS: [usize; 3] = [100, 10, 1];

fn values(rows: usize, columns: usize) -> String {
    let row = |index: usize| {
        let cells: Vec<String> =
            (1..=columns).map(|column| format!("${}", index * columns + column)).collect();
        format!("({})", cells.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

fn in_statements<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = ROWS.into_iter().find(|length| *length <= rows.len())?;
        let (now, later) = rows.split_at(length);
        rows = later;
        Some(now)
    })
}

/// Puts events into the outbox as what they are: said, and kept by the stream at these places.
pub(super) async fn put_said(
    tx: &mut AnyConnection,
    said: &[&(u64, Box<Envelope>)],
) -> Result<(), StoreError> {
    for rows in in_statements(said) {
        let statement = format!(
            "INSERT INTO outbox (message_id, stream, subject, headers, payload, created_at, stream_sequence) VALUES {} \
             ON CONFLICT (message_id) DO NOTHING",
            values(rows.len(), 7)
        );
        let mut insert = sqlx::query(AssertSqlSafe(statement));
        for (sequence, event) in rows {
            insert = insert
                .bind(event.id.to_string())
                .bind(topology::EVENTS)
                .bind(event.subject.to_string())
                .bind(serde_json::to_string(&event.headers()).unwrap_or_default())
                .bind(event.payload.to_vec())
                .bind(event.occurred_at.micros())
                .bind(column(*sequence));
        }
        insert.execute(&mut *tx).await?;
    }
    Ok(())
}

/// The messages that led to these events had their effect.
pub(super) async fn put_handled(
    tx: &mut AnyConnection,
    consumer: &str,
    said: &[&(u64, Box<Envelope>)],
) -> Result<(), StoreError> {
    let handled: Vec<_> =
        said.iter().filter_map(|(_, event)| Some((event.cause.causation?, event.occurred_at))).collect();
    for rows in in_statements(&handled) {
        let statement = format!(
            "INSERT INTO inbox (consumer, message_id, handled_at) VALUES {} ON CONFLICT (consumer, message_id) DO NOTHING",
            values(rows.len(), 3)
        );
        let mut insert = sqlx::query(AssertSqlSafe(statement));
        for (message, at) in rows {
            insert = insert.bind(consumer).bind(message.to_string()).bind(at.micros());
        }
        insert.execute(&mut *tx).await?;
    }
    Ok(())
}

/// The relay goes on where the lost database stood. Answers how many events of its own the stream holds.
pub(super) async fn put_relay(tx: &mut AnyConnection, incarnation: &str) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS events, COALESCE(MAX(stream_sequence), 0) AS last FROM outbox WHERE stream = $1",
    )
    .bind(topology::EVENTS)
    .fetch_one(&mut *tx)
    .await?;
    let (events, last): (i64, i64) = (row.try_get("events")?, row.try_get("last")?);
    if last > 0 {
        sqlx::query(
            "INSERT INTO relay_stream (stream, incarnation, last_sequence) VALUES ($1, $2, $3)
             ON CONFLICT (stream) DO UPDATE SET incarnation = $2, last_sequence = $3",
        )
        .bind(topology::EVENTS)
        .bind(incarnation)
        .bind(last)
        .execute(tx)
        .await?;
    }
    Ok(number(events))
}
