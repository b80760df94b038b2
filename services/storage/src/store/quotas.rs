//! The table `quotas`, and what tenants have.

use contracts::gateway::v1::Quota as Snapshot;
use contracts::storage::v1::Image;
use kernel::quota::{Amounts, Limits, Quota};
use prost::Message;
use sqlx::AnyConnection;
use store::{Dialect, StoreError};

const ONE: &str = "SELECT snapshot FROM quotas WHERE tenant = $1";
/// Whoever takes an image on for the tenant waits here for everybody else who does.
const ONE_LOCKED: &str = "SELECT snapshot FROM quotas WHERE tenant = $1 FOR UPDATE";

/// Writes a quota, unless a newer one is there.
pub async fn put(tx: &mut AnyConnection, quota: &Snapshot) -> Result<(), StoreError> {
    let sql = "INSERT INTO quotas (tenant, revision, snapshot) VALUES ($1, $2, $3) ON CONFLICT (tenant) DO UPDATE \
               SET revision = excluded.revision, snapshot = excluded.snapshot WHERE quotas.revision < excluded.revision";
    sqlx::query(sql)
        .bind(&quota.tenant)
        .bind(i64::try_from(quota.revision).unwrap_or(i64::MAX))
        .bind(quota.encode_to_vec())
        .execute(tx)
        .await?;
    Ok(())
}

/// The limits of a tenant, until the transaction ends the same for everybody who asks this way.
pub async fn lock(tx: &mut AnyConnection, dialect: Dialect, tenant: &str) -> Result<Limits, StoreError> {
    let sql = match dialect {
        Dialect::Sqlite => ONE,
        Dialect::Postgres => ONE_LOCKED,
    };
    limits(sqlx::query_scalar(sql).bind(tenant).fetch_optional(tx).await?)
}

/// The limits of a tenant, for who holds another lock.
pub async fn of(tx: &mut AnyConnection, tenant: &str) -> Result<Limits, StoreError> {
    limits(sqlx::query_scalar(ONE).bind(tenant).fetch_optional(tx).await?)
}

fn limits(row: Option<Vec<u8>>) -> Result<Limits, StoreError> {
    let Some(bytes) = row else { return Ok(Limits::default()) };
    let quota = Snapshot::decode(bytes.as_slice()).map_err(broken)?;
    Ok(quota.limits.as_ref().map(Limits::from).unwrap_or_default())
}

fn broken(error: prost::DecodeError) -> StoreError {
    StoreError::Database(sqlx::Error::Decode(format!("a snapshot: {error}").into()))
}

/// What a tenant has: images that are being taken in, kept or not removed yet, and the bytes of their files.
pub async fn used(tx: &mut AnyConnection, tenant: &str) -> Result<Amounts, StoreError> {
    let sql = "SELECT snapshot FROM images WHERE tenant = $1 AND phase IN ('importing', 'ready', 'deleting')";
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(sql).bind(tenant).fetch_all(tx).await?;
    let mut used = Amounts::default();
    for row in rows {
        let image = Image::decode(row.as_slice()).map_err(broken)?;
        let bytes = image.artifacts.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size_bytes));
        used = used.plus(Amounts::default().with(Quota::Images, 1).with(Quota::ImageBytes, bytes));
    }
    Ok(used)
}
