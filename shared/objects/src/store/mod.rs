//! The tables `objects` and `object_terms`.

use contracts::{Object, ObjectKind, Snapshot};
use kernel::PLATFORM;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, QueryBuilder, Row as _};
use std::collections::BTreeMap;

/// The tables that a replay of the events must bring about again, row by row.
pub const TABLES: &[&str] = &["objects", "object_terms"];

/// An object as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    kind: &'static ObjectKind,
    id: String,
    tenant: String,
    name: String,
    state: &'static str,
    revision: i64,
    created_at_us: i64,
    gone_at_us: i64,
    terms: Vec<(String, String)>,
    snapshot: Vec<u8>,
}

impl Row {
    /// Of an object of its owner.
    pub fn of<O: Object>(object: &O) -> Self {
        let terms = terms(object.gone_at_us(), object.terms());
        Self {
            kind: O::KIND,
            id: object.id().to_owned(),
            tenant: tenant(object.tenant()),
            name: object.name().to_owned(),
            state: object.state_name(),
            revision: column(object.revision()),
            created_at_us: object.created_at_us(),
            gone_at_us: object.gone_at_us(),
            terms,
            snapshot: object.encode_to_vec(),
        }
    }

    /// Of an object as an event carried it, with the bytes of its owner.
    pub fn told(object: &Snapshot, bytes: &[u8]) -> Self {
        Self {
            kind: object.kind(),
            id: object.id().to_owned(),
            tenant: tenant(object.tenant()),
            name: object.name().to_owned(),
            state: object.state_name(),
            revision: column(object.revision()),
            created_at_us: object.created_at_us(),
            gone_at_us: object.gone_at_us(),
            terms: terms(object.gone_at_us(), object.terms()),
            snapshot: bytes.to_vec(),
        }
    }

