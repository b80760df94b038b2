//! Instances, and with them the reservations: an instance with a host is a row with `reserved = 1`.

use super::{column, damaged, one_row};
use crate::domain::instance::{Instance, Phase};
use crate::translate::{instance as translate, names};
use bus::Failure;
use contracts::scheduler::v1 as wire;
use kernel::{HostId, InstanceId, Timestamp};
use prost::Message;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection};

const INSERT: &str = "INSERT INTO instances (tenant, name, phase, host_id, deleted, waiting, reserved, vcpus_milli, \
     memory_bytes, disk_bytes, affinity_group, anti_affinity_group, deadline_us, created_at_us, snapshot, max_per_host, gpus, gpu_milli, \
     gpu_indexes, revision, id) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)";

const UPDATE: &str = "UPDATE instances SET tenant = $1, name = $2, phase = $3, host_id = $4, deleted = $5, waiting = $6, \
     reserved = $7, vcpus_milli = $8, memory_bytes = $9, disk_bytes = $10, affinity_group = $11, \
     anti_affinity_group = $12, deadline_us = $13, created_at_us = $14, snapshot = $15, max_per_host = $16, \
     gpus = $17, gpu_milli = $18, gpu_indexes = $19, revision = $20 WHERE id = $21 AND revision = $22";

const REVISION: &str = "SELECT revision FROM instances WHERE id = $1";

/// All columns but the last of the update, in order.
fn bind<'q>(query: Query<'q, Any, AnyArguments>, instance: &Instance) -> Query<'q, Any, AnyArguments> {
    let reservation = instance.reservation();
    let host = reservation.map(|(host, _)| host.to_string()).unwrap_or_default();
    let deleted = instance.phase == Phase::Deleted;
    // a deleted instance has no deadline; one without an operation neither
    let deadline = instance.operation.map_or(0, |operation| operation.deadline.micros());
    query
        .bind(instance.tenant.clone())
        .bind(instance.name.clone())
        .bind(names::phase_out(instance.phase).as_str_name())
        .bind(host)
        .bind(i64::from(deleted))
        .bind(i64::from(instance.waits_for_host()))
        .bind(i64::from(reservation.is_some()))
        .bind(column(instance.spec.resources.vcpus.0))
        .bind(column(instance.spec.resources.memory.0))
        .bind(column(instance.spec.resources.disk.0))
        .bind(instance.spec.affinity_group.clone())
        .bind(instance.spec.anti_affinity_group.clone())
        .bind(deadline)
        .bind(instance.created_at.micros())
        .bind(translate::instance_out(instance).encode_to_vec())
        .bind(i64::from(instance.spec.max_per_host))
        .bind(i64::from(instance.spec.gpus.count))
        .bind(i64::from(instance.spec.gpus.milli))
        .bind(numbers(instance.placement.as_ref().map_or(&[], |placement| &placement.gpu_indexes)))
        .bind(column(instance.revision))
        .bind(instance.id.to_string())
}

