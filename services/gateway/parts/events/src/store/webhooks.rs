//! Receivers of events, how far each is, and which process sends to it.

use contracts::gateway::v1::{Webhook, WebhookProgress, WebhookRecord, WebhookState};
use gateway_api::domain::page::Page;
use gateway_api::store::{after, column, number, snapshot, snapshots};
use prost::Message as _;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, Row};

const ACTIVE: i64 = WebhookState::Active as i64;
const DELETED: i64 = WebhookState::Deleted as i64;

/// Writes a webhook; a row of the same or a newer revision stays.
pub async fn put(db: &mut AnyConnection, record: &WebhookRecord) -> Result<(), sqlx::Error> {
    let none = Webhook::default();
    let webhook = record.webhook.as_ref().unwrap_or(&none);
    sqlx::query(
        "INSERT INTO webhooks (id, tenant, name, state, revision, snapshot) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, name = excluded.name, state = excluded.state,
           revision = excluded.revision, snapshot = excluded.snapshot
         WHERE webhooks.revision < excluded.revision",
    )
    .bind(&webhook.id)
    .bind(&webhook.tenant)
    .bind(&webhook.name)
    .bind(i64::from(webhook.state))
    .bind(column(webhook.revision))
    .bind(record.encode_to_vec())
    .execute(db)
    .await?;
    Ok(())
}

/// A webhook of a tenant that is not deleted, by name or id.
pub async fn find<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    name_or_id: &str,
) -> Result<Option<WebhookRecord>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot FROM webhooks WHERE tenant = $1 AND state <> $3 AND (id = $2 OR name = $2)
         ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END LIMIT 1",
    )
    .bind(tenant)
    .bind(name_or_id)
    .bind(DELETED)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(snapshot).transpose()
}

/// A webhook by id, also when it is deleted.
pub async fn by_id<'a>(db: impl AnyExecutor<'a>, id: &str) -> Result<Option<WebhookRecord>, sqlx::Error> {
    let row = sqlx::query("SELECT snapshot FROM webhooks WHERE id = $1").bind(id).fetch_optional(db).await?;
    row.as_ref().map(snapshot).transpose()
}

/// Whether a webhook was deleted: then nothing more is written about it.
pub async fn is_deleted<'a>(db: impl AnyExecutor<'a>, id: &str) -> Result<bool, sqlx::Error> {
    let state: Option<i64> =
        sqlx::query_scalar("SELECT state FROM webhooks WHERE id = $1").bind(id).fetch_optional(db).await?;
    Ok(state.is_none_or(|state| state == DELETED))
}

/// How many webhooks a tenant has.
pub async fn count<'a>(db: impl AnyExecutor<'a>, tenant: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT COUNT(*) FROM webhooks WHERE tenant = $1 AND state <> $2")
        .bind(tenant)
        .bind(DELETED)
        .fetch_one(db)
        .await
}

/// A page of a tenant's webhooks that are not deleted, by name.
pub async fn page<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    page: &Page,
) -> Result<Vec<WebhookRecord>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT snapshot FROM webhooks WHERE tenant = $1 AND state <> $4 AND name > $2 ORDER BY name LIMIT $3",
    )
    .bind(tenant)
    .bind(after(page, 0))
    .bind(page.probe())
    .bind(DELETED)
    .fetch_all(db)
    .await?;
    snapshots(&rows)
}

/// Ids and revisions of all webhooks to which events are sent.
pub async fn active<'a>(db: impl AnyExecutor<'a>) -> Result<Vec<(String, u64)>, sqlx::Error> {
    let rows = sqlx::query("SELECT id, revision FROM webhooks WHERE state = $1 ORDER BY id")
        .bind(ACTIVE)
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, number(row.try_get("revision")?)))).collect()
}

/// How far a webhook is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Of which stream the sequence is.
    pub incarnation: String,
    /// Everything up to here was taken on.
    pub after: u64,
    /// Number of the newest delivery.
    pub position: i64,
    /// 0 = the last attempt did not fail.
    pub failing_since_us: i64,
    /// 0 = nothing arrived yet.
    pub delivered_at_us: i64,
}

/// How far a webhook is; `None`: its row is lost.
pub async fn cursor<'a>(db: impl AnyExecutor<'a>, id: &str) -> Result<Option<Cursor>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT incarnation, after_sequence, position, failing_since_us, delivered_at_us
         FROM webhook_cursors WHERE webhook_id = $1",
    )
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read_cursor).transpose()
}

