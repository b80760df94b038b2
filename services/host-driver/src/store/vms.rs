//! The table `vms`: orders and what was said.

use super::{VmKey, broken, signed, unsigned};
use ::store::{StoreError, many};
use bus::Cause;
use contracts::host_driver::v1 as wire;
use host_driver_domain::{IntentKey, Progress};
use prost::Message;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row};
use std::collections::HashMap;

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
    /// The name of a `Disposal`.
    pub disposal: String,
    /// Id of quarantined files that become its disks; "" = none.
    pub take_back: String,
    /// `VmSpec`.
    pub spec: Vec<u8>,
    /// `VmObservation` as last said; empty = none yet.
    pub observation: Vec<u8>,
    /// Its revision; 0 = none yet.
    pub observation_revision: u64,
}

const COLUMNS: &str = "host_id, instance_id, tenant, generation, intent_revision, power, reboot_counter, stop_grace_s, spec, \
     observation_revision, observation, observed_power, disposal, take_back";
const COLUMN_COUNT: usize = 14;

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
        disposal: row.try_get("disposal")?,
        take_back: row.try_get("take_back")?,
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

/// The row of a VM, and how far it came: one look at both tables.
pub async fn with_work(
    tx: &mut AnyConnection,
    key: VmKey,
) -> Result<Option<(VmRow, Option<(Progress, Cause)>)>, StoreError> {
    let sql = "SELECT vms.*, COALESCE(vm_work.reached, '-') AS worked, correlation_id, causation_id, actor, traceparent, \
         reached, adopted, stop_asked_at, reboots_done, reboot_asked_at, reboot_boot, attempts, next_attempt_at, gave_up, \
         failure, restarts, started_at, steps, waited, boot, resumed_at, resume_settled \
         FROM vms LEFT JOIN vm_work ON vm_work.host_id = vms.host_id AND vm_work.instance_id = vms.instance_id \
         WHERE vms.host_id = $1 AND vms.instance_id = $2";
    let query = sqlx::query(sql).bind(key.host.to_string()).bind(key.instance.to_string());
    let Some(row) = query.fetch_optional(tx).await? else { return Ok(None) };
    let vm = read(&row)?;
    let worked: String = row.try_get("worked")?;
    let work = if worked == "-" { None } else { Some(super::work::read_with_cause(&row, &vm.tenant)?) };
    Ok(Some((vm, work)))
}

/// Which orders VMs have; those without any are left out.
pub async fn intents(
    tx: &mut AnyConnection,
    keys: &[VmKey],
) -> Result<HashMap<VmKey, IntentKey>, StoreError> {
    let mut found = HashMap::with_capacity(keys.len());
    for part in many::parts(keys) {
        let sql = format!(
            "SELECT host_id, instance_id, generation, intent_revision FROM vms WHERE {}",
            super::keys_in(part.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in part {
            query = query.bind(key.host.to_string()).bind(key.instance.to_string());
        }
        let rows = query.fetch_all(&mut *tx).await?;
        for (key, row) in read_keys(&rows)?.into_iter().zip(&rows) {
            let number = |name: &str| -> Result<u64, StoreError> { Ok(unsigned(row.try_get(name)?)) };
            let intent =
                IntentKey { generation: number("generation")?, revision: number("intent_revision")? };
            found.insert(key, intent);
        }
    }
    Ok(found)
}

/// Takes orders over the ones before, one for each VM. What was said stays, but it was not said of this order: until
/// something is, the VM has not come to its end.
pub async fn put_intents(tx: &mut AnyConnection, rows: &[&VmRow]) -> Result<(), StoreError> {
    for part in many::parts(rows) {
        let sql = format!(
            "INSERT INTO vms ({COLUMNS}) VALUES {} \
             ON CONFLICT (host_id, instance_id) DO UPDATE SET tenant = excluded.tenant, generation = excluded.generation, \
             intent_revision = excluded.intent_revision, power = excluded.power, reboot_counter = excluded.reboot_counter, \
             stop_grace_s = excluded.stop_grace_s, spec = excluded.spec, observed_power = excluded.observed_power, \
             disposal = excluded.disposal, take_back = excluded.take_back",
            many::places(part.len(), COLUMN_COUNT)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in part {
            query = query
                .bind(row.key.host.to_string())
                .bind(row.key.instance.to_string())
                .bind(&row.tenant)
                .bind(signed(row.intent.generation))
                .bind(signed(row.intent.revision))
                .bind(&row.power)
                .bind(signed(row.reboot_counter))
                .bind(i64::from(row.stop_grace_s))
                .bind(&row.spec)
                .bind(0_i64)
                .bind(Vec::<u8>::new())
                .bind("")
                .bind(&row.disposal)
                .bind(&row.take_back);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// What is said of a VM that follows an order.
#[derive(Debug, Clone)]
pub struct Said {
    /// Which VM.
    pub key: VmKey,
    /// Which order it follows.
    pub followed: IntentKey,
    /// Of the observation.
    pub revision: u64,
    /// `VmObservation`
    pub observation: Vec<u8>,
    /// The name of a `VmPower`.
    pub power: &'static str,
}

impl Said {
    /// What this observation says.
    pub fn of(key: VmKey, followed: IntentKey, told: &wire::VmObservation) -> Self {
        let (observation, power) = (told.encode_to_vec(), told.power().as_str_name());
        Self { key, followed, revision: told.revision, observation, power }
    }
}

/// Keeps what is said, one for each VM. Answers how many were passed over because the VM has another order: none when
/// [`intents`] said so in the same transaction.
pub async fn put_observations(tx: &mut AnyConnection, said: &[Said]) -> Result<u64, StoreError> {
    let mut passed_over = 0;
    for part in many::parts(said) {
        // the columns of an order are named because no row may lack them: every VM has its row from its order
        let sql = format!(
            "INSERT INTO vms ({COLUMNS}) VALUES {} \
             ON CONFLICT (host_id, instance_id) DO UPDATE SET observation_revision = excluded.observation_revision, \
             observation = excluded.observation, observed_power = excluded.observed_power \
             WHERE vms.generation = excluded.generation AND vms.intent_revision = excluded.intent_revision",
            many::places(part.len(), COLUMN_COUNT)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for said in part {
            query = query
                .bind(said.key.host.to_string())
                .bind(said.key.instance.to_string())
                .bind("")
                .bind(signed(said.followed.generation))
                .bind(signed(said.followed.revision))
                .bind("")
                .bind(0_i64)
                .bind(0_i64)
                .bind(Vec::<u8>::new())
                .bind(signed(said.revision))
                .bind(&said.observation)
                .bind(said.power)
                .bind("")
                .bind("");
        }
        let written = query.execute(&mut *tx).await?.rows_affected();
        passed_over += (part.len() as u64).saturating_sub(written);
    }
    Ok(passed_over)
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
