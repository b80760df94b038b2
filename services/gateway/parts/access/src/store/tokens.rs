//! Tokens, by keyed hash.

use contracts::gateway::v1::{Token, TokenRecord};
use gateway_api::domain::page::Page;
use gateway_api::store::{after, column, snapshot};
use prost::Message as _;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, AssertSqlSafe, Row};

/// Writes a token; a row of the same or a newer revision stays. One that is to be forgotten is not written, so that it
/// does not matter in which order it was made and forgotten.
pub async fn put(db: &mut AnyConnection, record: &TokenRecord) -> Result<(), sqlx::Error> {
    let none = Token::default();
    let token = record.token.as_ref().unwrap_or(&none);
    if token.expires_at_us != 0 {
        let kept = sqlx::query("SELECT before_us FROM horizons WHERE name = 'tokens' AND before_us > $1");
        if kept.bind(token.expires_at_us).fetch_optional(&mut *db).await?.is_some() {
            return Ok(());
        }
    }
    sqlx::query(
        "INSERT INTO tokens (id, hash, user_id, name, revoked_at_us, expires_at_us, revision, snapshot)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, user_id = excluded.user_id, name = excluded.name,
           revoked_at_us = excluded.revoked_at_us, expires_at_us = excluded.expires_at_us, revision = excluded.revision,
           snapshot = excluded.snapshot
         WHERE tokens.revision < excluded.revision",
    )
    .bind(&token.id)
    .bind(record.hash.as_ref().map_or("", |hash| hash.hex.as_str()))
    .bind(&token.user_id)
    .bind(&token.name)
    .bind(token.revoked_at_us)
    .bind(token.expires_at_us)
    .bind(column(token.revision))
    .bind(record.encode_to_vec())
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets all tokens whose end is before a time, for good.
pub async fn forget(db: &mut AnyConnection, expired_before_us: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO horizons (name, before_us) VALUES ('tokens', $1)
         ON CONFLICT (name) DO UPDATE SET before_us = excluded.before_us WHERE horizons.before_us < excluded.before_us",
    )
    .bind(expired_before_us)
    .execute(&mut *db)
    .await?;
    let old = "SELECT id FROM tokens WHERE expires_at_us > 0 AND expires_at_us < $1";
    sqlx::query(AssertSqlSafe(format!("DELETE FROM token_uses WHERE token_id IN ({old})")))
        .bind(expired_before_us)
        .execute(&mut *db)
        .await?;
    sqlx::query("DELETE FROM tokens WHERE expires_at_us > 0 AND expires_at_us < $1")
        .bind(expired_before_us)
        .execute(db)
        .await?;
    Ok(())
}

/// When the tokens end whose end is before a time, the first `most` of them, in order.
pub async fn ended<'a>(
    db: impl AnyExecutor<'a>,
    expired_before_us: i64,
    most: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT expires_at_us FROM tokens WHERE expires_at_us > 0 AND expires_at_us < $1
         ORDER BY expires_at_us LIMIT $2",
    )
    .bind(expired_before_us)
    .bind(most)
    .fetch_all(db)
    .await
}

/// The token of this hash, also when it is revoked or has expired.
pub async fn by_hash<'a>(db: impl AnyExecutor<'a>, hash: &str) -> Result<Option<TokenRecord>, sqlx::Error> {
    let row = sqlx::query("SELECT snapshot FROM tokens WHERE hash = $1 AND hash <> ''")
        .bind(hash)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(snapshot).transpose()
}

/// Whether a token of this name was ever made.
pub async fn was_made<'a>(db: impl AnyExecutor<'a>, name: &str) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query("SELECT id FROM tokens WHERE name = $1 LIMIT 1")
        .bind(name)
        .fetch_optional(db)
        .await?
        .is_some())
}

/// A token of a user by id, or by name among those that open something at `now_us`.
pub async fn find<'a>(
    db: impl AnyExecutor<'a>,
    user_id: &str,
    name_or_id: &str,
    now_us: i64,
) -> Result<Option<TokenRecord>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot FROM tokens WHERE user_id = $1
           AND (id = $2 OR (name = $2 AND revoked_at_us = 0 AND (expires_at_us = 0 OR expires_at_us > $3)))
         ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END, id DESC LIMIT 1",
    )
    .bind(user_id)
    .bind(name_or_id)
    .bind(now_us)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(snapshot).transpose()
}

/// A page of a user's tokens, newest first, each with when it was last used and from where.
pub async fn page<'a>(
    db: impl AnyExecutor<'a>,
    user_id: &str,
    ended_too: bool,
    now_us: i64,
    page: &Page,
) -> Result<Vec<Token>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT t.snapshot AS snapshot, COALESCE(u.used_at_us, 0) AS used_at_us, COALESCE(u.address, '') AS address
         FROM tokens t LEFT JOIN token_uses u ON u.token_id = t.id
         WHERE t.user_id = $1 AND ($2 = '' OR t.id < $2)
           AND ($3 = 1 OR (t.revoked_at_us = 0 AND (t.expires_at_us = 0 OR t.expires_at_us > $4)))
         ORDER BY t.id DESC LIMIT $5",
    )
    .bind(user_id)
    .bind(after(page, 0))
    .bind(i64::from(ended_too))
    .bind(now_us)
    .bind(page.probe())
    .fetch_all(db)
    .await?;
    rows.iter().map(with_use).collect()
}

fn with_use(row: &AnyRow) -> Result<Token, sqlx::Error> {
    let record: TokenRecord = snapshot(row)?;
    let last_used_at_us = row.try_get("used_at_us")?;
    let last_used_from = row.try_get("address")?;
    Ok(Token { last_used_at_us, last_used_from, ..record.token.unwrap_or_default() })
}

/// Notes that a token opened something.
pub async fn used(
    db: &mut AnyConnection,
    token_id: &str,
    at_us: i64,
    address: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO token_uses (token_id, used_at_us, address) VALUES ($1, $2, $3)
         ON CONFLICT (token_id) DO UPDATE SET used_at_us = excluded.used_at_us, address = excluded.address
         WHERE token_uses.used_at_us < excluded.used_at_us",
    )
    .bind(token_id)
    .bind(at_us)
    .bind(address)
    .execute(db)
    .await?;
    Ok(())
}
