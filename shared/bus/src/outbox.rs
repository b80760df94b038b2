//! The outbox: rows that are published after the transaction that wrote them.

use crate::Envelope;
use kernel::{MessageId, Timestamp};
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::{BTreeMap, HashMap};
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

/// Values per row, and rows per statement: well below SQLite's limit of 32,766 values, and few different lengths, so
/// that each is prepared once.
const COLUMNS: usize = 6;
const INSERT_ROWS: [usize; 4] = [100, 25, 5, 1];

/// The number of each message.
pub(crate) type Numbers = HashMap<String, i64>;

/// Writes messages. Answers their numbers, if they are wanted.
pub(crate) async fn append(
    tx: &mut AnyConnection,
    outgoing: &[Outgoing],
    now: Timestamp,
    numbered: bool,
) -> Result<Option<Numbers>, StoreError> {
    let mut left = outgoing;
    let mut numbers = numbered.then(|| Numbers::with_capacity(outgoing.len()));
    while !left.is_empty() {
        let length = INSERT_ROWS.into_iter().find(|rows| *rows <= left.len()).unwrap_or(1);
        let (rows, rest) = left.split_at(length);
        left = rest;
        let returning = if numbered { " RETURNING message_id, seq" } else { "" };
        let mut insert = sqlx::query(AssertSqlSafe(insert_statement(rows.len()) + returning));
        for message in rows {
            insert = insert
                .bind(&message.message_id)
                .bind(&message.stream)
                .bind(&message.subject)
                .bind(serde_json::to_string(&message.headers).unwrap_or_default())
                .bind(message.payload.as_slice())
                .bind(now.micros());
        }
        let Some(numbers) = &mut numbers else {
            insert.execute(&mut *tx).await?;
            continue;
        };
        for row in insert.fetch_all(&mut *tx).await? {
            numbers.insert(row.try_get("message_id")?, row.try_get("seq")?);
        }
    }
    Ok(numbers)
}

/// The messages as rows; `None` when one of them has no number, because it was in the outbox before.
pub(crate) fn numbered(outgoing: Vec<Outgoing>, numbers: &Numbers) -> Option<Vec<Waiting>> {
    let row = |message: Outgoing| {
        Some(Waiting {
            seq: *numbers.get(&message.message_id)?,
            stream: message.stream,
            subject: message.subject,
            headers: message.headers,
            payload: message.payload,
        })
    };
    outgoing.into_iter().map(row).collect()
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

/// The oldest rows that are not published yet, of all streams but `full` ones.
pub(crate) async fn unpublished(
    store: &Store,
    limit: i64,
    full: &[String],
) -> Result<Vec<Waiting>, StoreError> {
    let skipped: Vec<String> = (0..full.len()).map(|n| format!(" AND stream <> ${}", n + 2)).collect();
    let statement = format!(
        "SELECT seq, stream, subject, headers, payload FROM outbox WHERE stream_sequence = 0{} ORDER BY seq LIMIT $1",
        skipped.concat()
    );
    let mut query = sqlx::query(AssertSqlSafe(statement)).bind(limit);
    for stream in full {
        query = query.bind(stream);
    }
    waiting(query.fetch_all(store.reader()).await?)
}

/// The oldest rows of one stream that are not published yet.
pub(crate) async fn unpublished_of(
    store: &Store,
    stream: &str,
    limit: i64,
) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query(
        "SELECT seq, stream, subject, headers, payload FROM outbox WHERE stream_sequence = 0 AND stream = $1 ORDER BY seq LIMIT $2",
    )
    .bind(stream)
    .bind(limit)
    .fetch_all(store.reader())
    .await?;
    waiting(rows)
}

