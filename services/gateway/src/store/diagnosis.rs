//! Questions of an operator: what is late, what is broken. Each counts all and names some.

use ::store::{Dialect, Store};
use contracts::common::v1::OperationState;
use contracts::scheduler::v1::{Host, HostState, InstancePhase};
use gateway_api::store::{number, snapshots};

/// So many are named.
const NAMED: i64 = 20;

/// How many, and some of their names.
pub type Late = (u64, Vec<String>);

/// Unfinished operations whose id is older than `before_id` (ids begin with their time), or whose deadline is past.
pub async fn overdue(store: &Store, before_id: &str, now_us: i64) -> Result<Late, sqlx::Error> {
    let which = "FROM operations WHERE state < $1 AND (id < $2 OR (deadline_us > 0 AND deadline_us < $3))";
    let done = OperationState::Succeeded as i64;
    let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) {which}")))
        .bind(done)
        .bind(before_id)
        .bind(now_us)
        .fetch_one(store.reader())
        .await?;
    let named = format!("SELECT method || ' ' || id {which} ORDER BY id LIMIT $4");
    let names = sqlx::query_scalar(sqlx::AssertSqlSafe(named))
        .bind(done)
        .bind(before_id)
        .bind(now_us)
        .bind(NAMED)
        .fetch_all(store.reader())
        .await?;
    Ok((number(count), names))
}

/// How many hosts there are, and those that do not report.
pub async fn unreachable(store: &Store) -> Result<(u64, Late), sqlx::Error> {
    let rows = sqlx::query("SELECT snapshot FROM hosts ORDER BY name, id").fetch_all(store.reader()).await?;
    let hosts: Vec<Host> = snapshots(&rows)?;
    let silent: Vec<&Host> = hosts.iter().filter(|h| h.state == HostState::Unreachable as i32).collect();
    let names = silent.iter().take(NAMED as usize).map(|host| host.name.clone()).collect();
    Ok((hosts.len() as u64, (silent.len() as u64, names)))
}

/// Instances that cannot be started.
pub async fn failed(store: &Store) -> Result<Late, sqlx::Error> {
    let failed = InstancePhase::Failed as i64;
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM instances WHERE phase = $1")
        .bind(failed)
        .fetch_one(store.reader())
        .await?;
    let names = sqlx::query_scalar("SELECT name FROM instances WHERE phase = $1 ORDER BY name, id LIMIT $2")
        .bind(failed)
        .bind(NAMED)
        .fetch_all(store.reader())
        .await?;
    Ok((number(count), names))
}

/// The clock of the database server in microseconds since the epoch; 0 = the database is a file and has none.
pub async fn clock(store: &Store) -> Result<i64, sqlx::Error> {
    match store.dialect() {
        Dialect::Sqlite => Ok(0),
        Dialect::Postgres => {
            sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)")
                .fetch_one(store.reader())
                .await
        }
    }
}
