//! Those who own instances and images.

use contracts::common::v1::OperationState;
use contracts::gateway::v1::{Tenant, WebhookState};
use contracts::scheduler::v1::InstancePhase;
use contracts::storage::v1::ImagePhase;
use gateway_api::domain::page::Page;
use gateway_api::store::{after, column, snapshot, snapshots};
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor};

/// Writes a tenant; a row of the same or a newer revision stays.
pub async fn put(db: &mut AnyConnection, tenant: &Tenant) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO tenants (name, state, revision, snapshot) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET state = excluded.state, revision = excluded.revision, snapshot = excluded.snapshot
         WHERE tenants.revision < excluded.revision",
    )
    .bind(&tenant.name)
    .bind(i64::from(tenant.state))
    .bind(column(tenant.revision))
    .bind(tenant.encode_to_vec())
    .execute(db)
    .await?;
    Ok(())
}

/// A tenant by name, deleted ones as well.
pub async fn get<'a>(db: impl AnyExecutor<'a>, name: &str) -> Result<Option<Tenant>, sqlx::Error> {
    let row =
        sqlx::query("SELECT snapshot FROM tenants WHERE name = $1").bind(name).fetch_optional(db).await?;
    row.as_ref().map(snapshot).transpose()
}

/// A page of tenants, by name, deleted ones as well.
pub async fn page<'a>(db: impl AnyExecutor<'a>, page: &Page) -> Result<Vec<Tenant>, sqlx::Error> {
    let rows = sqlx::query("SELECT snapshot FROM tenants WHERE name > $1 ORDER BY name LIMIT $2")
        .bind(after(page, 0))
        .bind(page.probe())
        .fetch_all(db)
        .await?;
    snapshots(&rows)
}

/// What a tenant still owns: how many of each kind, in words for people; empty = nothing.
pub async fn belongings(db: &mut AnyConnection, tenant: &str) -> Result<Vec<String>, sqlx::Error> {
    let counts = [
        (
            "instance",
            "SELECT COUNT(*) FROM instances WHERE tenant = $1 AND phase <> $2",
            i64::from(InstancePhase::Deleted as i32),
        ),
        (
            "image",
            "SELECT COUNT(*) FROM images WHERE tenant = $1 AND phase <> $2",
            i64::from(ImagePhase::Deleted as i32),
        ),
        (
            "unfinished operation",
            "SELECT COUNT(*) FROM operations WHERE tenant = $1 AND state < $2",
            i64::from(OperationState::Succeeded as i32),
        ),
        (
            "webhook",
            "SELECT COUNT(*) FROM webhooks WHERE tenant = $1 AND state <> $2",
            i64::from(WebhookState::Deleted as i32),
        ),
        ("user", "SELECT COUNT(*) FROM users WHERE tenant = $1 AND deleted < $2", 1),
    ];
    let mut found = Vec::new();
    for (what, sql, bound) in counts {
        let count: i64 = sqlx::query_scalar(sql).bind(tenant).bind(bound).fetch_one(&mut *db).await?;
        match count {
            0 => {}
            1 => found.push(format!("1 {what}")),
            many => found.push(format!("{many} {what}s")),
        }
    }
    for (kind, count) in objects::belongings(db, tenant).await? {
        let name = if count == 1 { kind.name } else { kind.plural };
        found.push(format!("{count} {}", name.replace('_', " ")));
    }
    Ok(found)
}
