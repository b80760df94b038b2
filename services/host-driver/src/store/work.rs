//! The table `vm_work`: how far each order came.

use super::{VmKey, broken, cause, signed, unsigned};
use ::store::{StoreError, many};
use bus::Cause;
use host_driver_domain::progress::{RebootAsked, Resumed};
use host_driver_domain::{Attempts, Progress, Wanted};
use kernel::{Refusal, Timestamp};
use prost::Message;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Row};
use std::collections::HashMap;

const REACHED: [(Wanted, &str); 4] = [
    (Wanted::Running, "running"),
    (Wanted::Stopped, "stopped"),
    (Wanted::Paused, "paused"),
    (Wanted::Absent, "absent"),
];

fn read(row: &AnyRow) -> Result<Progress, StoreError> {
    let number = |name: &str| -> Result<i64, StoreError> { Ok(row.try_get(name)?) };
    let moment = |name: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok(Some(Timestamp(number(name)?)).filter(|at| at.0 != 0))
    };
    let (reached, steps): (String, String) = (row.try_get("reached")?, row.try_get("steps")?);
    let failure: Vec<u8> = row.try_get("failure")?;
    let boot = number("reboot_boot")?.cast_unsigned();
    let settled = number("resume_settled")? != 0;
    Ok(Progress {
        reached: REACHED.iter().find(|(_, name)| *name == reached).map(|(wanted, _)| *wanted),
        adopted: number("adopted")? != 0,
        stop_asked_at: moment("stop_asked_at")?,
        reboots_done: unsigned(number("reboots_done")?),
        reboot_asked: moment("reboot_asked_at")?.map(|at| RebootAsked { at, boot }),
        boot: Some(number("boot")?.cast_unsigned()).filter(|boot| *boot != 0),
        resumed: moment("resumed_at")?.map(|at| Resumed { at, settled }),
        attempts: Attempts {
            failed: u32::try_from(number("attempts")?).unwrap_or(0),
            waited: u32::try_from(number("waited")?).unwrap_or(0),
            next_at: Timestamp(number("next_attempt_at")?),
            gave_up: number("gave_up")? != 0,
        },
        failure: read_failure(&failure)?,
        restarts: u32::try_from(number("restarts")?).unwrap_or(0),
        started_at: moment("started_at")?,
        steps: steps.split(' ').filter_map(read_step).collect(),
    })
}

fn read_failure(bytes: &[u8]) -> Result<Option<Refusal>, StoreError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let wire = contracts::common::v1::Refusal::decode(bytes).map_err(|e| broken("vm_work.failure", e))?;
    Ok(Some(wire.into()))
}

fn read_step(text: &str) -> Option<(String, Timestamp)> {
    let (name, at) = text.split_once('@')?;
    Some((name.to_owned(), Timestamp(at.parse().ok()?)))
}

/// How far a VM came, and why the work is done. `tenant` is the VM's.
pub(super) fn read_with_cause(row: &AnyRow, tenant: &str) -> Result<(Progress, Cause), StoreError> {
    Ok((read(row)?, cause::read(row, tenant)?))
}

