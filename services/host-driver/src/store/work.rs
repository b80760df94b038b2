//! The table `vm_work`: how far each order came.

use super::{VmKey, broken, cause, signed, unsigned};
use crate::domain::progress::RebootAsked;
use crate::domain::{Attempts, Progress, Wanted};
use ::store::StoreError;
use bus::Cause;
use kernel::{Refusal, Timestamp};
use prost::Message;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

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
    Ok(Progress {
        reached: REACHED.iter().find(|(_, name)| *name == reached).map(|(wanted, _)| *wanted),
        adopted: number("adopted")? != 0,
        stop_asked_at: moment("stop_asked_at")?,
        reboots_done: unsigned(number("reboots_done")?),
        reboot_asked: moment("reboot_asked_at")?.map(|at| RebootAsked { at, boot }),
        attempts: Attempts {
            failed: u32::try_from(number("attempts")?).unwrap_or(0),
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
pub async fn find(
    tx: &mut AnyConnection,
    key: VmKey,
    tenant: &str,
) -> Result<Option<(Progress, Cause)>, StoreError> {
    let query = sqlx::query("SELECT * FROM vm_work WHERE host_id = $1 AND instance_id = $2");
    let row = query.bind(key.host.to_string()).bind(key.instance.to_string()).fetch_optional(tx).await?;
    row.map(|row| Ok((read(&row)?, cause::read(&row, tenant)?))).transpose()
}

/// Keeps how far a VM came.
pub async fn put(
    tx: &mut AnyConnection,
    key: VmKey,
    progress: &Progress,
    cause: &Cause,
) -> Result<(), StoreError> {
    let reached =
        progress.reached.and_then(|r| REACHED.iter().find(|(w, _)| *w == r)).map_or("", |(_, name)| name);
    let failure = progress.failure.clone().map(contracts::common::v1::Refusal::from);
    let steps: Vec<String> = progress.steps.iter().map(|(name, at)| format!("{name}@{}", at.0)).collect();
    let asked = progress.reboot_asked;
    sqlx::query(
        "INSERT INTO vm_work (host_id, instance_id, correlation_id, causation_id, actor, traceparent, reached, adopted, \
         stop_asked_at, reboots_done, reboot_asked_at, reboot_boot, attempts, next_attempt_at, gave_up, failure, restarts, \
         started_at, steps) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) \
         ON CONFLICT (host_id, instance_id) DO UPDATE SET correlation_id = excluded.correlation_id, \
         causation_id = excluded.causation_id, actor = excluded.actor, traceparent = excluded.traceparent, \
         reached = excluded.reached, adopted = excluded.adopted, stop_asked_at = excluded.stop_asked_at, \
         reboots_done = excluded.reboots_done, reboot_asked_at = excluded.reboot_asked_at, \
         reboot_boot = excluded.reboot_boot, attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at, \
         gave_up = excluded.gave_up, failure = excluded.failure, restarts = excluded.restarts, \
         started_at = excluded.started_at, steps = excluded.steps",
    )
    .bind(key.host.to_string())
    .bind(key.instance.to_string())
    .bind(cause.correlation.to_string())
    .bind(cause::causation(cause))
    .bind(&cause.actor)
    .bind(&cause.traceparent)
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
    .execute(tx)
    .await?;
    Ok(())
}
