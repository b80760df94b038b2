//! Requests that take time.

use super::{after, column, snapshot, snapshots};
use crate::domain::page::Page;
use ::store::many as rows;
use async_trait::async_trait;
use bus::LateRows;
use contracts::common::v1::OperationState;
use contracts::gateway::v1::Operation;
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor, AssertSqlSafe};
use std::collections::{BTreeMap, BTreeSet};

const COLUMNS: usize = 10;

/// Writes an operation; a row of a newer revision stays.
pub async fn put(db: &mut AnyConnection, operation: &Operation) -> Result<(), sqlx::Error> {
    upsert(db, std::slice::from_ref(operation)).await
}

/// Operations that moved on and are not in the table yet.
#[derive(Debug, Default)]
pub struct Rows(BTreeMap<String, Operation>);

impl Rows {
    /// An operation as it is now, when it is among these.
    pub fn find(&self, id: &str) -> Option<&Operation> {
        self.0.get(id)
    }

    /// Takes an operation in; it is newer than what was known of it.
    pub fn note(&mut self, operation: Operation) {
        self.0.insert(operation.id.clone(), operation);
    }
}

#[async_trait]
impl LateRows for Rows {
    async fn write(&mut self, tx: &mut AnyConnection) -> Result<(), ::store::StoreError> {
        let all: Vec<Operation> = std::mem::take(&mut self.0).into_values().collect();
        for part in rows::parts(&all) {
            upsert(tx, part).await?;
        }
        Ok(())
    }
}

async fn upsert(db: &mut AnyConnection, operations: &[Operation]) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO operations (id, tenant, method, object_id, state, revision, idempotency_key, request_sha256, deadline_us, snapshot)
         VALUES {}
         ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, method = excluded.method, object_id = excluded.object_id,
           state = excluded.state, revision = excluded.revision, idempotency_key = excluded.idempotency_key,
           request_sha256 = excluded.request_sha256, deadline_us = excluded.deadline_us, snapshot = excluded.snapshot
         WHERE operations.revision < excluded.revision",
        rows::places(operations.len(), COLUMNS)
    );
    bound(sqlx::query(AssertSqlSafe(sql)), operations).execute(db).await?;
    Ok(())
}

/// Writes operations that are new.
pub async fn insert_all(db: &mut AnyConnection, operations: &[Operation]) -> Result<(), sqlx::Error> {
    for part in rows::parts(operations) {
        let sql = format!(
            "INSERT INTO operations (id, tenant, method, object_id, state, revision, idempotency_key, request_sha256, deadline_us, snapshot)
             VALUES {}",
            rows::places(part.len(), COLUMNS)
        );
        bound(sqlx::query(AssertSqlSafe(sql)), part).execute(&mut *db).await?;
    }
    Ok(())
}

type Insert<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

fn bound<'q>(mut insert: Insert<'q>, operations: &'q [Operation]) -> Insert<'q> {
    for operation in operations {
        let done = operation.state > OperationState::Running as i32;
        insert = insert
            .bind(&operation.id)
            .bind(&operation.tenant)
            .bind(&operation.method)
            .bind(&operation.object_id)
            .bind(i64::from(operation.state))
            .bind(column(operation.revision))
            .bind(&operation.idempotency_key)
            .bind(&operation.request_sha256)
            .bind(if done { 0 } else { operation.deadline_us })
            .bind(operation.encode_to_vec());
    }
    insert
}

/// What was asked for under these keys of tenants.
pub async fn by_keys(
    db: &mut AnyConnection,
    keys: &BTreeSet<(&str, &str)>,
) -> Result<Vec<Operation>, sqlx::Error> {
    let mut by_tenant: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tenant, key) in keys {
        by_tenant.entry(tenant).or_default().push(key);
    }
    let mut found = Vec::new();
    for (tenant, keys) in by_tenant {
        for some in rows::parts(&keys) {
            let sql = format!(
                "SELECT snapshot FROM operations WHERE tenant = $1 AND idempotency_key <> '' AND idempotency_key IN ({})",
                rows::list(1, some.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant);
            for key in some {
                query = query.bind(*key);
            }
            found.extend(snapshots::<Operation>(&query.fetch_all(&mut *db).await?)?);
        }
    }
    Ok(found)
}