fn waiting(rows: Vec<sqlx::any::AnyRow>) -> Result<Vec<Waiting>, StoreError> {
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

/// Rows marked by one statement.
const ROWS_PER_MARK: usize = 500;

/// Remembers where the stream keeps each row: (row, stream sequence).
pub(crate) async fn mark_published(
    tx: &mut AnyConnection,
    published: &[(i64, i64)],
) -> Result<(), StoreError> {
    for rows in published.chunks(ROWS_PER_MARK) {
        // numbers of our own, written out: binding a thousand values costs more than parsing them
        let places: Vec<String> = rows.iter().map(|(seq, place)| format!("({seq}, {place})")).collect();
        let statement = format!(
            "WITH marks (seq, place) AS (VALUES {}) \
             UPDATE outbox SET stream_sequence = marks.place FROM marks WHERE outbox.seq = marks.seq",
            places.join(", ")
        );
        sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Makes rows of `stream` unpublished again that it kept after `place` and that are not older than `oldest`.
/// Returns how many.
pub(crate) async fn unpublish_after(
    tx: &mut AnyConnection,
    stream: &str,
    place: i64,
    oldest: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE outbox SET stream_sequence = 0 WHERE stream = $1 AND stream_sequence > $2 AND created_at >= $3",
    )
    .bind(stream)
    .bind(place)
    .bind(oldest.micros())
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// Where a message was published.
pub(crate) struct Published {
    pub stream: String,
    pub place: i64,
}

/// Where a message was published that is not older than `oldest`.
pub(crate) async fn published(
    store: &Store,
    id: MessageId,
    oldest: Timestamp,
) -> Result<Option<Published>, StoreError> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT stream, stream_sequence FROM outbox WHERE message_id = $1 AND stream_sequence > 0 AND created_at >= $2",
    )
    .bind(id.to_string())
    .bind(oldest.micros())
    .fetch_optional(store.reader())
    .await?;
    Ok(row.map(|(stream, place)| Published { stream, place }))
}

/// Makes a message unpublished again that was published at `place`. False: it is elsewhere meanwhile.
pub(crate) async fn unpublish_one(
    tx: &mut AnyConnection,
    id: MessageId,
    place: i64,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE outbox SET stream_sequence = 0 WHERE message_id = $1 AND stream_sequence = $2")
            .bind(id.to_string())
            .bind(place)
            .execute(tx)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes the rows at these places of `stream` unpublished again. Returns how many.
pub(crate) async fn unpublish(
    tx: &mut AnyConnection,
    stream: &str,
    places: &[i64],
) -> Result<u64, StoreError> {
    let mut rows = 0;
    for places in places.chunks(ROWS_PER_MARK) {
        let places: Vec<String> = places.iter().map(i64::to_string).collect();
        let statement = format!(
            "UPDATE outbox SET stream_sequence = 0 WHERE stream = $1 AND stream_sequence IN ({})",
            places.join(", ")
        );
        let done = sqlx::query(AssertSqlSafe(statement)).persistent(false).bind(stream).execute(&mut *tx);
        rows += done.await?.rows_affected();
    }
    Ok(rows)
}

/// Marks rows that wait though the stream holds them: (place, message id). Answers the newest place that was marked.
pub(crate) async fn adopt(
    tx: &mut AnyConnection,
    stream: &str,
    held: &[(i64, String)],
) -> Result<Option<i64>, StoreError> {
    let mut newest = None;
    for (place, id) in held {
        let done = sqlx::query(
            "UPDATE outbox SET stream_sequence = $1 WHERE message_id = $2 AND stream = $3 AND stream_sequence = 0",
        )
        .bind(place)
        .bind(id)
        .bind(stream)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() > 0 {
            newest = newest.max(Some(*place));
        }
    }
    Ok(newest)
}

/// Published rows of `stream` in the order of their places, after `after` and up to `upto`: (place, message id). Only
/// those whose subject begins with one of `prefixes`.
pub(crate) async fn places(
    store: &Store,
    stream: &str,
    after: i64,
    upto: i64,
    limit: i64,
    prefixes: &[String; 2],
) -> Result<Vec<(i64, String)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT stream_sequence, message_id FROM outbox
         WHERE stream = $1 AND stream_sequence > $2 AND stream_sequence <= $3
           AND (subject LIKE $4 OR subject LIKE $5)
         ORDER BY stream_sequence LIMIT $6",
    )
    .bind(stream)
    .bind(after)
    .bind(upto)
    .bind(format!("{}%", prefixes[0]))
    .bind(format!("{}%", prefixes[1]))
    .bind(limit)
    .fetch_all(store.reader())
    .await?)
}