    fn digest(&self) -> String {
        if self.terms.is_empty() {
            return String::new();
        }
        let mut hash = Sha256::new();
        for (field, value) in &self.terms {
            for text in [field, value] {
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text.as_bytes());
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn tenant(said: &str) -> String {
    if said.is_empty() { PLATFORM.to_owned() } else { said.to_owned() }
}

/// Nobody looks for what is gone.
fn terms(gone_at_us: i64, mut terms: Vec<(String, String)>) -> Vec<(String, String)> {
    if gone_at_us > 0 {
        terms.clear();
    }
    terms.retain(|(_, value)| !value.is_empty());
    terms
}

fn column(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// An object that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is found by.
    pub id: String,
    /// "" = it has none.
    pub name: String,
    /// Grows with each change.
    pub revision: u64,
    /// It is not there any more.
    pub gone: bool,
    /// As its owner encoded it.
    pub snapshot: Vec<u8>,
}

/// Writes an object, unless the row is as new already. Answers whether it did.
pub async fn put(tx: &mut AnyConnection, row: &Row) -> Result<bool, sqlx::Error> {
    let digest = row.digest();
    let present = sqlx::query("SELECT revision, terms FROM objects WHERE kind = $1 AND id = $2")
        .bind(row.kind.name)
        .bind(&row.id)
        .fetch_optional(&mut *tx)
        .await?;
    let mut known = String::new();
    if let Some(present) = present {
        if present.try_get::<i64, _>("revision")? >= row.revision {
            return Ok(false);
        }
        known = present.try_get("terms")?;
    }
    sqlx::query(
        "INSERT INTO objects (kind, id, tenant, name, state, revision, created_at_us, gone_at_us, terms, snapshot)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (kind, id) DO UPDATE SET tenant = excluded.tenant, name = excluded.name, state = excluded.state,
           revision = excluded.revision, created_at_us = excluded.created_at_us, gone_at_us = excluded.gone_at_us,
           terms = excluded.terms, snapshot = excluded.snapshot
         WHERE objects.revision < excluded.revision",
    )
    .bind(row.kind.name)
    .bind(&row.id)
    .bind(&row.tenant)
    .bind(&row.name)
    .bind(row.state)
    .bind(row.revision)
    .bind(row.created_at_us)
    .bind(row.gone_at_us)
    .bind(&digest)
    .bind(&row.snapshot)
    .execute(&mut *tx)
    .await?;
    if digest != known {
        sqlx::query("DELETE FROM object_terms WHERE kind = $1 AND id = $2")
            .bind(row.kind.name)
            .bind(&row.id)
            .execute(&mut *tx)
            .await?;
        for (field, value) in &row.terms {
            sqlx::query(
                "INSERT INTO object_terms (kind, field, value, tenant, id) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(row.kind.name)
            .bind(field)
            .bind(value)
            .bind(&row.tenant)
            .bind(&row.id)
            .execute(&mut *tx)
            .await?;
        }
    }
    Ok(true)
}

/// The same from an event, for whoever rebuilds tables.
pub async fn restore(tx: &mut AnyConnection, object: &Snapshot, bytes: &[u8]) -> Result<bool, sqlx::Error> {
    put(tx, &Row::told(object, bytes)).await
}

fn read(row: &AnyRow) -> Result<Found, sqlx::Error> {
    Ok(Found {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        revision: u64::try_from(row.try_get::<i64, _>("revision")?).unwrap_or_default(),
        gone: row.try_get::<i64, _>("gone_at_us")? > 0,
        snapshot: row.try_get("snapshot")?,
    })
}

/// An object of a tenant ("platform" = of the platform) by id, whatever became of it, or by name while it is there.
pub async fn find<'a>(
    db: impl AnyExecutor<'a>,
    kind: &ObjectKind,
    tenant: &str,
    name_or_id: &str,
) -> Result<Option<Found>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT id, name, revision, gone_at_us, snapshot FROM objects
         WHERE kind = $1 AND tenant = $2 AND (id = $3 OR (name = $3 AND gone_at_us = 0))
         ORDER BY CASE WHEN id = $3 THEN 0 ELSE 1 END, id DESC LIMIT 1",
    )
    .bind(kind.name)
    .bind(tenant)
    .bind(name_or_id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Objects of a tenant that are there and have all of these labels, by name, after this name and id, at most so many.
pub async fn page<'a>(
    db: impl AnyExecutor<'a>,
    kind: &ObjectKind,
    tenant: &str,
    labels: &BTreeMap<String, String>,
    (name, id): (&str, &str),
    most: i64,
) -> Result<Vec<Found>, sqlx::Error> {
    let mut sql = QueryBuilder::<sqlx::Any>::new(
        "SELECT id, name, revision, gone_at_us, snapshot FROM objects WHERE gone_at_us = 0 AND kind = ",
    );
    sql.push_bind(kind.name.to_owned()).push(" AND tenant = ").push_bind(tenant.to_owned());
    sql.push(" AND (name > ").push_bind(name.to_owned()).push(" OR (name = ").push_bind(name.to_owned());
    sql.push(" AND id > ").push_bind(id.to_owned()).push("))");
    for (key, value) in labels {
        sql.push(" AND id IN (SELECT id FROM object_terms WHERE kind = ").push_bind(kind.name.to_owned());
        sql.push(" AND field = ").push_bind(format!("labels.{key}"));
        sql.push(" AND value = ").push_bind(value.clone());
        sql.push(" AND tenant = ").push_bind(tenant.to_owned()).push(")");
    }
    sql.push(" ORDER BY name, id LIMIT ").push_bind(most);
    sql.build().fetch_all(db).await?.iter().map(read).collect()
}

/// How many objects of a kind a tenant has.
pub(crate) async fn count(
    tx: &mut AnyConnection,
    kind: &ObjectKind,
    tenant: &str,
) -> Result<u64, sqlx::Error> {
    let count: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM objects WHERE kind = $1 AND tenant = $2 AND gone_at_us = 0")
            .bind(kind.name)
            .bind(tenant)
            .fetch_one(tx)
            .await?;
    Ok(u64::try_from(count).unwrap_or_default())
}
