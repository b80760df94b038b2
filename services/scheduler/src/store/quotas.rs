//! Limits of tenants, as the gateway said them last, and what the tenants have.

use super::{column, damaged};
use ::store::Dialect;
use bus::Failure;
use contracts::gateway::v1::Quota as Snapshot;
use kernel::quota::{Amounts, Limits, Quota};
use prost::Message;
use sqlx::AnyConnection;

const ONE: &str = "SELECT snapshot FROM quotas WHERE tenant = $1";
/// Whoever admits something for the tenant waits here for everybody else who does.
const ONE_LOCKED: &str = "SELECT snapshot FROM quotas WHERE tenant = $1 FOR UPDATE";

/// Writes the quota unless the row is as new already. Answers whether it did.
pub async fn restore(tx: &mut AnyConnection, quota: &Snapshot) -> Result<bool, Failure> {
    let sql = "INSERT INTO quotas (tenant, revision, snapshot) VALUES ($1, $2, $3) ON CONFLICT (tenant) DO UPDATE \
         SET revision = excluded.revision, snapshot = excluded.snapshot WHERE quotas.revision < excluded.revision";
    let done = sqlx::query(sql)
        .bind(quota.tenant.clone())
        .bind(column(quota.revision))
        .bind(quota.encode_to_vec())
        .execute(tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The limits of a tenant, if any were ever set. Until the transaction ends they stay, and nobody else admits anything for the
/// tenant: SQLite has one writer anyway, PostgreSQL locks the row.
pub async fn lock(tx: &mut AnyConnection, dialect: Dialect, tenant: &str) -> Result<Option<Limits>, Failure> {
    let sql = match dialect {
        Dialect::Sqlite => ONE,
        Dialect::Postgres => ONE_LOCKED,
    };
    let row: Option<Vec<u8>> = sqlx::query_scalar(sql).bind(tenant).fetch_optional(tx).await?;
    let Some(bytes) = row else { return Ok(None) };
    let quota = Snapshot::decode(bytes.as_slice()).map_err(|error| damaged("quotas", error))?;
    Ok(quota.limits.as_ref().map(Limits::from))
}

/// What a tenant has: all its instances that are not deleted, whatever became of them.
pub async fn used(tx: &mut AnyConnection, tenant: &str) -> Result<Amounts, Failure> {
    // SUM of BIGINT is NUMERIC on PostgreSQL
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(vcpus_milli), 0) AS BIGINT), \
         CAST(COALESCE(SUM(memory_bytes), 0) AS BIGINT), CAST(COALESCE(SUM(disk_bytes), 0) AS BIGINT) \
         FROM instances WHERE tenant = $1 AND deleted = 0";
    let (instances, vcpus, memory, disk): (i64, i64, i64, i64) =
        sqlx::query_as(sql).bind(tenant).fetch_one(tx).await?;
    let amount = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Amounts::default()
        .with(Quota::Instances, amount(instances))
        .with(Quota::Vcpus, amount(vcpus))
        .with(Quota::Memory, amount(memory))
        .with(Quota::Disk, amount(disk)))
}
