//! Events on their way to receivers, and for a while those that arrived.

use contracts::gateway::v1::{Delivery, DeliveryState};
use gateway_api::domain::page::Page;
use gateway_api::store::{after, number};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, Row};

/// A delivery that is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Id of the event.
    pub event_id: String,
    /// "scheduler.InstanceReady".
    pub r#type: String,
    /// What stands for the object among all objects of the platform.
    pub object_key: String,
    /// Its id.
    pub object_id: String,
    /// When the event happened.
    pub occurred_at_us: i64,
    /// What is sent.
    pub body: Vec<u8>,
}

/// Adds a delivery. False: this event is known, because it stands in the stream again.
pub async fn add(
    db: &mut AnyConnection,
    webhook_id: &str,
    position: i64,
    new: &New,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO webhook_deliveries (webhook_id, event_id, position, type, object_key, object_id, occurred_at_us,
           state, attempts, tried_since_us, attempted_at_us, next_at_us, status, error, duration_us, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 0, 0, 0, 0, 0, '', 0, $8) ON CONFLICT DO NOTHING",
    )
    .bind(webhook_id)
    .bind(&new.event_id)
    .bind(position)
    .bind(&new.r#type)
    .bind(&new.object_key)
    .bind(&new.object_id)
    .bind(new.occurred_at_us)
    .bind(&new.body[..])
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A delivery that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Older ones have smaller numbers.
    pub position: i64,
    /// What stands for its object.
    pub object_key: String,
    /// When it is sent.
    pub next_at_us: i64,
}

/// Everything that waits for a receiver, oldest first.
pub async fn waiting<'a>(db: impl AnyExecutor<'a>, webhook_id: &str) -> Result<Vec<Waiting>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT position, object_key, next_at_us FROM webhook_deliveries
         WHERE webhook_id = $1 AND state = 1 ORDER BY position",
    )
    .bind(webhook_id)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Waiting {
                position: row.try_get("position")?,
                object_key: row.try_get("object_key")?,
                next_at_us: row.try_get("next_at_us")?,
            })
        })
        .collect()
}

/// A delivery as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Its number.
    pub position: i64,
    /// Id of the event.
    pub event_id: String,
    /// Which attempt this is.
    pub attempts: u32,
    /// Since when it is tried.
    pub tried_since_us: i64,
    /// When the event happened.
    pub occurred_at_us: i64,
    /// What is sent.
    pub body: Vec<u8>,
}

/// Counts an attempt before it is made: who dies during it makes the next one as a repeat. `None`: it does not wait any
/// more.
pub async fn begin(
    db: &mut AnyConnection,
    webhook_id: &str,
    position: i64,
    now_us: i64,
) -> Result<Option<Begun>, sqlx::Error> {
    let row = sqlx::query(
        "UPDATE webhook_deliveries SET attempts = attempts + 1, attempted_at_us = $3,
           tried_since_us = CASE WHEN tried_since_us = 0 THEN $3 ELSE tried_since_us END
         WHERE webhook_id = $1 AND position = $2 AND state = 1
         RETURNING event_id, attempts, tried_since_us, occurred_at_us, body",
    )
    .bind(webhook_id)
    .bind(position)
    .bind(now_us)
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Begun {
        position,
        event_id: row.try_get("event_id")?,
        attempts: small(row.try_get("attempts")?),
        tried_since_us: row.try_get("tried_since_us")?,
        occurred_at_us: row.try_get("occurred_at_us")?,
        body: row.try_get("body")?,
    }))
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// Waiting, delivered or failed.
    pub state: DeliveryState,
    /// 0 = no answer.
    pub status: u32,
    /// "" = nothing went wrong.
    pub error: &'a str,
    /// How long it took.
    pub duration_us: i64,
    /// When it is sent again; 0 = it is not.
    pub next_at_us: i64,
}

