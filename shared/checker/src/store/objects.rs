//! Objects in the tables of a service, whatever they are.

use anyhow::Context;
use contracts::archive::v1::Segment;
use contracts::options::v1::Scope;
use contracts::{KINDS, ObjectKind};
use prost::Message as _;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyExecutor, AssertSqlSafe, Row};

/// An object in the gateway's read model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    /// Of flavors: the name.
    pub id: String,
    /// For people.
    pub name: String,
    /// "" = it is the platform's.
    pub tenant: String,
    /// Revision.
    pub revision: i64,
    /// It is not there any more: known of declared kinds, others say it in their snapshot.
    pub gone: bool,
    /// Protobuf bytes.
    pub snapshot: Vec<u8>,
}

/// Kinds of objects that people know by name. The read model has one table for all that are declared with methods, and one
/// for each of the others, called as many of them.
pub fn kinds() -> impl Iterator<Item = &'static ObjectKind> {
    KINDS.iter().filter(|kind| kind.named && kind.scope != Scope::Internal)
}

/// All objects of a kind, by name; with `wanted` only those with this name or id.
pub async fn all<'a>(
    db: impl AnyExecutor<'a>,
    kind: &ObjectKind,
    wanted: &str,
) -> Result<Vec<ObjectRow>, sqlx::Error> {
    let tenant = if kind.scope == Scope::Tenant { "tenant" } else { "''" };
    let (table, id) = (kind.plural, kind.id);
    let sql = if kind.served {
        format!(
            "SELECT id, name, {tenant} AS tenant, revision, gone_at_us AS gone, snapshot FROM objects
             WHERE kind = '{}' AND ($1 = '' OR id = $1 OR name = $1) ORDER BY name, id",
            kind.name
        )
    } else {
        format!(
            "SELECT {id} AS id, name, {tenant} AS tenant, revision, 0 AS gone, snapshot FROM {table}
             WHERE ($1 = '' OR {id} = $1 OR name = $1) ORDER BY name, id"
        )
    };
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(wanted.to_owned()).fetch_all(db).await?;
    let object = |row: &sqlx::any::AnyRow| {
        Ok(ObjectRow {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            tenant: row.try_get("tenant")?,
            revision: row.try_get("revision")?,
            gone: row.try_get::<i64, _>("gone")? > 0,
            snapshot: row.try_get("snapshot")?,
        })
    };
    rows.iter().map(object).collect()
}

/// The newest segment in the archive's table.
pub async fn newest_segment(url: &str) -> anyhow::Result<Option<Segment>> {
    sqlx::any::install_default_drivers();
    let pool = AnyPoolOptions::new().max_connections(1).connect(url).await;
    let pool = pool.with_context(|| format!("reading {url}"))?;
    let bytes: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT snapshot FROM segments ORDER BY number DESC LIMIT 1")
            .fetch_optional(&pool)
            .await?;
    pool.close().await;
    Ok(bytes.map(|bytes| Segment::decode(&*bytes)).transpose()?)
}
