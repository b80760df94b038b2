//! The tables that the invariants speak of. Rows are read as the protobuf snapshots that they hold.

use anyhow::Context;
use contracts::common::v1::OperationState;
use contracts::gateway::v1::Operation;
use contracts::scheduler::v1::Instance;
use prost::Message;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Row};
use std::sync::Once;

/// An instance in the scheduler's table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceRow {
    /// The whole instance.
    pub snapshot: Instance,
    /// It counts against its host.
    pub reserved: bool,
}

/// An operation in the gateway's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRow {
    /// Which.
    pub id: String,
    /// "CreateInstance".
    pub method: String,
    /// What it is about.
    pub object_id: String,
    /// Where it stands.
    pub state: OperationState,
}

/// What the services' tables hold.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Of the scheduler.
    pub instances: Vec<InstanceRow>,
    /// Of the gateway.
    pub operations: Vec<OperationRow>,
}

/// A message in an outbox: its id, subject, and whether the broker acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Message id.
    pub id: String,
    /// Where it goes.
    pub subject: String,
    /// The broker acknowledged it.
    pub published: bool,
}

/// One service's database, opened for reading.
#[derive(Clone)]
pub struct Reader(AnyPool);

impl Reader {
    /// Opens a database that exists. SQLite files are opened read-only.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let url = if url.starts_with("sqlite") && !url.contains('?') {
            format!("{url}?mode=ro")
        } else {
            url.to_owned()
        };
        let pool = AnyPoolOptions::new().max_connections(2).connect(&url).await;
        Ok(Self(pool.with_context(|| format!("reading {url}"))?))
    }

    /// All instances of the scheduler.
    pub async fn instances(&self) -> anyhow::Result<Vec<InstanceRow>> {
        let rows = sqlx::query("SELECT id, reserved, snapshot FROM instances ORDER BY id").fetch_all(&self.0);
        let mut instances = Vec::new();
        for row in rows.await? {
            let (id, bytes): (String, Vec<u8>) = (row.try_get("id")?, row.try_get("snapshot")?);
            let snapshot = Instance::decode(bytes.as_slice()).with_context(|| format!("instance {id}"))?;
            instances.push(InstanceRow { snapshot, reserved: row.try_get::<i64, _>("reserved")? != 0 });
        }
        Ok(instances)
    }

    /// All operations of the gateway.
    pub async fn operations(&self) -> anyhow::Result<Vec<OperationRow>> {
        let rows: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT snapshot FROM operations ORDER BY id").fetch_all(&self.0).await?;
        let mut operations = Vec::new();
        for bytes in rows {
            let operation = Operation::decode(bytes.as_slice()).context("a row of table operations")?;
            operations.push(OperationRow {
                state: operation.state(),
                id: operation.id,
                method: operation.method,
                object_id: operation.object_id,
            });
        }
        Ok(operations)
    }

    /// How many instances of the scheduler wait for a host.
    pub async fn waiting(&self) -> anyhow::Result<u64> {
        let sql = "SELECT COUNT(*) FROM instances WHERE waiting = 1";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&self.0).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Commands of this service's outbox, oldest first.
    pub async fn commands(&self) -> anyhow::Result<Vec<OutboxRow>> {
        let sql =
            "SELECT message_id, subject, stream_sequence FROM outbox WHERE stream LIKE 'CMD_%' ORDER BY seq";
        let rows: Vec<(String, String, i64)> = sqlx::query_as(sql).fetch_all(&self.0).await?;
        Ok(rows.into_iter().map(|(id, subject, at)| OutboxRow { id, subject, published: at > 0 }).collect())
    }

    /// How many messages wait for the broker.
    pub async fn unpublished(&self) -> anyhow::Result<u64> {
        let sql = "SELECT COUNT(*) FROM outbox WHERE stream_sequence = 0";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&self.0).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Ids of all messages that had their effect.
    pub async fn handled(&self) -> anyhow::Result<Vec<String>> {
        Ok(sqlx::query_scalar("SELECT message_id FROM inbox").fetch_all(&self.0).await?)
    }

    /// Closes the connections.
    pub async fn close(self) {
        self.0.close().await;
    }
}