/// Writes what came of an attempt.
pub async fn end(
    db: &mut AnyConnection,
    webhook_id: &str,
    position: i64,
    outcome: Outcome<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE webhook_deliveries SET state = $3, status = $4, error = $5, duration_us = $6, next_at_us = $7
         WHERE webhook_id = $1 AND position = $2",
    )
    .bind(webhook_id)
    .bind(position)
    .bind(i64::from(outcome.state as i32))
    .bind(i64::from(outcome.status))
    .bind(outcome.error)
    .bind(outcome.duration_us)
    .bind(outcome.next_at_us)
    .execute(db)
    .await?;
    Ok(())
}

/// Puts a delivery back to be sent at once. False: there is none of this event.
pub async fn resend(
    db: &mut AnyConnection,
    webhook_id: &str,
    event_id: &str,
    now_us: i64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE webhook_deliveries SET state = 1, next_at_us = $3, tried_since_us = 0
         WHERE webhook_id = $1 AND event_id = $2",
    )
    .bind(webhook_id)
    .bind(event_id)
    .bind(now_us)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Removes what is done and older than `before_us`, or beyond the newest `most` of a receiver.
pub async fn trim(
    db: &mut AnyConnection,
    webhook_id: &str,
    before_us: i64,
    most: u32,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "DELETE FROM webhook_deliveries WHERE webhook_id = $1 AND state <> 1 AND (attempted_at_us < $2
           OR position <= COALESCE((SELECT position FROM webhook_deliveries WHERE webhook_id = $1 AND state <> 1
             ORDER BY position DESC LIMIT 1 OFFSET $3), -1))",
    )
    .bind(webhook_id)
    .bind(before_us)
    .bind(i64::from(most))
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// A delivery by the id of its event.
pub async fn get<'a>(
    db: impl AnyExecutor<'a>,
    webhook_id: &str,
    event_id: &str,
) -> Result<Option<Delivery>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT position, event_id, type, object_id, state, attempts, status, error, duration_us, occurred_at_us,
           attempted_at_us, next_at_us
         FROM webhook_deliveries WHERE webhook_id = $1 AND event_id = $2",
    )
    .bind(webhook_id)
    .bind(event_id)
    .fetch_optional(db)
    .await?;
    Ok(row.as_ref().map(read).transpose()?.map(|(_, delivery)| delivery))
}

/// A page of a webhook's deliveries with their positions, newest first; `state` unspecified = all.
pub async fn page<'a>(
    db: impl AnyExecutor<'a>,
    webhook_id: &str,
    state: DeliveryState,
    page: &Page,
) -> Result<Vec<(i64, Delivery)>, sqlx::Error> {
    let before = after(page, 0).parse().unwrap_or(i64::MAX);
    let rows = sqlx::query(
        "SELECT position, event_id, type, object_id, state, attempts, status, error, duration_us, occurred_at_us,
           attempted_at_us, next_at_us
         FROM webhook_deliveries WHERE webhook_id = $1 AND position < $2 AND ($3 = 0 OR state = $3)
         ORDER BY position DESC LIMIT $4",
    )
    .bind(webhook_id)
    .bind(before)
    .bind(i64::from(state as i32))
    .bind(page.probe())
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn read(row: &AnyRow) -> Result<(i64, Delivery), sqlx::Error> {
    let state: i64 = row.try_get("state")?;
    let next_at_us = if state == DeliveryState::Waiting as i64 { row.try_get("next_at_us")? } else { 0 };
    let delivery = Delivery {
        id: row.try_get("event_id")?,
        r#type: row.try_get("type")?,
        object_id: row.try_get("object_id")?,
        state: i32::try_from(state).unwrap_or_default(),
        attempts: small(row.try_get("attempts")?),
        status: small(row.try_get("status")?),
        error: row.try_get("error")?,
        duration_us: number(row.try_get("duration_us")?),
        occurred_at_us: row.try_get("occurred_at_us")?,
        attempted_at_us: row.try_get("attempted_at_us")?,
        next_at_us,
    };
    Ok((row.try_get("position")?, delivery))
}