/// How far VMs came; those that nothing is known of are left out.
pub async fn find(tx: &mut AnyConnection, keys: &[VmKey]) -> Result<HashMap<VmKey, Progress>, StoreError> {
    let mut found = HashMap::with_capacity(keys.len());
    for part in many::parts(keys) {
        let sql = format!("SELECT * FROM vm_work WHERE {}", super::keys_in(part.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in part {
            query = query.bind(key.host.to_string()).bind(key.instance.to_string());
        }
        for row in query.fetch_all(&mut *tx).await? {
            let id = |name: &str| -> Result<String, StoreError> { Ok(row.try_get(name)?) };
            let key = VmKey {
                host: id("host_id")?.parse().map_err(|e| broken("vm_work.host_id", e))?,
                instance: id("instance_id")?.parse().map_err(|e| broken("vm_work.instance_id", e))?,
            };
            found.insert(key, read(&row)?);
        }
    }
    Ok(found)
}

const COLUMNS: [&str; 23] = [
    "host_id",
    "instance_id",
    "correlation_id",
    "causation_id",
    "actor",
    "traceparent",
    "reached",
    "adopted",
    "stop_asked_at",
    "reboots_done",
    "reboot_asked_at",
    "reboot_boot",
    "attempts",
    "next_attempt_at",
    "gave_up",
    "failure",
    "restarts",
    "started_at",
    "steps",
    "waited",
    "boot",
    "resumed_at",
    "resume_settled",
];

/// Keeps how far VMs came, one row for each.
pub async fn put(tx: &mut AnyConnection, rows: &[(VmKey, &Progress, &Cause)]) -> Result<(), StoreError> {
    let set: Vec<String> =
        COLUMNS[2..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
    for part in many::parts(rows) {
        let sql = format!(
            "INSERT INTO vm_work ({}) VALUES {} ON CONFLICT (host_id, instance_id) DO UPDATE SET {}",
            COLUMNS.join(", "),
            many::places(part.len(), COLUMNS.len()),
            set.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (key, progress, cause) in part {
            query = bind(query, *key, progress, cause);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

fn bind<'q>(
    query: Query<'q, Any, AnyArguments>,
    key: VmKey,
    progress: &Progress,
    cause: &Cause,
) -> Query<'q, Any, AnyArguments> {
    let reached =
        progress.reached.and_then(|r| REACHED.iter().find(|(w, _)| *w == r)).map_or("", |(_, name)| name);
    let failure = progress.failure.clone().map(contracts::common::v1::Refusal::from);
    let steps: Vec<String> = progress.steps.iter().map(|(name, at)| format!("{name}@{}", at.0)).collect();
    let asked = progress.reboot_asked;
    query
        .bind(key.host.to_string())
        .bind(key.instance.to_string())
        .bind(cause.correlation.to_string())
        .bind(cause::causation(cause))
        .bind(cause.actor.clone())
        .bind(cause.traceparent.clone())
        .bind(reached)
        .bind(i64::from(progress.adopted))
        .bind(progress.stop_asked_at.unwrap_or_default().0)
        .bind(signed(progress.reboots_done))
        .bind(asked.map_or(0, |a| a.at.0))
        .bind(asked.map_or(0, |a| a.boot.cast_signed()))
        .bind(i64::from(progress.attempts.failed))
        .bind(progress.attempts.next_at.0)
        .bind(i64::from(progress.attempts.gave_up))
        .bind(failure.map(|f| f.encode_to_vec()).unwrap_or_default())
        .bind(i64::from(progress.restarts))
        .bind(progress.started_at.unwrap_or_default().0)
        .bind(steps.join(" "))
        .bind(i64::from(progress.attempts.waited))
        .bind(progress.boot.unwrap_or(0).cast_signed())
        .bind(progress.resumed.map_or(0, |resumed| resumed.at.0))
        .bind(i64::from(progress.resumed.is_some_and(|resumed| resumed.settled)))
}

/// VMs whose work the host keeps from being done.
pub async fn waiting(pool: &AnyPool) -> Result<Vec<VmKey>, StoreError> {
    let rows =
        sqlx::query("SELECT host_id, instance_id FROM vm_work WHERE waited > 0").fetch_all(pool).await?;
    let key = |row: &AnyRow| {
        let id = |name: &str| -> Result<String, StoreError> { Ok(row.try_get(name)?) };
        Ok(VmKey {
            host: id("host_id")?.parse().map_err(|e| broken("vm_work.host_id", e))?,
            instance: id("instance_id")?.parse().map_err(|e| broken("vm_work.instance_id", e))?,
        })
    };
    rows.iter().map(key).collect()
}

/// These VMs need not wait any longer for their next attempt.
pub async fn end_pauses(tx: &mut AnyConnection, keys: &[VmKey]) -> Result<(), StoreError> {
    for part in many::parts(keys) {
        let sql = format!(
            "UPDATE vm_work SET next_attempt_at = 0 WHERE waited > 0 AND {}",
            super::keys_in(part.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in part {
            query = query.bind(key.host.to_string()).bind(key.instance.to_string());
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}
