//! The table `execs`: programs to run in guests, at most once.

use super::{VmKey, broken, cause, unsigned};
use ::store::StoreError;
use bus::Cause;
use kernel::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row};

/// A program to run.
#[derive(Debug, Clone)]
pub struct ExecRow {
    /// The operation it is.
    pub operation_id: String,
    /// In which guest.
    pub key: VmKey,
    /// Whose.
    pub tenant: String,
    /// `Sealed` `ExecRequest`.
    pub request: Vec<u8>,
    /// It is killed after this time.
    pub timeout_s: u32,
    /// Why.
    pub cause: Cause,
}

fn read(row: &AnyRow) -> Result<ExecRow, StoreError> {
    let (host, instance): (String, String) = (row.try_get("host_id")?, row.try_get("instance_id")?);
    let tenant: String = row.try_get("tenant")?;
    Ok(ExecRow {
        operation_id: row.try_get("operation_id")?,
        key: VmKey {
            host: host.parse().map_err(|e| broken("execs.host_id", e))?,
            instance: instance.parse().map_err(|e| broken("execs.instance_id", e))?,
        },
        cause: cause::read(row, &tenant)?,
        tenant,
        request: row.try_get("request")?,
        timeout_s: u32::try_from(unsigned(row.try_get("timeout_s")?)).unwrap_or(u32::MAX),
    })
}

/// Takes a request in, once.
pub async fn ask(tx: &mut AnyConnection, exec: &ExecRow, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO execs (operation_id, host_id, instance_id, tenant, request, timeout_s, state, changed_at, \
         correlation_id, causation_id, actor, traceparent) VALUES ($1, $2, $3, $4, $5, $6, 'asked', $7, $8, $9, $10, $11) \
         ON CONFLICT (operation_id) DO NOTHING",
    )
    .bind(&exec.operation_id)
    .bind(exec.key.host.to_string())
    .bind(exec.key.instance.to_string())
    .bind(&exec.tenant)
    .bind(&exec.request)
    .bind(i64::from(exec.timeout_s))
    .bind(now.0)
    .bind(exec.cause.correlation.to_string())
    .bind(cause::causation(&exec.cause))
    .bind(&exec.cause.actor)
    .bind(&exec.cause.traceparent)
    .execute(tx)
    .await?;
    Ok(())
}

/// Requests in a state ("asked", "started"), oldest first.
pub async fn in_state(pool: &AnyPool, state: &'static str) -> Result<Vec<ExecRow>, StoreError> {
    let sql = "SELECT * FROM execs WHERE state = $1 ORDER BY changed_at LIMIT 100";
    let rows = sqlx::query(sql).bind(state).fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

/// Marks a request as begun; false: somebody else did.
pub async fn start(tx: &mut AnyConnection, operation_id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let sql =
        "UPDATE execs SET state = 'started', changed_at = $1 WHERE operation_id = $2 AND state = 'asked'";
    Ok(sqlx::query(sql).bind(now.0).bind(operation_id).execute(tx).await?.rows_affected() == 1)
}

/// Marks a request as answered; false: it was before. What was asked is forgotten.
pub async fn finish(tx: &mut AnyConnection, operation_id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE execs SET state = 'done', request = $1, changed_at = $2 WHERE operation_id = $3 AND state <> 'done'";
    let done = sqlx::query(sql).bind(Vec::<u8>::new()).bind(now.0).bind(operation_id).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets requests that were answered before `before`.
pub async fn forget(tx: &mut AnyConnection, before: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM execs WHERE state = 'done' AND changed_at < $1")
        .bind(before.0)
        .execute(tx)
        .await?;
    Ok(())
}
