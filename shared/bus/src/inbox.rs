//! The inbox: each message has its effect once per consumer; failures are counted before a handler runs again.

use kernel::{MessageId, Timestamp};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe};
use std::collections::{BTreeSet, HashSet};
use store::{Store, StoreError, many};

/// Claims a message. False: it had its effect already.
pub(crate) async fn claim(
    tx: &mut AnyConnection,
    consumer: &str,
    id: MessageId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO inbox (consumer, message_id, handled_at) VALUES ($1, $2, $3) ON CONFLICT (consumer, message_id) DO NOTHING",
    )
    .bind(consumer)
    .bind(id.to_string())
    .bind(now.micros())
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Rows per statement: few different lengths, so that each is prepared once. What does not fill one repeats its last
/// message, which then is there already.
const CLAIM_ROWS: [usize; 4] = [1, 10, 50, 250];

/// Which of these messages had their effect already. It only reads: nobody who writes waits for it.
pub(crate) async fn known(
    db: &AnyPool,
    consumer: &str,
    ids: &[MessageId],
) -> Result<HashSet<String>, StoreError> {
    listed(db, "inbox", consumer, ids).await
}

/// Which of these messages were attempted before, as far as it was counted.
pub(crate) async fn attempted(
    db: &AnyPool,
    consumer: &str,
    ids: &[MessageId],
) -> Result<HashSet<String>, StoreError> {
    listed(db, "attempts", consumer, ids).await
}

async fn listed(
    db: &AnyPool,
    table: &'static str,
    consumer: &str,
    ids: &[MessageId],
) -> Result<HashSet<String>, StoreError> {
    let mut listed = HashSet::new();
    for part in many::parts(ids) {
        let sql = format!(
            "SELECT message_id FROM {table} WHERE consumer = $1 AND message_id IN ({})",
            many::list(1, part.len())
        );
        let mut query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(consumer);
        for id in part {
            query = query.bind(id.to_string());
        }
        let found: Vec<String> = query.fetch_all(db).await?;
        listed.extend(found);
    }
    Ok(listed)
}

/// Claims many messages. Answers those that are new; the others had their effect already.
pub(crate) async fn claim_all(
    tx: &mut AnyConnection,
    consumer: &str,
    ids: &[MessageId],
    now: Timestamp,
) -> Result<HashSet<String>, StoreError> {
    let mut fresh = HashSet::with_capacity(ids.len());
    for ids in ids.chunks(CLAIM_ROWS[3]) {
        let length = CLAIM_ROWS.into_iter().find(|rows| *rows >= ids.len()).unwrap_or(ids.len());
        let rows: Vec<String> = (0..length).map(|n| format!("($1, ${}, $2)", n + 3)).collect();
        let statement = format!(
            "INSERT INTO inbox (consumer, message_id, handled_at) VALUES {} \
             ON CONFLICT (consumer, message_id) DO NOTHING RETURNING message_id",
            rows.join(", ")
        );
        let mut insert = sqlx::query_scalar(AssertSqlSafe(statement)).bind(consumer).bind(now.micros());
        for id in ids.iter().chain(std::iter::repeat(&ids[ids.len() - 1])).take(length) {
            insert = insert.bind(id.to_string());
        }
        let claimed: Vec<String> = insert.fetch_all(&mut *tx).await?;
        fresh.extend(claimed);
    }
    Ok(fresh)
}

/// Counts an attempt that is about to be made and says which one it is: 2 for the first repetition.
pub(crate) async fn count_attempt(
    tx: &mut AnyConnection,
    consumer: &str,
    id: MessageId,
    now: Timestamp,
) -> Result<i64, StoreError> {
    count_attempts(&mut *tx, consumer, &[id], now).await?;
    let attempts =
        sqlx::query_scalar("SELECT attempts FROM attempts WHERE consumer = $1 AND message_id = $2")
            .bind(consumer)
            .bind(id.to_string())
            .fetch_one(tx)
            .await?;
    Ok(attempts)
}

