//! The tables `quarantine` and `quarantine_orders`: files that were put aside, and orders to remove some of them.

use super::{broken, cause};
use ::store::StoreError;
use bus::Cause;
use contracts::host_driver::v1 as wire;
use prost::Message;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, Row};

/// Takes in what is said of files that were put aside. Those that are held have a row; others have none any more.
pub async fn put(tx: &mut AnyConnection, item: &wire::Quarantined) -> Result<(), StoreError> {
    if item.state() != wire::QuarantineState::Held {
        sqlx::query("DELETE FROM quarantine WHERE id = $1").bind(&item.id).execute(tx).await?;
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO quarantine (id, host_id, instance_id, item) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id) DO UPDATE SET item = excluded.item",
    )
    .bind(&item.id)
    .bind(&item.host_id)
    .bind(&item.instance_id)
    .bind(item.encode_to_vec())
    .execute(tx)
    .await?;
    Ok(())
}

/// Files that are held, by their id.
pub async fn find<'a>(db: impl AnyExecutor<'a>, id: &str) -> Result<Option<wire::Quarantined>, StoreError> {
    let row = sqlx::query("SELECT item FROM quarantine WHERE id = $1").bind(id).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// All that a host is said to hold.
pub async fn of_host<'a>(db: impl AnyExecutor<'a>, host: &str) -> Result<Vec<wire::Quarantined>, StoreError> {
    let query = sqlx::query("SELECT item FROM quarantine WHERE host_id = $1 ORDER BY id").bind(host);
    query.fetch_all(db).await?.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<wire::Quarantined, StoreError> {
    let bytes: Vec<u8> = row.try_get("item")?;
    wire::Quarantined::decode(bytes.as_slice()).map_err(|e| broken("quarantine.item", e))
}

/// An order to remove files that were put aside.
#[derive(Debug, Clone)]
pub struct DropOrder {
    /// What ends with it.
    pub operation_id: String,
    /// On which host.
    pub host: String,
    /// Which files.
    pub quarantine_id: String,
    /// Why.
    pub cause: Cause,
}

/// Writes an order down, once for each operation.
pub async fn order(tx: &mut AnyConnection, order: &DropOrder) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO quarantine_orders (operation_id, host_id, quarantine_id, correlation_id, causation_id, actor, traceparent, tenant) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (operation_id) DO NOTHING",
    )
    .bind(&order.operation_id)
    .bind(&order.host)
    .bind(&order.quarantine_id)
    .bind(order.cause.correlation.to_string())
    .bind(cause::causation(&order.cause))
    .bind(&order.cause.actor)
    .bind(&order.cause.traceparent)
    .bind(&order.cause.tenant)
    .execute(tx)
    .await?;
    Ok(())
}

/// All orders that are not carried out.
pub async fn orders<'a>(db: impl AnyExecutor<'a>) -> Result<Vec<DropOrder>, StoreError> {
    let rows = sqlx::query("SELECT * FROM quarantine_orders ORDER BY operation_id").fetch_all(db).await?;
    let read = |row: &AnyRow| {
        let tenant: String = row.try_get("tenant")?;
        Ok(DropOrder {
            operation_id: row.try_get("operation_id")?,
            host: row.try_get("host_id")?,
            quarantine_id: row.try_get("quarantine_id")?,
            cause: cause::read(row, &tenant)?,
        })
    };
    rows.iter().map(read).collect()
}

/// An order is carried out.
pub async fn ordered(tx: &mut AnyConnection, operation_id: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM quarantine_orders WHERE operation_id = $1")
        .bind(operation_id)
        .execute(tx)
        .await?;
    Ok(())
}
