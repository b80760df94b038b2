//! The read model of hosts.

use contracts::scheduler::v1::Host;
use gateway_api::domain::page::Page;
use gateway_api::store::{after, column, snapshot, snapshots};
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor};

/// Takes a host in. False: the row is as new already.
pub async fn put(db: &mut AnyConnection, host: &Host) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO hosts (id, name, agent_id, revision, snapshot) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, agent_id = excluded.agent_id,
           revision = excluded.revision, snapshot = excluded.snapshot
         WHERE hosts.revision < excluded.revision",
    )
    .bind(&host.id)
    .bind(&host.name)
    .bind(&host.agent_id)
    .bind(column(host.revision))
    .bind(host.encode_to_vec())
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A host by id or name.
pub async fn find<'a>(db: impl AnyExecutor<'a>, name_or_id: &str) -> Result<Option<Host>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot FROM hosts WHERE id = $1 OR name = $1
         ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END, id DESC LIMIT 1",
    )
    .bind(name_or_id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(snapshot).transpose()
}

/// A page of hosts, by name.
pub async fn page<'a>(db: impl AnyExecutor<'a>, page: &Page) -> Result<Vec<Host>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT snapshot FROM hosts WHERE name > $1 OR (name = $1 AND id > $2) ORDER BY name, id LIMIT $3",
    )
    .bind(after(page, 0))
    .bind(after(page, 1))
    .bind(page.probe())
    .fetch_all(db)
    .await?;
    snapshots(&rows)
}
