//! What the relay remembers of each stream: which one it was, and how far it had acknowledged us.

use super::RelayError;
use sqlx::{AnyConnection, Row};
use store::Store;

/// A stream as it was known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownStream {
    /// "EVENTS".
    pub stream: String,
    /// When it was made, in nanoseconds since the epoch; "" = never looked at.
    pub incarnation: String,
    /// The last place at which it has acknowledged a message of ours; 0 = none.
    pub last: i64,
    /// Places that held no message when the whole stream was last compared.
    pub absent: i64,
    /// The run of the server that was last compared with the whole outbox.
    pub audited: String,
}

/// All streams that are known.
pub(super) async fn all(store: &Store) -> Result<Vec<KnownStream>, RelayError> {
    let rows = sqlx::query(
        "SELECT stream, incarnation, last_sequence, absent, audited FROM relay_stream ORDER BY stream",
    )
    .fetch_all(store.reader())
    .await?;
    let mut known = Vec::with_capacity(rows.len());
    for row in rows {
        known.push(KnownStream {
            stream: row.try_get("stream")?,
            incarnation: row.try_get("incarnation")?,
            last: row.try_get("last_sequence")?,
            absent: row.try_get("absent")?,
            audited: row.try_get("audited")?,
        });
    }
    Ok(known)
}

/// Remembers how far a stream has acknowledged us.
pub(super) async fn reached(tx: &mut AnyConnection, stream: &str, last: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO relay_stream (stream, incarnation, last_sequence) VALUES ($1, '', $2)
         ON CONFLICT (stream) DO UPDATE SET last_sequence = $2 WHERE relay_stream.last_sequence < $2",
    )
    .bind(stream)
    .bind(last)
    .execute(tx)
    .await?;
    Ok(())
}

/// Remembers a stream as it is now.
pub(super) async fn keep(tx: &mut AnyConnection, known: &KnownStream) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO relay_stream (stream, incarnation, last_sequence, absent, audited) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (stream) DO UPDATE SET incarnation = $2, last_sequence = $3, absent = $4, audited = $5",
    )
    .bind(&known.stream)
    .bind(&known.incarnation)
    .bind(known.last)
    .bind(known.absent)
    .bind(&known.audited)
    .execute(tx)
    .await?;
    Ok(())
}

/// Remembers that the whole stream was compared.
pub(super) async fn audited(
    tx: &mut AnyConnection,
    stream: &str,
    server: &str,
    absent: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE relay_stream SET audited = $1, absent = $2 WHERE stream = $3")
        .bind(server)
        .bind(absent)
        .bind(stream)
        .execute(tx)
        .await?;
    Ok(())
}
