//! The read model of disks that hosts put aside.

use contracts::host_driver::v1::{QuarantineState, Quarantined};
use gateway_api::store::{snapshot, snapshots};
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor};

/// As many are shown of one host or instance.
const SHOWN: i64 = 1_000;

/// Takes in what is said of them. Those that are held have a row; others have none any more.
pub async fn put(db: &mut AnyConnection, item: &Quarantined) -> Result<(), sqlx::Error> {
    if item.state() != QuarantineState::Held {
        sqlx::query("DELETE FROM quarantine WHERE id = $1").bind(&item.id).execute(db).await?;
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO quarantine (id, host_id, instance_id, tenant, at_us, snapshot) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET snapshot = excluded.snapshot",
    )
    .bind(&item.id)
    .bind(&item.host_id)
    .bind(&item.instance_id)
    .bind(&item.tenant)
    .bind(item.at_us)
    .bind(item.encode_to_vec())
    .execute(db)
    .await?;
    Ok(())
}

/// What a host holds, oldest first.
pub async fn of_host<'a>(db: impl AnyExecutor<'a>, host_id: &str) -> Result<Vec<Quarantined>, sqlx::Error> {
    let sql = "SELECT snapshot FROM quarantine WHERE host_id = $1 ORDER BY at_us, id LIMIT $2";
    snapshots(&sqlx::query(sql).bind(host_id).bind(SHOWN).fetch_all(db).await?)
}

/// What is held of an instance of a tenant, oldest first.
pub async fn of_instance<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    instance_id: &str,
) -> Result<Vec<Quarantined>, sqlx::Error> {
    let sql =
        "SELECT snapshot FROM quarantine WHERE tenant = $1 AND instance_id = $2 ORDER BY at_us, id LIMIT $3";
    snapshots(&sqlx::query(sql).bind(tenant).bind(instance_id).bind(SHOWN).fetch_all(db).await?)
}

/// One of those that a host holds.
pub async fn on_host<'a>(
    db: impl AnyExecutor<'a>,
    host_id: &str,
    id: &str,
) -> Result<Option<Quarantined>, sqlx::Error> {
    let sql = "SELECT snapshot FROM quarantine WHERE host_id = $1 AND id = $2";
    let row = sqlx::query(sql).bind(host_id).bind(id).fetch_optional(db).await?;
    row.as_ref().map(snapshot).transpose()
}

/// The deleted instance of a tenant that had this name last, and whose disks are held: its id.
pub async fn deleted_with_disks<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    name: &str,
    deleted: i64,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT instances.id FROM instances JOIN quarantine
           ON quarantine.tenant = instances.tenant AND quarantine.instance_id = instances.id
         WHERE instances.tenant = $1 AND instances.name = $2 AND instances.phase = $3
         ORDER BY quarantine.at_us DESC, instances.id DESC LIMIT 1",
    )
    .bind(tenant)
    .bind(name)
    .bind(deleted)
    .fetch_optional(db)
    .await
}
