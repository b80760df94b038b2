//! The read model of images.

use contracts::storage::v1::{Image, ImagePhase};
use gateway_api::domain::page::Page;
use gateway_api::store::{after, column, snapshot, snapshots};
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor};

const IMPORTING: i64 = ImagePhase::Importing as i64;
const READY: i64 = ImagePhase::Ready as i64;

/// Takes an image in. False: the row is as new already.
pub async fn put(db: &mut AnyConnection, image: &Image) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO images (id, tenant, name, phase, revision, snapshot) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, name = excluded.name, phase = excluded.phase,
           revision = excluded.revision, snapshot = excluded.snapshot
         WHERE images.revision < excluded.revision",
    )
    .bind(&image.id)
    .bind(&image.tenant)
    .bind(&image.name)
    .bind(i64::from(image.phase))
    .bind(column(image.revision))
    .bind(image.encode_to_vec())
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// An image of a tenant by id, whatever became of it, or by name while it is there.
pub async fn find<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    name_or_id: &str,
) -> Result<Option<Image>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot FROM images WHERE tenant = $1 AND (id = $2 OR (name = $2 AND phase IN ($3, $4)))
         ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END, id DESC LIMIT 1",
    )
    .bind(tenant)
    .bind(name_or_id)
    .bind(IMPORTING)
    .bind(READY)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(snapshot).transpose()
}

/// The id of the image of a tenant that holds a name: one that is there or being taken in.
pub async fn holder_of_name<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    name: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM images WHERE tenant = $1 AND name = $2 AND phase IN ($3, $4) ORDER BY id DESC LIMIT 1",
    )
    .bind(tenant)
    .bind(name)
    .bind(IMPORTING)
    .bind(READY)
    .fetch_optional(db)
    .await
}

/// A page of a tenant's images that are there or being taken in, by name.
pub async fn page<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    page: &Page,
) -> Result<Vec<Image>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT snapshot FROM images WHERE tenant = $1 AND phase IN ($2, $3)
           AND (name > $4 OR (name = $4 AND id > $5)) ORDER BY name, id LIMIT $6",
    )
    .bind(tenant)
    .bind(IMPORTING)
    .bind(READY)
    .bind(after(page, 0))
    .bind(after(page, 1))
    .bind(page.probe())
    .fetch_all(db)
    .await?;
    snapshots(&rows)
}
