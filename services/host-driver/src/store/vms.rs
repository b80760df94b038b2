//! The table `vms`: orders and what was said.

use super::{VmKey, broken, signed, unsigned};
use crate::domain::IntentKey;
use ::store::StoreError;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row};

/// A row, as it lies in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmRow {
    /// Where and which.
    pub key: VmKey,
    /// Whose.
    pub tenant: String,
    /// Which order.
    pub intent: IntentKey,
    /// The name of a `VmPower`.
    pub power: String,
    /// Grows with each requested reboot.
    pub reboot_counter: u64,
    /// Seconds the guest is asked before it is forced.
    pub stop_grace_s: u32,
    /// `VmSpec`.
    pub spec: Vec<u8>,
    /// `VmObservation` as last said; empty = none yet.
    pub observation: Vec<u8>,
    /// Its revision; 0 = none yet.
    pub observation_revision: u64,
}

fn read(row: &AnyRow) -> Result<VmRow, StoreError> {
    let id = |name: &str| -> Result<String, StoreError> { Ok(row.try_get(name)?) };
    let number = |name: &str| -> Result<u64, StoreError> { Ok(unsigned(row.try_get(name)?)) };
    Ok(VmRow {
        key: VmKey {
            host: id("host_id")?.parse().map_err(|e| broken("vms.host_id", e))?,
            instance: id("instance_id")?.parse().map_err(|e| broken("vms.instance_id", e))?,
        },
        tenant: row.try_get("tenant")?,
        intent: IntentKey { generation: number("generation")?, revision: number("intent_revision")? },
        power: row.try_get("power")?,
        reboot_counter: number("reboot_counter")?,
        stop_grace_s: u32::try_from(number("stop_grace_s")?).unwrap_or(u32::MAX),
        spec: row.try_get("spec")?,
        observation: row.try_get("observation")?,
        observation_revision: number("observation_revision")?,
    })
}

/// The row of a VM.
pub async fn find(tx: &mut AnyConnection, key: VmKey) -> Result<Option<VmRow>, StoreError> {
    let query = sqlx::query("SELECT * FROM vms WHERE host_id = $1 AND instance_id = $2");
    let row = query.bind(key.host.to_string()).bind(key.instance.to_string()).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

/// Which order a VM has.
pub async fn intent(tx: &mut AnyConnection, key: VmKey) -> Result<Option<IntentKey>, StoreError> {
    let query =
        sqlx::query("SELECT generation, intent_revision FROM vms WHERE host_id = $1 AND instance_id = $2");
    let row = query.bind(key.host.to_string()).bind(key.instance.to_string()).fetch_optional(tx).await?;
    row.map(|row| {
        let number = |name: &str| -> Result<u64, StoreError> { Ok(unsigned(row.try_get(name)?)) };
        Ok(IntentKey { generation: number("generation")?, revision: number("intent_revision")? })
    })
    .transpose()
}

/// Takes an order over the one before. What was said stays.
pub async fn put_intent(tx: &mut AnyConnection, row: &VmRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO vms (host_id, instance_id, tenant, generation, intent_revision, power, reboot_counter, stop_grace_s, \
         spec, observation_revision, observation, observed_power) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, '') \
         ON CONFLICT (host_id, instance_id) DO UPDATE SET tenant = excluded.tenant, generation = excluded.generation, \
         intent_revision = excluded.intent_revision, power = excluded.power, reboot_counter = excluded.reboot_counter, \
         stop_grace_s = excluded.stop_grace_s, spec = excluded.spec",
    )
    .bind(row.key.host.to_string())
    .bind(row.key.instance.to_string())
    .bind(&row.tenant)
    .bind(signed(row.intent.generation))
    .bind(signed(row.intent.revision))
    .bind(&row.power)
    .bind(signed(row.reboot_counter))
    .bind(i64::from(row.stop_grace_s))
    .bind(&row.spec)
    .bind(Vec::<u8>::new())
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps what is said; false: the VM has another order meanwhile, nothing was written.
pub async fn put_observation(
    tx: &mut AnyConnection,
    key: VmKey,
    followed: IntentKey,
    revision: u64,
    observation: &[u8],
    power: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE vms SET observation_revision = $1, observation = $2, observed_power = $3 \
         WHERE host_id = $4 AND instance_id = $5 AND generation = $6 AND intent_revision = $7",
    )
    .bind(signed(revision))
    .bind(observation)
    .bind(power)
    .bind(key.host.to_string())
    .bind(key.instance.to_string())
    .bind(signed(followed.generation))
    .bind(signed(followed.revision))
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All VMs, those that are gone for good included.
pub async fn keys(pool: &AnyPool) -> Result<Vec<VmKey>, StoreError> {
    let rows = sqlx::query("SELECT host_id, instance_id FROM vms ORDER BY host_id, instance_id")
        .fetch_all(pool)
        .await?;
    read_keys(&rows)
}

/// Ids of the VMs that have not come to their end.
pub async fn living_keys(pool: &AnyPool) -> Result<Vec<VmKey>, StoreError> {
    let sql = "SELECT host_id, instance_id FROM vms \
               WHERE NOT (power = 'VM_POWER_ABSENT' AND observed_power = 'VM_POWER_ABSENT')";
    read_keys(&sqlx::query(sql).fetch_all(pool).await?)
}

fn read_keys(rows: &[AnyRow]) -> Result<Vec<VmKey>, StoreError> {
    let id = |row: &AnyRow, name: &str| -> Result<String, StoreError> { Ok(row.try_get(name)?) };
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        keys.push(VmKey {
            host: id(row, "host_id")?.parse().map_err(|e| broken("vms.host_id", e))?,
            instance: id(row, "instance_id")?.parse().map_err(|e| broken("vms.instance_id", e))?,
        });
    }
    Ok(keys)
}

/// VMs that have not come to their end: everything but what was to go and is gone.
pub async fn living(pool: &AnyPool) -> Result<Vec<VmRow>, StoreError> {
    let sql =
        "SELECT * FROM vms WHERE NOT (power = 'VM_POWER_ABSENT' AND observed_power = 'VM_POWER_ABSENT')";
    let rows = sqlx::query(sql).fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

/// Where an instance is; the newest ownership when several hosts of this process know it.
pub async fn of_instance(pool: &AnyPool, instance: &str) -> Result<Option<VmRow>, StoreError> {
    let sql = "SELECT * FROM vms WHERE instance_id = $1 ORDER BY generation DESC LIMIT 1";
    let row = sqlx::query(sql).bind(instance).fetch_optional(pool).await?;
    row.as_ref().map(read).transpose()
}

/// How many VMs were last seen in each power, by the name of a `VmPower`.
pub async fn powers(pool: &AnyPool) -> Result<Vec<(String, i64)>, StoreError> {
    let sql =
        "SELECT observed_power, COUNT(*) AS vms FROM vms WHERE observed_power <> '' GROUP BY observed_power";
    let rows = sqlx::query(sql).fetch_all(pool).await?;
    rows.iter().map(|row| Ok((row.try_get("observed_power")?, row.try_get("vms")?))).collect()
}