/// Counts attempts that are about to be made, one for each message, however often it is named.
pub(crate) async fn count_attempts(
    tx: &mut AnyConnection,
    consumer: &str,
    ids: &[MessageId],
    now: Timestamp,
) -> Result<(), StoreError> {
    let each: Vec<MessageId> = ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    for part in many::parts(&each) {
        // the first delivery is not counted beforehand: one write less for every message that works at once
        let rows: Vec<String> = (0..part.len()).map(|n| format!("($1, ${}, 2, $2, $3)", n + 4)).collect();
        let sql = format!(
            "INSERT INTO attempts (consumer, message_id, attempts, last_error, first_at) VALUES {} \
             ON CONFLICT (consumer, message_id) DO UPDATE SET attempts = attempts.attempts + 1",
            rows.join(", ")
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql))
            .bind(consumer)
            .bind("the process ended while handling it")
            .bind(now.micros());
        for id in part {
            insert = insert.bind(id.to_string());
        }
        insert.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Remembers why an attempt failed.
pub(crate) async fn note_failure(
    tx: &mut AnyConnection,
    consumer: &str,
    id: MessageId,
    error: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO attempts (consumer, message_id, attempts, last_error, first_at) VALUES ($1, $2, 1, $3, $4)
         ON CONFLICT (consumer, message_id) DO UPDATE SET last_error = $3",
    )
    .bind(consumer)
    .bind(id.to_string())
    // what came from outside may be quoted in it
    .bind(kernel::printable(error))
    .bind(now.micros())
    .execute(tx)
    .await?;
    Ok(())
}

/// When the first of the messages that failed, and are not done with, was tried first: what comes behind it about the same
/// object waits for it. `None`: nothing is tried again.
pub async fn retried_since(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    let first: Option<i64> =
        sqlx::query_scalar("SELECT MIN(first_at) FROM attempts").fetch_one(store.reader()).await?;
    Ok(first.map(Timestamp))
}

/// Why the last attempt failed, "" when none is known.
pub(crate) async fn last_error(
    tx: &mut AnyConnection,
    consumer: &str,
    id: MessageId,
) -> Result<String, StoreError> {
    let found = sqlx::query_scalar("SELECT last_error FROM attempts WHERE consumer = $1 AND message_id = $2")
        .bind(consumer)
        .bind(id.to_string())
        .fetch_optional(tx)
        .await?;
    Ok(found.unwrap_or_default())
}

/// Forgets the attempts of messages that are done with.
pub(crate) async fn forget_attempts(
    tx: &mut AnyConnection,
    consumer: &str,
    ids: &[MessageId],
) -> Result<(), StoreError> {
    for part in many::parts(ids) {
        let sql = format!(
            "DELETE FROM attempts WHERE consumer = $1 AND message_id IN ({})",
            many::list(1, part.len())
        );
        let mut delete = sqlx::query(AssertSqlSafe(sql)).bind(consumer);
        for id in part {
            delete = delete.bind(id.to_string());
        }
        delete.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Removes rows so old that the server cannot deliver their messages again, and the attempts at messages that never
/// came again. At most `limit` rows of each; returns how many of the table of which there were more.
pub(crate) async fn prune(tx: &mut AnyConnection, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let mut most = 0;
    for statement in [
        "DELETE FROM inbox WHERE (consumer, message_id) IN
         (SELECT consumer, message_id FROM inbox WHERE handled_at < $1 ORDER BY handled_at LIMIT $2)",
        "DELETE FROM attempts WHERE (consumer, message_id) IN
         (SELECT consumer, message_id FROM attempts WHERE first_at < $1 LIMIT $2)",
    ] {
        let done = sqlx::query(statement).bind(before.micros()).bind(limit).execute(&mut *tx).await?;
        most = most.max(done.rows_affected());
    }
    Ok(most)
}