/// An operation of a tenant.
pub async fn get<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    id: &str,
) -> Result<Option<Operation>, sqlx::Error> {
    let row = sqlx::query("SELECT snapshot FROM operations WHERE tenant = $1 AND id = $2")
        .bind(tenant)
        .bind(id)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(snapshot).transpose()
}

/// An operation whose owner is not known: services name operations by id alone.
pub async fn find<'a>(db: impl AnyExecutor<'a>, id: &str) -> Result<Option<Operation>, sqlx::Error> {
    let row =
        sqlx::query("SELECT snapshot FROM operations WHERE id = $1").bind(id).fetch_optional(db).await?;
    row.as_ref().map(snapshot).transpose()
}

/// What a tenant asked for under an idempotency key.
pub async fn by_key<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    key: &str,
) -> Result<Option<Operation>, sqlx::Error> {
    let row = sqlx::query("SELECT snapshot FROM operations WHERE tenant = $1 AND idempotency_key = $2 AND idempotency_key <> ''")
        .bind(tenant)
        .bind(key)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(snapshot).transpose()
}

/// A page of a tenant's operations, newest first. `object_id` "" = all.
pub async fn page<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    object_id: &str,
    page: &Page,
) -> Result<Vec<Operation>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT snapshot FROM operations WHERE tenant = $1 AND ($2 = '' OR object_id = $2) AND ($3 = '' OR id < $3)
         ORDER BY id DESC LIMIT $4",
    )
    .bind(tenant)
    .bind(object_id)
    .bind(after(page, 0))
    .bind(page.probe())
    .fetch_all(db)
    .await?;
    snapshots(&rows)
}

/// The unfinished operation of a method about an object of a tenant.
pub async fn unfinished<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    method: &str,
    object_id: &str,
) -> Result<Option<Operation>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot FROM operations WHERE tenant = $1 AND method = $2 AND object_id = $3 AND state < $4
         ORDER BY id DESC LIMIT 1",
    )
    .bind(tenant)
    .bind(method)
    .bind(object_id)
    .bind(OperationState::Succeeded as i64)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(snapshot).transpose()
}

/// The id of the newest unfinished request that changes an object; programs in guests change none.
pub async fn newest_unfinished<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    object_id: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM operations WHERE object_id = $1 AND tenant = $2 AND state < $3 AND method <> 'ExecInstance'
         ORDER BY id DESC LIMIT 1",
    )
    .bind(object_id)
    .bind(tenant)
    .bind(OperationState::Succeeded as i64)
    .fetch_optional(db)
    .await
}

/// Operations of which no service has said anything, in order of ids after `after`; those with a deadline are left out.
pub async fn unanswered<'a>(
    db: impl AnyExecutor<'a>,
    after: &str,
    limit: i64,
) -> Result<Vec<Operation>, sqlx::Error> {
    // the state is written out, as in the index: 1 = OPERATION_STATE_PENDING
    let rows = sqlx::query(
        "SELECT snapshot FROM operations WHERE state = 1 AND deadline_us = 0 AND tenant <> '' AND id > $1
         ORDER BY id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await?;
    snapshots(&rows)
}

/// Unfinished operations that wait for an answer with a deadline: those past it at `now_us`, and those whose
/// instance is deleted. Oldest deadline first.
pub async fn overdue<'a>(
    db: impl AnyExecutor<'a>,
    now_us: i64,
    deleted_phase: i32,
    limit: i64,
) -> Result<Vec<Operation>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT snapshot FROM operations WHERE deadline_us > 0
           AND (deadline_us <= $1 OR object_id IN (SELECT id FROM instances WHERE phase = $2))
         ORDER BY deadline_us, id LIMIT $3",
    )
    .bind(now_us)
    .bind(i64::from(deleted_phase))
    .bind(limit)
    .fetch_all(db)
    .await?;
    snapshots(&rows)
}
