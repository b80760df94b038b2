//! The tables `objects` and `object_terms`.

use contracts::{Object, ObjectKind, Snapshot};
use kernel::PLATFORM;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, AssertSqlSafe, Row as _};
use std::collections::BTreeSet;

mod fill;
mod page;
pub use fill::{LOOKED_AT, fill};
pub use page::{Order, Page, Query, page};

/// The tables that a replay of the events must bring about again, row by row.
pub const TABLES: &[&str] = &["objects", "object_terms", "objects_forgotten"];

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
    // a label may be there without a value; a list may name the same twice
    let mut seen = BTreeSet::new();
    terms.retain(|(field, value)| {
        (field.starts_with("labels.") || !value.is_empty()) && seen.insert((field.clone(), value.clone()))
    });
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
    /// Microseconds since the epoch.
    pub created_at_us: i64,
    /// It is not there any more.
    pub gone: bool,
    /// As its owner encoded it.
    pub snapshot: Vec<u8>,
}

/// Writes an object, unless the row is as new already. Answers whether it did. Of one that is not kept any more the row
/// goes, if there is one: it does not matter in which order that and what became of it are heard.
pub async fn put(tx: &mut AnyConnection, row: &Row) -> Result<bool, sqlx::Error> {
    if row.gone_at_us > 0 && row.gone_at_us < forgotten_before(tx, row.kind).await? {
        let sql = "DELETE FROM objects WHERE kind = $1 AND id = $2 AND revision < $3";
        let done =
            sqlx::query(sql).bind(row.kind.name).bind(&row.id).bind(row.revision).execute(&mut *tx).await?;
        let sql = "DELETE FROM object_terms WHERE kind = $1 AND id = $2";
        sqlx::query(sql).bind(row.kind.name).bind(&row.id).execute(tx).await?;
        return Ok(done.rows_affected() > 0);
    }
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
    let done = sqlx::query(
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
    if done.rows_affected() == 0 {
        // somebody else wrote since it was looked at: what it is found by is theirs as well
        return Ok(false);
    }
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

/// Before which time objects of a kind went that are not kept any more.
async fn forgotten_before(tx: &mut AnyConnection, kind: &ObjectKind) -> Result<i64, sqlx::Error> {
    let sql = "SELECT before_us FROM objects_forgotten WHERE kind = $1";
    let found: Option<i64> = sqlx::query_scalar(sql).bind(kind.name).fetch_optional(tx).await?;
    Ok(found.unwrap_or_default())
}

/// When objects of a kind went that were gone before a time: the first so many of them, in order.
pub(crate) async fn gone_before(
    db: &sqlx::AnyPool,
    kind: &ObjectKind,
    before_us: i64,
    most: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let sql = "SELECT gone_at_us FROM objects WHERE kind = $1 AND gone_at_us > 0 AND gone_at_us < $2
               ORDER BY gone_at_us LIMIT $3";
    sqlx::query_scalar(sql).bind(kind.name).bind(before_us).bind(most).fetch_all(db).await
}

/// Removes objects of a kind that were gone before a time, for good.
pub(crate) async fn forget(tx: &mut AnyConnection, kind: &str, before_us: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO objects_forgotten (kind, before_us) VALUES ($1, $2)
         ON CONFLICT (kind) DO UPDATE SET before_us = excluded.before_us
         WHERE objects_forgotten.before_us < excluded.before_us",
    )
    .bind(kind)
    .bind(before_us)
    .execute(&mut *tx)
    .await?;
    // what is gone has no terms
    let sql = "DELETE FROM objects WHERE kind = $1 AND gone_at_us > 0 AND gone_at_us < $2";
    sqlx::query(sql).bind(kind).bind(before_us).execute(tx).await?;
    Ok(())
}

/// The same from an event, for whoever rebuilds tables.
pub async fn restore(tx: &mut AnyConnection, object: &Snapshot, bytes: &[u8]) -> Result<bool, sqlx::Error> {
    put(tx, &Row::told(object, bytes)).await
}

/// What a [`Found`] is read from.
const COLUMNS: &str = "id, name, revision, created_at_us, gone_at_us, snapshot";

fn read(row: &AnyRow) -> Result<Found, sqlx::Error> {
    Ok(Found {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        revision: u64::try_from(row.try_get::<i64, _>("revision")?).unwrap_or_default(),
        created_at_us: row.try_get("created_at_us")?,
        gone: row.try_get::<i64, _>("gone_at_us")? > 0,
        snapshot: row.try_get("snapshot")?,
    })
}

/// An object of a tenant ("platform" = of the platform) by id, whatever became of it.
pub async fn find_by_id<'a>(
    db: impl AnyExecutor<'a>,
    kind: &ObjectKind,
    tenant: &str,
    id: &str,
) -> Result<Option<Found>, sqlx::Error> {
    let sql = format!("SELECT {COLUMNS} FROM objects WHERE kind = $1 AND id = $2 AND tenant = $3");
    let row =
        sqlx::query(AssertSqlSafe(sql)).bind(kind.name).bind(id).bind(tenant).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// An object of a tenant by name, while it is there.
pub async fn find_by_name<'a>(
    db: impl AnyExecutor<'a>,
    kind: &ObjectKind,
    tenant: &str,
    name: &str,
) -> Result<Option<Found>, sqlx::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM objects
         WHERE kind = $1 AND tenant = $2 AND name = $3 AND gone_at_us = 0 ORDER BY id DESC LIMIT 1"
    );
    let row =
        sqlx::query(AssertSqlSafe(sql)).bind(kind.name).bind(tenant).bind(name).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// An object of a tenant by id, whatever became of it, or by name while it is there.
pub async fn find(
    db: &sqlx::AnyPool,
    kind: &ObjectKind,
    tenant: &str,
    name_or_id: &str,
) -> Result<Option<Found>, sqlx::Error> {
    match find_by_id(db, kind, tenant, name_or_id).await? {
        Some(found) => Ok(Some(found)),
        None => find_by_name(db, kind, tenant, name_or_id).await,
    }
}

/// Names of other living objects of a kind that refer to an object, at most so many.
pub(crate) async fn referring(
    tx: &mut AnyConnection,
    from: &ObjectKind,
    to: &ObjectKind,
    id: &str,
    most: usize,
) -> Result<Vec<String>, sqlx::Error> {
    let mut names = Vec::new();
    for (field, _) in from.refers.iter().filter(|(_, kind)| *kind == to.name) {
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT objects.name FROM object_terms JOIN objects
               ON objects.kind = object_terms.kind AND objects.id = object_terms.id
             WHERE object_terms.kind = $1 AND object_terms.field = $2 AND object_terms.value = $3
               AND objects.id <> $3 AND objects.gone_at_us = 0
             ORDER BY objects.name, objects.id LIMIT $4",
        )
        .bind(from.name)
        .bind(*field)
        .bind(id)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await?;
        names.extend(found.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    }
    names.truncate(most);
    Ok(names)
}

/// How many objects of each kind a tenant has.
pub async fn belongings(
    tx: &mut AnyConnection,
    tenant: &str,
) -> Result<Vec<(&'static ObjectKind, i64)>, sqlx::Error> {
    let sql =
        "SELECT kind, COUNT(*) FROM objects WHERE tenant = $1 AND gone_at_us = 0 GROUP BY kind ORDER BY kind";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).bind(tenant).fetch_all(tx).await?;
    let kind = |name: &str| contracts::KINDS.iter().find(|kind| kind.name == name);
    Ok(rows.into_iter().filter_map(|(name, count)| Some((kind(&name)?, count))).collect())
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
