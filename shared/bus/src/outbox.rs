//! The outbox: rows that are published after the transaction that wrote them.

use crate::Envelope;
use kernel::Timestamp;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;
use store::{Store, StoreError};

/// A message on its way into the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub message_id: String,
    pub stream: String,
    pub subject: String,
    pub headers: BTreeMap<String, String>,
    pub payload: Vec<u8>,
}

impl Outgoing {
    pub fn of(stream: String, envelope: &Envelope) -> Self {
        Self {
            message_id: envelope.id.to_string(),
            stream,
            subject: envelope.subject.to_string(),
            headers: envelope.headers(),
            payload: envelope.payload.to_vec(),
        }
    }
}

/// A message in the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub seq: i64,
    pub stream: String,
    pub subject: String,
    pub headers: BTreeMap<String, String>,
    pub payload: Vec<u8>,
}

/// Values per row, and rows per statement: well below SQLite's limit of 32,766 values.
const COLUMNS: usize = 6;
const ROWS_PER_INSERT: usize = 100;

pub(crate) async fn append(
    tx: &mut AnyConnection,
    outgoing: &[Outgoing],
    now: Timestamp,
) -> Result<(), StoreError> {
    for rows in outgoing.chunks(ROWS_PER_INSERT) {
        let mut insert = sqlx::query(AssertSqlSafe(insert_statement(rows.len())));
        for message in rows {
            insert = insert
                .bind(&message.message_id)
                .bind(&message.stream)
                .bind(&message.subject)
                .bind(serde_json::to_string(&message.headers).unwrap_or_default())
                .bind(message.payload.as_slice())
                .bind(now.micros());
        }
        insert.execute(&mut *tx).await?;
    }
    Ok(())
}

/// One statement for many rows. The query builder of sqlx writes `?`, which PostgreSQL does not know.
fn insert_statement(rows: usize) -> String {
    let row = |index: usize| {
        let values: Vec<String> =
            (1..=COLUMNS).map(|column| format!("${}", index * COLUMNS + column)).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO outbox (message_id, stream, subject, headers, payload, created_at) VALUES {} \
         ON CONFLICT (message_id) DO NOTHING",
        rows.join(", ")
    )
}

/// The oldest rows that are not published yet.
pub(crate) async fn unpublished(store: &Store, limit: i64) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query(
        "SELECT seq, stream, subject, headers, payload FROM outbox WHERE stream_sequence = 0 ORDER BY seq LIMIT $1",
    )
    .bind(limit)
    .fetch_all(store.reader())
    .await?;
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let headers: String = row.try_get("headers")?;
        out.push(Waiting {
            seq: row.try_get("seq")?,
            stream: row.try_get("stream")?,
            subject: row.try_get("subject")?,
            headers: serde_json::from_str(&headers).unwrap_or_default(),
            payload: row.try_get("payload")?,
        });
    }
    Ok(out)
}

/// Remembers where the stream keeps each row: (row, stream sequence).
pub(crate) async fn mark_published(
    tx: &mut AnyConnection,
    published: &[(i64, i64)],
) -> Result<(), StoreError> {
    for (seq, stream_sequence) in published {
        sqlx::query("UPDATE outbox SET stream_sequence = $1 WHERE seq = $2")
            .bind(stream_sequence)
            .bind(seq)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Makes rows of `stream` unpublished again that it kept after `sequence` and that are not older than `oldest`.
/// Returns how many.
pub(crate) async fn unpublish_after(
    tx: &mut AnyConnection,
    stream: &str,
    sequence: i64,
    oldest: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE outbox SET stream_sequence = 0 WHERE stream = $1 AND stream_sequence > $2 AND created_at >= $3",
    )
    .bind(stream)
    .bind(sequence)
    .bind(oldest.micros())
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// How many messages wait to be published.
pub async fn pending(store: &Store) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT COUNT(*) FROM outbox WHERE stream_sequence = 0")
        .fetch_one(store.reader())
        .await?)
}

/// When the oldest message was committed that is not published yet.
pub async fn oldest_pending(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    let found =
        sqlx::query_scalar("SELECT created_at FROM outbox WHERE stream_sequence = 0 ORDER BY seq LIMIT 1")
            .fetch_optional(store.reader())
            .await?;
    Ok(found.map(Timestamp))
}
