//! All hosts and reservations, as the solver wants them, and what changed about them.

use super::{damaged, if_readable};
use ::store::{StoreError, many};
use async_trait::async_trait;
use bus::{Failure, LateRows, Work};
use kernel::{Bytes, HostId, InstanceId, MilliVcpus};
use scheduler_placement::resources::{Gpus, Resources};
use scheduler_placement::solver::{Fleet, GroupKey, HostRow, Resident};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// The lock under which hosts and reservations are changed: two schedulers on one database never promise the same room.
pub const PLACEMENT: &str = "scheduler.placement";

/// How many changes are remembered for those who have the fleet in memory.
const KEPT: i64 = 65_536;
/// Old changes are forgotten once in so many.
const FORGET_EVERY: i64 = 1_024;

const RESIDENT: &str = "SELECT id, tenant, host_id, vcpus_milli, memory_bytes, disk_bytes, affinity_group, \
     anti_affinity_group, max_per_host, gpus, gpu_milli, gpu_indexes FROM instances WHERE reserved = 1";
const ONE_RESIDENT: &str = "SELECT id, tenant, host_id, vcpus_milli, memory_bytes, disk_bytes, affinity_group, \
     anti_affinity_group, max_per_host, gpus, gpu_milli, gpu_indexes FROM instances WHERE reserved = 1 AND id = $1";

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// What an instance holds.
    Reservation(InstanceId),
    /// A host.
    Host(HostId),
}

/// The fleet as it is in this transaction. A host whose row cannot be read gets nothing new; what an instance holds whose
/// row cannot be read is not known, and nobody else is stopped for it.
pub async fn load(tx: &mut AnyConnection) -> Result<Fleet, Failure> {
    let snapshots: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT snapshot FROM hosts ORDER BY id").fetch_all(&mut *tx).await?;
    let mut rows = Vec::with_capacity(snapshots.len());
    for snapshot in &snapshots {
        rows.extend(if_readable(super::hosts::read(snapshot))?.as_ref().map(HostRow::from));
    }
    let mut residents = Vec::new();
    for row in sqlx::query(RESIDENT).fetch_all(tx).await? {
        residents.extend(if_readable(read(&row))?);
    }
    Ok(Fleet::new(rows, residents))
}

/// What an instance holds.
pub async fn resident(tx: &mut AnyConnection, id: InstanceId) -> Result<Option<Resident>, Failure> {
    let row = sqlx::query(ONE_RESIDENT).bind(id.to_string()).fetch_optional(tx).await?;
    Ok(row.map(|row| if_readable(read(&row))).transpose()?.flatten())
}

/// A host.
pub async fn host(tx: &mut AnyConnection, id: HostId) -> Result<Option<HostRow>, Failure> {
    let found = if_readable(super::hosts::find(tx, &id.to_string()).await)?.flatten();
    Ok(found.as_ref().map(HostRow::from))
}

fn read(row: &AnyRow) -> Result<Resident, Failure> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let amount = |column: &str| row.try_get::<i64, _>(column).map(|n| u64::try_from(n).unwrap_or(0));
    let small = |column: &str| amount(column).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let tenant = text("tenant")?;
    let group = |name: String| {
        let key = GroupKey { tenant: tenant.clone(), name };
        (!key.name.is_empty()).then_some(key)
    };
    Ok(Resident {
        instance: text("id")?.parse().map_err(|error| damaged("instances", error))?,
        host: text("host_id")?.parse().map_err(|error| damaged("instances", error))?,
        resources: Resources {
            vcpus: MilliVcpus(amount("vcpus_milli")?),
            memory: Bytes(amount("memory_bytes")?),
            disk: Bytes(amount("disk_bytes")?),
        },
        affinity: group(text("affinity_group")?),
        anti_affinity: group(text("anti_affinity_group")?),
        max_per_host: small("max_per_host")?,
        gpus: Gpus { count: small("gpus")?, milli: small("gpu_milli")? },
        gpu_indexes: numbers(&text("gpu_indexes")?)?,
    })
}