fn read_cursor(row: &AnyRow) -> Result<Cursor, sqlx::Error> {
    Ok(Cursor {
        incarnation: row.try_get("incarnation")?,
        after: number(row.try_get("after_sequence")?),
        position: row.try_get("position")?,
        failing_since_us: row.try_get("failing_since_us")?,
        delivered_at_us: row.try_get("delivered_at_us")?,
    })
}

/// Writes how far a webhook is.
pub async fn move_to(db: &mut AnyConnection, id: &str, cursor: &Cursor) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO webhook_cursors (webhook_id, incarnation, after_sequence, position, failing_since_us, delivered_at_us)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (webhook_id) DO UPDATE SET incarnation = excluded.incarnation,
           after_sequence = excluded.after_sequence, position = excluded.position,
           failing_since_us = excluded.failing_since_us, delivered_at_us = excluded.delivered_at_us",
    )
    .bind(id)
    .bind(&cursor.incarnation)
    .bind(column(cursor.after))
    .bind(cursor.position)
    .bind(cursor.failing_since_us)
    .bind(cursor.delivered_at_us)
    .execute(db)
    .await?;
    Ok(())
}

/// How far a webhook is, for those who look at it.
pub async fn progress(db: &mut AnyConnection, id: &str) -> Result<Option<WebhookProgress>, sqlx::Error> {
    let Some(cursor) = cursor(&mut *db, id).await? else { return Ok(None) };
    let waiting = sqlx::query(
        "SELECT COUNT(*) AS waiting, COALESCE(MIN(occurred_at_us), 0) AS oldest
         FROM webhook_deliveries WHERE webhook_id = $1 AND state = 1",
    )
    .bind(id)
    .fetch_one(db)
    .await?;
    Ok(Some(WebhookProgress {
        incarnation: cursor.incarnation,
        sequence: cursor.after,
        waiting: number(waiting.try_get("waiting")?),
        oldest_us: waiting.try_get("oldest")?,
        failing_since_us: cursor.failing_since_us,
        delivered_at_us: cursor.delivered_at_us,
    }))
}

/// A webhook that was disabled begins anew: what waits is tried at once, and for the whole time again.
pub async fn begin_anew(db: &mut AnyConnection, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE webhook_cursors SET failing_since_us = 0 WHERE webhook_id = $1")
        .bind(id)
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "UPDATE webhook_deliveries SET tried_since_us = 0, next_at_us = 0 WHERE webhook_id = $1 AND state = 1",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(())
}

/// Takes everything away that is known of a webhook besides its snapshot.
pub async fn forget(db: &mut AnyConnection, id: &str) -> Result<(), sqlx::Error> {
    for table in [
        "DELETE FROM webhook_cursors WHERE webhook_id = $1",
        "DELETE FROM webhook_leases WHERE webhook_id = $1",
        "DELETE FROM webhook_deliveries WHERE webhook_id = $1",
    ] {
        sqlx::query(table).bind(id).execute(&mut *db).await?;
    }
    Ok(())
}

/// Takes or keeps the right to send to a receiver. False: another process has it.
pub async fn hold(
    db: &mut AnyConnection,
    id: &str,
    owner: &str,
    now_us: i64,
    until_us: i64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO webhook_leases (webhook_id, owner, expires_at_us) VALUES ($1, $2, $3)
         ON CONFLICT (webhook_id) DO UPDATE SET owner = excluded.owner, expires_at_us = excluded.expires_at_us
         WHERE webhook_leases.owner = $2 OR webhook_leases.expires_at_us < $4",
    )
    .bind(id)
    .bind(owner)
    .bind(until_us)
    .bind(now_us)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Gives the right back.
pub async fn release(db: &mut AnyConnection, id: &str, owner: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM webhook_leases WHERE webhook_id = $1 AND owner = $2")
        .bind(id)
        .bind(owner)
        .execute(db)
        .await?;
    Ok(())
}

/// Webhooks, deliveries that wait, and when the event of the oldest happened (0 = none waits), by state of the webhook.
pub async fn standing<'a>(db: impl AnyExecutor<'a>) -> Result<Vec<(i32, u64, u64, i64)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT w.state AS state, COUNT(DISTINCT w.id) AS webhooks, COUNT(d.event_id) AS waiting,
           COALESCE(MIN(d.occurred_at_us), 0) AS oldest
         FROM webhooks w LEFT JOIN webhook_deliveries d ON d.webhook_id = w.id AND d.state = 1
         WHERE w.state <> $1 GROUP BY w.state",
    )
    .bind(DELETED)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let state: i64 = row.try_get("state")?;
            Ok((
                i32::try_from(state).unwrap_or_default(),
                number(row.try_get("webhooks")?),
                number(row.try_get("waiting")?),
                row.try_get("oldest")?,
            ))
        })
        .collect()
}
