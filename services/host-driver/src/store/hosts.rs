//! The table `hosts`: what was last said of each host.

use super::{broken, signed, unsigned};
use ::store::StoreError;
use kernel::HostId;
use sqlx::{AnyConnection, AnyPool, Row};
use std::collections::BTreeMap;

/// Revision and `HostReport` of every host that was ever reported.
pub async fn all(pool: &AnyPool) -> Result<BTreeMap<HostId, (u64, Vec<u8>)>, StoreError> {
    let rows = sqlx::query("SELECT host_id, revision, report FROM hosts").fetch_all(pool).await?;
    let mut all = BTreeMap::new();
    for row in &rows {
        let id: String = row.try_get("host_id")?;
        let host = id.parse().map_err(|e| broken("hosts.host_id", e))?;
        all.insert(host, (unsigned(row.try_get("revision")?), row.try_get("report")?));
    }
    Ok(all)
}

/// Whether a process over this database ever answered for the host.
pub async fn known(tx: &mut AnyConnection, host: HostId) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM hosts WHERE host_id = $1").bind(host.to_string());
    Ok(query.fetch_optional(tx).await?.is_some())
}

/// Keeps what is said of a host.
pub async fn put(
    tx: &mut AnyConnection,
    host: HostId,
    revision: u64,
    report: &[u8],
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO hosts (host_id, revision, report) VALUES ($1, $2, $3) \
         ON CONFLICT (host_id) DO UPDATE SET revision = excluded.revision, report = excluded.report",
    )
    .bind(host.to_string())
    .bind(signed(revision))
    .bind(report)
    .execute(tx)
    .await?;
    Ok(())
}
