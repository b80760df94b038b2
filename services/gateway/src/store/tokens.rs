//! API tokens, by keyed hash.

use crate::domain::caller::{Caller, Permissions};
use sqlx::{AnyConnection, AnyExecutor, Row};

/// A token, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// HMAC-SHA256 of the token in hex.
    pub hash: String,
    /// Unique, for people: "bootstrap".
    pub name: String,
    /// Who comes in with it.
    pub caller: Caller,
    /// Microseconds since the epoch.
    pub created_at_us: i64,
    /// Microseconds since the epoch; 0 = never.
    pub expires_at_us: i64,
}

/// Writes a token unless one of its name is there.
pub async fn put(db: &mut AnyConnection, token: &TokenRow) -> Result<(), sqlx::Error> {
    let permissions = match &token.caller.permissions {
        Permissions::All => "*".to_owned(),
        Permissions::Only(list) => list.join(","),
    };
    sqlx::query(
        "INSERT INTO tokens (hash, name, actor, tenant, permissions, created_at_us, expires_at_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING",
    )
    .bind(&token.hash)
    .bind(&token.name)
    .bind(&token.caller.actor)
    .bind(&token.caller.tenant)
    .bind(permissions)
    .bind(token.created_at_us)
    .bind(token.expires_at_us)
    .execute(db)
    .await?;
    Ok(())
}

/// Who comes in with a token of this hash at `now_us`, and when it expires (0 = never).
pub async fn caller<'a>(
    db: impl AnyExecutor<'a>,
    hash: &str,
    now_us: i64,
) -> Result<Option<(Caller, i64)>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT actor, tenant, permissions, expires_at_us FROM tokens WHERE hash = $1 AND (expires_at_us = 0 OR expires_at_us > $2)",
    )
    .bind(hash)
    .bind(now_us)
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let permissions: String = row.try_get("permissions")?;
    let permissions = match permissions.as_str() {
        "*" => Permissions::All,
        list => Permissions::Only(list.split(',').filter(|p| !p.is_empty()).map(str::to_owned).collect()),
    };
    let caller = Caller { actor: row.try_get("actor")?, tenant: row.try_get("tenant")?, permissions };
    Ok(Some((caller, row.try_get("expires_at_us")?)))
}

/// Takes a token away.
#[cfg(test)]
pub async fn remove(db: &mut AnyConnection, name: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM tokens WHERE name = $1").bind(name).execute(db).await?;
    Ok(())
}

/// Whether a token of this name is there.
pub async fn exists<'a>(db: impl AnyExecutor<'a>, name: &str) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query("SELECT name FROM tokens WHERE name = $1").bind(name).fetch_optional(db).await?.is_some())
}