fn numbers(text: &str) -> Result<Vec<u32>, Failure> {
    let number = |word: &str| word.parse().map_err(|error| damaged("instances", error));
    text.split(',').filter(|word| !word.is_empty()).map(number).collect()
}

/// Changes that one unit of work made.
#[derive(Default)]
struct Noted(Vec<(i64, Changed)>);

#[async_trait]
impl LateRows for Noted {
    async fn write(&mut self, tx: &mut AnyConnection) -> Result<(), StoreError> {
        let noted = std::mem::take(&mut self.0);
        for part in many::parts(&noted) {
            let places = many::places(part.len(), 3);
            let sql = format!("INSERT INTO fleet_changes (version, kind, id) VALUES {places}");
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (version, changed) in part {
                let (kind, id) = match changed {
                    Changed::Reservation(id) => ("reservation", id.to_string()),
                    Changed::Host(id) => ("host", id.to_string()),
                };
                query = query.bind(*version).bind(kind).bind(id);
            }
            query.execute(&mut *tx).await?;
        }
        if let Some((version, _)) = noted.iter().rfind(|(version, _)| version % FORGET_EVERY == 0) {
            let sql = "DELETE FROM fleet_changes WHERE version <= $1";
            sqlx::query(sql).bind(version - KEPT).execute(tx).await?;
        }
        Ok(())
    }
}

/// Notes a change; `version` is one more than that of the change before. Hold the lock [`PLACEMENT`].
pub fn note(work: &mut Work, version: i64, changed: Changed) {
    work.late::<Noted>().0.push((version, changed));
}

/// Version of the newest change; 0 before the first.
pub async fn newest(tx: &mut AnyConnection) -> Result<i64, Failure> {
    let sql = "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM fleet_changes";
    Ok(sqlx::query_scalar(sql).fetch_one(tx).await?)
}

/// The changes after `version`, oldest first. None: they are too many or forgotten, or the tables have never been at
/// that version; who asks must read everything.
pub async fn since(
    tx: &mut AnyConnection,
    version: i64,
    limit: usize,
) -> Result<Option<Vec<Changed>>, Failure> {
    let sql = "SELECT version, kind, id FROM fleet_changes WHERE version >= $1 ORDER BY version LIMIT $2";
    let rows: Vec<(i64, String, String)> = sqlx::query_as(sql)
        .bind(version)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
        .fetch_all(tx)
        .await?;
    // the change that is known already must still be there; before the first there is none
    let first_is_known = rows.first().map_or(version == 0, |(first, ..)| *first == version.max(1));
    if !first_is_known || rows.len() > limit {
        return Ok(None);
    }
    let mut changes = Vec::with_capacity(rows.len());
    for (_, kind, id) in rows.iter().filter(|(number, ..)| *number > version) {
        let changed = match kind.as_str() {
            "host" => id.parse().map(Changed::Host),
            _ => id.parse().map(Changed::Reservation),
        };
        // what changed cannot be told: everything is read
        let Ok(changed) = changed else { return Ok(None) };
        changes.push(changed);
    }
    Ok(Some(changes))
}

/// What is reserved on a host, as SQL counts it.
pub async fn reserved_on(tx: &mut AnyConnection, host_id: &str) -> Result<Resources, Failure> {
    let sql = "SELECT CAST(COALESCE(SUM(vcpus_milli), 0) AS BIGINT), CAST(COALESCE(SUM(memory_bytes), 0) AS BIGINT), \
         CAST(COALESCE(SUM(disk_bytes), 0) AS BIGINT) FROM instances WHERE reserved = 1 AND host_id = $1";
    let (vcpus, memory, disk): (i64, i64, i64) = sqlx::query_as(sql).bind(host_id).fetch_one(tx).await?;
    let amount = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Resources {
        vcpus: MilliVcpus(amount(vcpus)),
        memory: Bytes(amount(memory)),
        disk: Bytes(amount(disk)),
    })
}
