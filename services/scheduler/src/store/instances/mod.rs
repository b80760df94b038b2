//! Instances, and with them the reservations: an instance with a host is a row with `reserved = 1`.

mod in_work;

pub use in_work::{find, find_of, in_the_way, names_ahead, on_host, read_ahead, save, write_now};

use super::{column, damaged, if_readable};
use crate::translate::{instance as translate, names};
use ::store::{StoreError, many};
use bus::Failure;
use contracts::scheduler::v1 as wire;
use kernel::{HostId, InstanceId, Timestamp};
use prost::Message;
use scheduler_placement::instance::{Instance, Phase};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};
use std::collections::BTreeMap;

const COLUMNS: [&str; 22] = [
    "tenant",
    "name",
    "phase",
    "host_id",
    "deleted",
    "waiting",
    "reserved",
    "vcpus_milli",
    "memory_bytes",
    "disk_bytes",
    "affinity_group",
    "anti_affinity_group",
    "deadline_us",
    "created_at_us",
    "snapshot",
    "max_per_host",
    "gpus",
    "gpu_milli",
    "gpu_indexes",
    "unconfirmed",
    "revision",
    "id",
];

const REVISION: &str = "SELECT revision FROM instances WHERE id = $1";

/// A row to write.
struct Row<'i> {
    instance: &'i Instance,
    /// The revision of the row it was made from; 0 = none.
    from: u64,
}

/// Writes rows over those of the revisions they were made from, and new ones. Somebody else's change in between is a
/// conflict: nothing here is right any more.
async fn write(tx: &mut AnyConnection, rows: &[Row<'_>]) -> Result<(), StoreError> {
    // how far a row goes on is the same for most, and then one statement serves them all
    let mut by_steps: BTreeMap<Option<u64>, Vec<&Row<'_>>> = BTreeMap::new();
    for row in rows {
        let steps = (row.from > 0).then(|| row.instance.revision.saturating_sub(row.from));
        by_steps.entry(steps).or_default().push(row);
    }
    // those that give a name away go before those that are new
    for (steps, rows) in by_steps.into_iter().rev() {
        for part in many::parts(&rows) {
            let mut query = sqlx::query(AssertSqlSafe(statement(steps, part.len())));
            for row in part {
                query = bind(query, row.instance);
            }
            if query.execute(&mut *tx).await?.rows_affected() != part.len() as u64 {
                let names: Vec<String> = part.iter().map(|row| row.instance.id.to_string()).collect();
                return Err(StoreError::Conflict {
                    what: format!("one of the instances {}", names.join(", ")),
                });
            }
        }
    }
    Ok(())
}

/// Writes `rows` rows: new ones, or those that are `steps` revisions on.
fn statement(steps: Option<u64>, rows: usize) -> String {
    let insert = format!(
        "INSERT INTO instances ({}) VALUES {}",
        COLUMNS.join(", "),
        many::places(rows, COLUMNS.len())
    );
    let Some(steps) = steps else { return insert };
    let set: Vec<String> = COLUMNS.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    format!(
        "{insert} ON CONFLICT (id) DO UPDATE SET {} WHERE instances.revision = excluded.revision - {steps}",
        set.join(", ")
    )
}

/// All columns, in order.
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
        .bind(i64::from(instance.is_unconfirmed()))
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

/// Writes the instance unless the row is as new already: rebuilding from events. Answers whether it did.
pub async fn restore(tx: &mut AnyConnection, instance: &Instance) -> Result<bool, Failure> {
    let known: Option<i64> =
        sqlx::query_scalar(REVISION).bind(instance.id.to_string()).fetch_optional(&mut *tx).await?;
    let from = known.map_or(0, |revision| u64::try_from(revision).unwrap_or(0));
    if known.is_some() && from >= instance.revision {
        return Ok(false);
    }
    write(tx, &[Row { instance, from }]).await?;
    Ok(true)
}

/// Instances by their ids; those that are not there are left out.
async fn select(tx: &mut AnyConnection, ids: &[InstanceId]) -> Result<Vec<Instance>, Failure> {
    let mut found = Vec::with_capacity(ids.len());
    for part in many::parts(ids) {
        let sql = format!("SELECT snapshot FROM instances WHERE id IN ({})", many::list(0, part.len()));
        let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
        for id in part {
            query = query.bind(id.to_string());
        }
        let rows: Vec<Vec<u8>> = query.fetch_all(&mut *tx).await?;
        for row in rows {
            found.push(read(&row)?);
        }
    }
    Ok(found)
}

/// Who has these names among a tenant's instances that are not deleted: (name, id).
async fn holders(
    tx: &mut AnyConnection,
    tenant: &str,
    names: &[&str],
) -> Result<Vec<(String, InstanceId)>, Failure> {
    let mut found = Vec::new();
    for part in many::parts(names) {
        let sql = format!(
            "SELECT name, id FROM instances WHERE tenant = $1 AND deleted = 0 AND name IN ({})",
            many::list(1, part.len())
        );
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).bind(tenant);
        for name in part {
            query = query.bind(*name);
        }
        let rows: Vec<(String, String)> = query.fetch_all(&mut *tx).await?;
        for (name, id) in rows {
            found.push((name, id.parse().map_err(|error| damaged("instances", error))?));
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

/// How many instances wait for a host, and since when the first of them was asked for.
pub async fn count_waiting(tx: &mut AnyConnection) -> Result<(u64, Option<Timestamp>), Failure> {
    let sql =
        "SELECT COUNT(*), CAST(COALESCE(MIN(created_at_us), 0) AS BIGINT) FROM instances WHERE waiting = 1";
    let (count, since): (i64, i64) = sqlx::query_as(sql).fetch_one(tx).await?;
    Ok((u64::try_from(count).unwrap_or(0), (count > 0).then_some(Timestamp(since))))
}

/// Ids of the instances whose hosts have not answered their newest orders, and of those hosts, in order of ids after
/// `after`.
pub async fn unconfirmed(
    tx: &mut AnyConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, String)>, Failure> {
    let sql = "SELECT id, host_id FROM instances WHERE unconfirmed = 1 AND id > $1 ORDER BY id LIMIT $2";
    Ok(sqlx::query_as(sql).bind(after).bind(limit).fetch_all(tx).await?)
}

/// Ids of the instances whose operation is past its deadline.
pub async fn overdue(tx: &mut AnyConnection, now: Timestamp, limit: i64) -> Result<Vec<String>, Failure> {
    let sql = "SELECT id FROM instances WHERE deadline_us > 0 AND deadline_us <= $1 ORDER BY deadline_us, id LIMIT $2";
    Ok(sqlx::query_scalar(sql).bind(now.micros()).bind(limit).fetch_all(tx).await?)
}

/// All instances with a reservation on a host.
async fn select_on_host(tx: &mut AnyConnection, host: HostId) -> Result<Vec<Instance>, Failure> {
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT snapshot FROM instances WHERE reserved = 1 AND host_id = $1 ORDER BY id")
            .bind(host.to_string())
            .fetch_all(tx)
            .await?;
    // one that cannot be read is told nothing; the others on its host are
    let read = |bytes: &Vec<u8>| if_readable(read(bytes)).transpose();
    rows.iter().filter_map(read).collect()
}
