//! The table `image_work`: attempts of imports, and the request behind what reconcilers do.

use bus::Cause;
use kernel::{ImageId, Timestamp};
use sqlx::{AnyConnection, Row};
use store::StoreError;

/// Remembers the request that set off work on an image; attempts begin anew.
pub async fn begin(tx: &mut AnyConnection, image: ImageId, cause: &Cause) -> Result<(), StoreError> {
    let sql = "INSERT INTO image_work (image_id, failures, next_at, correlation, causation, actor, traceparent) \
               VALUES ($1, 0, 0, $2, $3, $4, $5) ON CONFLICT (image_id) DO UPDATE SET failures = 0, next_at = 0, \
               correlation = excluded.correlation, causation = excluded.causation, actor = excluded.actor, \
               traceparent = excluded.traceparent";
    sqlx::query(sql)
        .bind(image.to_string())
        .bind(cause.correlation.to_string())
        .bind(cause.causation.map(|id| id.to_string()).unwrap_or_default())
        .bind(&cause.actor)
        .bind(&cause.traceparent)
        .execute(tx)
        .await?;
    Ok(())
}

/// The request behind the work on an image, or the service itself when it is not known any more.
pub async fn cause(
    tx: &mut AnyConnection,
    service: &str,
    image: ImageId,
    tenant: &str,
) -> Result<Cause, StoreError> {
    let own = Cause::own(service).for_tenant(tenant);
    let sql = "SELECT correlation, causation, actor, traceparent FROM image_work WHERE image_id = $1";
    let Some(row) = sqlx::query(sql).bind(image.to_string()).fetch_optional(tx).await? else {
        return Ok(own);
    };
    let text = |name: &str| -> Result<String, StoreError> { Ok(row.try_get(name)?) };
    Ok(Cause {
        correlation: text("correlation")?.parse().unwrap_or(own.correlation),
        causation: text("causation")?.parse().ok(),
        actor: text("actor")?,
        tenant: own.tenant,
        traceparent: text("traceparent")?,
    })
}

/// How often the import of an image failed.
pub async fn failures(tx: &mut AnyConnection, image: ImageId) -> Result<u32, StoreError> {
    let row = sqlx::query("SELECT failures FROM image_work WHERE image_id = $1")
        .bind(image.to_string())
        .fetch_optional(tx)
        .await?;
    let count: i64 = row.map(|row| row.try_get("failures")).transpose()?.unwrap_or(0);
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// An attempt failed; the next is made at `next`.
pub async fn failed(
    tx: &mut AnyConnection,
    image: ImageId,
    failures: u32,
    next: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO image_work (image_id, failures, next_at, correlation, causation, actor, traceparent) \
               VALUES ($1, $2, $3, '', '', 'storage', '') \
               ON CONFLICT (image_id) DO UPDATE SET failures = excluded.failures, next_at = excluded.next_at";
    sqlx::query(sql)
        .bind(image.to_string())
        .bind(i64::from(failures))
        .bind(next.micros())
        .execute(tx)
        .await?;
    Ok(())
}

/// The work is done.
pub async fn end(tx: &mut AnyConnection, image: ImageId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM image_work WHERE image_id = $1").bind(image.to_string()).execute(tx).await?;
    Ok(())
}