/// Small numbers as a column holds them: "0,3".
fn numbers(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

fn read(bytes: &[u8]) -> Result<Instance, Failure> {
    let snapshot = wire::Instance::decode(bytes).map_err(|error| damaged("instances", error))?;
    translate::instance(snapshot).map_err(|error| damaged("instances", error))
}

/// A new row.
pub async fn insert(tx: &mut AnyConnection, instance: &Instance) -> Result<(), Failure> {
    bind(sqlx::query(INSERT), instance).execute(tx).await?;
    Ok(())
}

/// Writes the instance over the row of the revision it was made from; fails as transient if that is gone.
pub async fn update(tx: &mut AnyConnection, instance: &Instance, from: u64) -> Result<(), Failure> {
    let done = bind(sqlx::query(UPDATE), instance).bind(column(from)).execute(tx).await?;
    one_row(done.rows_affected(), "instance", &instance.id.to_string())
}

/// Writes the instance unless the row is as new already: rebuilding from events. Answers whether it did.
pub async fn restore(tx: &mut AnyConnection, instance: &Instance) -> Result<bool, Failure> {
    let known: Option<i64> =
        sqlx::query_scalar(REVISION).bind(instance.id.to_string()).fetch_optional(&mut *tx).await?;
    match known {
        None => insert(tx, instance).await?,
        Some(revision) if revision < column(instance.revision) => {
            update(tx, instance, u64::try_from(revision).unwrap_or(0)).await?;
        }
        Some(_) => return Ok(false),
    }
    Ok(true)
}

/// An instance by id, whoever's it is.
pub async fn find(tx: &mut AnyConnection, id: InstanceId) -> Result<Option<Instance>, Failure> {
    let row: Option<Vec<u8>> = sqlx::query_scalar("SELECT snapshot FROM instances WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(tx)
        .await?;
    row.map(|bytes| read(&bytes)).transpose()
}

/// An instance of this tenant.
pub async fn find_of(tx: &mut AnyConnection, tenant: &str, id: &str) -> Result<Option<Instance>, Failure> {
    let row: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT snapshot FROM instances WHERE tenant = $1 AND id = $2")
            .bind(tenant)
            .bind(id)
            .fetch_optional(tx)
            .await?;
    row.map(|bytes| read(&bytes)).transpose()
}

/// What a new instance has to reckon with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InTheWay {
    /// It is there already.
    pub itself: bool,
    /// The tenant's instance of this name that is not deleted.
    pub holder_of_name: Option<String>,
    /// The tenant has a quota.
    pub limited: bool,
}

/// Looks at all that may stand in the way of a new instance, in one statement.
pub async fn in_the_way(
    tx: &mut AnyConnection,
    id: InstanceId,
    tenant: &str,
    name: &str,
) -> Result<InTheWay, Failure> {
    let sql = "SELECT 'itself' AS what, id FROM instances WHERE id = $1 UNION ALL \
         SELECT 'name', id FROM instances WHERE tenant = $2 AND name = $3 AND deleted = 0 UNION ALL \
         SELECT 'quota', tenant FROM quotas WHERE tenant = $2";
    let rows: Vec<(String, String)> =
        sqlx::query_as(sql).bind(id.to_string()).bind(tenant).bind(name).fetch_all(tx).await?;
    let mut found = InTheWay::default();
    for (what, id) in rows {
        match what.as_str() {
            "itself" => found.itself = true,
            "name" => found.holder_of_name = Some(id),
            _ => found.limited = true,
        }
    }
    Ok(found)
}

/// Ids of the instances that wait for a host, longest first, after `(created_at, id)`.
pub async fn waiting(
    tx: &mut AnyConnection,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<(Timestamp, String)>, Failure> {
    let sql = "SELECT created_at_us, id FROM instances WHERE waiting = 1 AND (created_at_us > $1 OR \
         (created_at_us = $1 AND id > $2)) ORDER BY created_at_us, id LIMIT $3";
    let rows: Vec<(i64, String)> =
        sqlx::query_as(sql).bind(after.0.micros()).bind(after.1).bind(limit).fetch_all(tx).await?;
    Ok(rows.into_iter().map(|(at, id)| (Timestamp(at), id)).collect())
}

/// How many instances wait for a host.
pub async fn count_waiting(tx: &mut AnyConnection) -> Result<u64, Failure> {
    let count: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM instances WHERE waiting = 1").fetch_one(tx).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Ids of the instances whose operation is past its deadline.
pub async fn overdue(tx: &mut AnyConnection, now: Timestamp, limit: i64) -> Result<Vec<String>, Failure> {
    let sql = "SELECT id FROM instances WHERE deadline_us > 0 AND deadline_us <= $1 ORDER BY deadline_us, id LIMIT $2";
    Ok(sqlx::query_scalar(sql).bind(now.micros()).bind(limit).fetch_all(tx).await?)
}

/// All instances with a reservation on a host.
pub async fn on_host(tx: &mut AnyConnection, host: HostId) -> Result<Vec<Instance>, Failure> {
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT snapshot FROM instances WHERE reserved = 1 AND host_id = $1 ORDER BY id")
            .bind(host.to_string())
            .fetch_all(tx)
            .await?;
    rows.iter().map(|bytes| read(bytes)).collect()
}
