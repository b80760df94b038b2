//! All hosts and reservations, as the solver wants them.

use super::damaged;
use crate::domain::resources::{Gpus, Resources};
use crate::domain::solver::{Fleet, GroupKey, HostRow, Resident};
use bus::Failure;
use kernel::{Bytes, MilliVcpus};
use sqlx::{AnyConnection, Row};

/// The fleet as it is in this transaction. To place by it, hold the lock [`PLACEMENT`] before.
pub async fn load(tx: &mut AnyConnection) -> Result<Fleet, Failure> {
    let snapshots: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT snapshot FROM hosts ORDER BY id").fetch_all(&mut *tx).await?;
    let mut rows = Vec::with_capacity(snapshots.len());
    for snapshot in &snapshots {
        rows.push(HostRow::from(&super::hosts::read(snapshot)?));
    }
    let sql = "SELECT id, tenant, host_id, vcpus_milli, memory_bytes, disk_bytes, affinity_group, \
         anti_affinity_group, max_per_host, gpus, gpu_milli, gpu_indexes FROM instances WHERE reserved = 1";
    let mut residents = Vec::new();
    for row in sqlx::query(sql).fetch_all(tx).await? {
        let text = |column: &str| row.try_get::<String, _>(column);
        let amount = |column: &str| row.try_get::<i64, _>(column).map(|n| u64::try_from(n).unwrap_or(0));
        let small = |column: &str| amount(column).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let tenant = text("tenant")?;
        let group = |name: String| {
            let key = GroupKey { tenant: tenant.clone(), name };
            (!key.name.is_empty()).then_some(key)
        };
        residents.push(Resident {
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
        });
    }
    Ok(Fleet::new(rows, residents))
}

fn numbers(text: &str) -> Result<Vec<u32>, Failure> {
    let number = |word: &str| word.parse().map_err(|error| damaged("instances", error));
    text.split(',').filter(|word| !word.is_empty()).map(number).collect()
}

/// The lock under which a host is chosen and reserved: two schedulers on one database never promise the same room.
pub const PLACEMENT: &str = "scheduler.placement";

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
