//! The table `images`.

use crate::domain::image::{Image, Phase};
use crate::translate;
use kernel::{ImageId, Timestamp};
use prost::Message;
use sqlx::{AnyConnection, AnyPool, Row};
use store::StoreError;

fn decode(row: &sqlx::any::AnyRow) -> Result<Image, StoreError> {
    let snapshot: Vec<u8> = row.try_get("snapshot")?;
    let broken =
        |e: String| StoreError::Database(sqlx::Error::Decode(format!("images.snapshot: {e}").into()));
    let wire =
        contracts::storage::v1::Image::decode(snapshot.as_slice()).map_err(|e| broken(e.to_string()))?;
    translate::from_wire(wire).map_err(broken)
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An image, whoever owns it.
pub async fn load(tx: &mut AnyConnection, id: ImageId) -> Result<Option<Image>, StoreError> {
    let row = sqlx::query("SELECT snapshot FROM images WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(decode).transpose()
}

/// An image of this tenant.
pub async fn load_of(tx: &mut AnyConnection, tenant: &str, id: &str) -> Result<Option<Image>, StoreError> {
    let query =
        sqlx::query("SELECT snapshot FROM images WHERE tenant = $1 AND id = $2").bind(tenant).bind(id);
    query.fetch_optional(tx).await?.as_ref().map(decode).transpose()
}

/// Whether a living image of the tenant has the name.
pub async fn name_is_taken(tx: &mut AnyConnection, tenant: &str, name: &str) -> Result<bool, StoreError> {
    let sql = "SELECT id FROM images WHERE tenant = $1 AND name = $2 AND phase IN ('importing', 'ready', 'deleting')";
    Ok(sqlx::query(sql).bind(tenant).bind(name).fetch_optional(tx).await?.is_some())
}

/// A new image.
pub async fn insert(tx: &mut AnyConnection, image: &Image) -> Result<(), StoreError> {
    let sql = "INSERT INTO images (id, tenant, name, phase, revision, updated_at, snapshot) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(sql)
        .bind(image.id.to_string())
        .bind(&image.tenant)
        .bind(&image.name)
        .bind(image.phase.name())
        .bind(number(image.revision))
        .bind(image.updated_at.micros())
        .bind(translate::to_wire(image).encode_to_vec())
        .execute(tx)
        .await?;
    Ok(())
}

/// The next state of an image; a conflict when it is no longer at revision `before`.
pub async fn update(tx: &mut AnyConnection, before: u64, image: &Image) -> Result<(), StoreError> {
    let sql = "UPDATE images SET phase = $1, revision = $2, updated_at = $3, snapshot = $4 WHERE id = $5 AND revision = $6";
    let done = sqlx::query(sql)
        .bind(image.phase.name())
        .bind(number(image.revision))
        .bind(image.updated_at.micros())
        .bind(translate::to_wire(image).encode_to_vec())
        .bind(image.id.to_string())
        .bind(number(before))
        .execute(tx)
        .await?;
    match done.rows_affected() {
        0 => Err(StoreError::Conflict { what: format!("image {}", image.id) }),
        _ => Ok(()),
    }
}

/// Takes a snapshot out of an event, unless a newer one is there.
pub async fn put(tx: &mut AnyConnection, image: &Image) -> Result<(), StoreError> {
    match load(tx, image.id).await? {
        None => insert(tx, image).await,
        Some(seen) if seen.revision < image.revision => update(tx, seen.revision, image).await,
        Some(_) => Ok(()),
    }
}

/// Imports whose next attempt is due, oldest first.
pub async fn imports_due(pool: &AnyPool, now: Timestamp) -> Result<Vec<Image>, StoreError> {
    let sql = "SELECT images.snapshot FROM images LEFT JOIN image_work ON image_work.image_id = images.id \
               WHERE images.phase = 'importing' AND COALESCE(image_work.next_at, 0) <= $1 ORDER BY images.id LIMIT 100";
    sqlx::query(sql).bind(now.micros()).fetch_all(pool).await?.iter().map(decode).collect()
}

/// All images in a phase, oldest first.
pub async fn in_phase(pool: &AnyPool, phase: Phase) -> Result<Vec<Image>, StoreError> {
    let sql = "SELECT snapshot FROM images WHERE phase = $1 ORDER BY id";
    sqlx::query(sql).bind(phase.name()).fetch_all(pool).await?.iter().map(decode).collect()
}

/// Number of images in each phase that has any.
pub async fn count(pool: &AnyPool) -> Result<Vec<(String, i64)>, StoreError> {
    let rows =
        sqlx::query("SELECT phase, COUNT(*) AS images FROM images GROUP BY phase").fetch_all(pool).await?;
    rows.iter().map(|row| Ok((row.try_get("phase")?, row.try_get("images")?))).collect()
}
