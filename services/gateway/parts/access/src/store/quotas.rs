//! What tenants may have, and what the read model shows that they have.

use contracts::common::v1::OperationState;
use contracts::gateway::v1::Quota as Snapshot;
use contracts::scheduler::v1::InstancePhase;
use contracts::storage::v1::{Image, ImagePhase};
use gateway_api::store::{column, number, snapshot, snapshots};
use kernel::quota::{Amounts, Quota};
use prost::Message as _;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, AnyPool, Row};
use std::collections::BTreeMap;

const DELETING: i64 = InstancePhase::Deleting as i64;
const IMPORTING: i64 = ImagePhase::Importing as i64;
const READY: i64 = ImagePhase::Ready as i64;
const REMOVING: i64 = ImagePhase::Deleting as i64;
const ENDED: i64 = OperationState::Succeeded as i64;

// the index of what is counted names the number
const _: () = assert!(InstancePhase::Deleted as i32 == 9);

/// Writes a quota; a row of the same or a newer revision stays.
pub async fn put(db: &mut AnyConnection, quota: &Snapshot) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO quotas (tenant, revision, snapshot) VALUES ($1, $2, $3)
         ON CONFLICT (tenant) DO UPDATE SET revision = excluded.revision, snapshot = excluded.snapshot
         WHERE quotas.revision < excluded.revision",
    )
    .bind(&quota.tenant)
    .bind(column(quota.revision))
    .bind(quota.encode_to_vec())
    .execute(db)
    .await?;
    Ok(())
}

/// The quota of a tenant, if one was ever set.
pub async fn get<'a>(db: impl AnyExecutor<'a>, tenant: &str) -> Result<Option<Snapshot>, sqlx::Error> {
    let row =
        sqlx::query("SELECT snapshot FROM quotas WHERE tenant = $1").bind(tenant).fetch_optional(db).await?;
    row.as_ref().map(snapshot).transpose()
}

/// The quotas of all tenants from `first` to `last` that have one, by tenant.
pub async fn between(
    db: &AnyPool,
    first: &str,
    last: &str,
) -> Result<BTreeMap<String, Snapshot>, sqlx::Error> {
    let rows = sqlx::query("SELECT snapshot FROM quotas WHERE tenant >= $1 AND tenant <= $2")
        .bind(first)
        .bind(last)
        .fetch_all(db)
        .await?;
    let all: Vec<Snapshot> = snapshots(&rows)?;
    Ok(all.into_iter().map(|quota| (quota.tenant.clone(), quota)).collect())
}

/// What all tenants from `first` to `last` have, by tenant; who has nothing is not in it.
pub async fn used_between(
    db: &AnyPool,
    first: &str,
    last: &str,
) -> Result<BTreeMap<String, Amounts>, sqlx::Error> {
    let mut all: BTreeMap<String, Amounts> = BTreeMap::new();
    // SUM of BIGINT is NUMERIC on PostgreSQL
    let rows = sqlx::query(
        "SELECT tenant, COUNT(*) AS instances, CAST(SUM(vcpus_milli) AS BIGINT) AS vcpus,
           CAST(SUM(memory_bytes) AS BIGINT) AS memory, CAST(SUM(disk_bytes) AS BIGINT) AS disk
         FROM instances WHERE tenant >= $1 AND tenant <= $2 AND phase <> 9 GROUP BY tenant",
    )
    .bind(first)
    .bind(last)
    .fetch_all(db)
    .await?;
    for row in &rows {
        all.insert(row.try_get("tenant")?, instances(row)?);
    }
    let rows = sqlx::query(
        "SELECT snapshot FROM images WHERE tenant >= $1 AND tenant <= $2 AND phase IN ($3, $4, $5)",
    )
    .bind(first)
    .bind(last)
    .bind(IMPORTING)
    .bind(READY)
    .bind(REMOVING)
    .fetch_all(db)
    .await?;
    for row in &rows {
        let image: Image = snapshot(row)?;
        let bytes = image.artifacts.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size_bytes));
        let of_image = Amounts::default().with(Quota::Images, 1).with(Quota::ImageBytes, bytes);
        let used = all.entry(image.tenant).or_default();
        *used = used.plus(of_image);
    }
    Ok(all)
}

/// What of a tenant's instances the scheduler certainly has as well: what is shown and not about to go. It may have more.
pub async fn certainly_used<'a>(db: impl AnyExecutor<'a>, tenant: &str) -> Result<Amounts, sqlx::Error> {
    // whoever deletes an instance has an operation before the scheduler hears of it, and until the row says that it is gone
    let row = sqlx::query(
        "SELECT COUNT(*) AS instances, CAST(COALESCE(SUM(vcpus_milli), 0) AS BIGINT) AS vcpus,
           CAST(COALESCE(SUM(memory_bytes), 0) AS BIGINT) AS memory, CAST(COALESCE(SUM(disk_bytes), 0) AS BIGINT) AS disk
         FROM instances WHERE tenant = $1 AND phase <> 9 AND phase <> $2 AND NOT EXISTS (
           SELECT 1 FROM operations WHERE operations.object_id = instances.id
             AND operations.method = 'DeleteInstance' AND operations.state < $3)",
    )
    .bind(tenant)
    .bind(DELETING)
    .bind(ENDED)
    .fetch_one(db)
    .await?;
    instances(&row)
}

fn instances(row: &AnyRow) -> Result<Amounts, sqlx::Error> {
    Ok(Amounts::default()
        .with(Quota::Instances, number(row.try_get("instances")?))
        .with(Quota::Vcpus, number(row.try_get("vcpus")?))
        .with(Quota::Memory, number(row.try_get("memory")?))
        .with(Quota::Disk, number(row.try_get("disk")?)))
}