/// The place of the published row that stands `back` rows before the last one at or before `bound`.
pub(crate) async fn place_before(
    store: &Store,
    stream: &str,
    bound: i64,
    back: i64,
) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT stream_sequence FROM outbox WHERE stream = $1 AND stream_sequence > 0 AND stream_sequence <= $2
         ORDER BY stream_sequence DESC LIMIT 1 OFFSET $3",
    )
    .bind(stream)
    .bind(bound)
    .bind(back)
    .fetch_optional(store.reader())
    .await?)
}

/// Ids of our messages at a place.
pub(crate) async fn ids_at(store: &Store, stream: &str, place: i64) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar("SELECT message_id FROM outbox WHERE stream = $1 AND stream_sequence = $2")
        .bind(stream)
        .bind(place)
        .fetch_all(store.reader())
        .await?)
}

/// The first place after `after` of a row that is not older than `oldest`.
pub(crate) async fn first_place_after(
    tx: &mut AnyConnection,
    stream: &str,
    after: i64,
    oldest: Timestamp,
) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT stream_sequence FROM outbox WHERE stream = $1 AND stream_sequence > $2 AND created_at >= $3
         ORDER BY stream_sequence LIMIT 1",
    )
    .bind(stream)
    .bind(after)
    .bind(oldest.micros())
    .fetch_optional(tx)
    .await?)
}

/// The last place of a published row, 0 = none.
pub(crate) async fn last_place(tx: &mut AnyConnection, stream: &str) -> Result<i64, StoreError> {
    let last = sqlx::query_scalar(
        "SELECT stream_sequence FROM outbox WHERE stream = $1 ORDER BY stream_sequence DESC LIMIT 1",
    )
    .bind(stream)
    .fetch_optional(tx)
    .await?;
    Ok(last.unwrap_or(0))
}

/// Removes rows of work queues and dead letters that were published before `before`: nobody would send them again.
/// What is in the log of events stays, because the stream is no archive of itself. At most `limit` rows; returns how
/// many.
pub(crate) async fn prune(tx: &mut AnyConnection, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE stream <> $1 AND stream_sequence > 0 AND created_at < $2 ORDER BY seq LIMIT $3)",
    )
    .bind(crate::topology::EVENTS)
    .bind(before.micros())
    .bind(limit)
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// How much the outbox holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutboxSize {
    /// Messages that are committed and not yet published.
    pub waiting: i64,
    /// The oldest of them; `None` when nothing waits.
    pub oldest: Option<OldestWaiting>,
    /// All rows, those included that are kept to refill a stream.
    pub rows: i64,
}

/// The message that has waited for the broker longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldestWaiting {
    /// Its row.
    pub seq: i64,
    /// When it was committed.
    pub since: Timestamp,
    /// Where it is to go.
    pub stream: String,
    /// Its subject.
    pub subject: String,
}

/// Measures the outbox.
pub async fn size(store: &Store) -> Result<OutboxSize, StoreError> {
    let oldest = sqlx::query(
        "SELECT seq, created_at, stream, subject FROM outbox WHERE stream_sequence = 0 ORDER BY seq LIMIT 1",
    )
    .fetch_optional(store.reader())
    .await?;
    let oldest = match oldest {
        None => None,
        Some(row) => Some(OldestWaiting {
            seq: row.try_get("seq")?,
            since: Timestamp(row.try_get("created_at")?),
            stream: row.try_get("stream")?,
            subject: row.try_get("subject")?,
        }),
    };
    // rows have numbers that grow: the first and the last tell how many there are without counting them
    let rows: i64 = sqlx::query_scalar(
        "SELECT COALESCE((SELECT seq FROM outbox ORDER BY seq DESC LIMIT 1), 0) - COALESCE((SELECT seq FROM outbox ORDER BY seq LIMIT 1), 1) + 1",
    )
    .fetch_one(store.reader())
    .await?;
    Ok(OutboxSize { waiting: pending(store).await?, oldest, rows })
}

/// How many messages wait to be published.
pub async fn pending(store: &Store) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT COUNT(*) FROM outbox WHERE stream_sequence = 0")
        .fetch_one(store.reader())
        .await?)
}
