//! Logins through an identity provider.

use contracts::gateway::v1::{OidcIdentity, UserRecord};
use gateway_api::store::snapshot;
use sqlx::{AnyConnection, AnyExecutor};

/// How somebody at a provider is found: no issuer has a blank in it. "" = nobody, or nobody yet.
pub fn column(identity: Option<&OidcIdentity>) -> String {
    let somebody = identity.filter(|identity| !identity.issuer.is_empty());
    somebody.map_or_else(String::new, |identity| format!("{} {}", identity.issuer, identity.subject))
}

/// The user that somebody at a provider is, unless deleted.
pub async fn user<'a>(
    db: impl AnyExecutor<'a>,
    identity: &OidcIdentity,
) -> Result<Option<UserRecord>, sqlx::Error> {
    let row = sqlx::query("SELECT snapshot FROM users WHERE oidc = $1 AND deleted = 0 LIMIT 1")
        .bind(column(Some(identity)))
        .fetch_optional(db)
        .await?;
    row.as_ref().map(snapshot).transpose()
}

/// Uses a ticket up. False: it was used before.
pub async fn use_ticket(
    db: &mut AnyConnection,
    id: &str,
    expires_at_us: i64,
    now_us: i64,
) -> Result<bool, sqlx::Error> {
    sqlx::query("DELETE FROM oidc_tickets WHERE expires_at_us < $1").bind(now_us).execute(&mut *db).await?;
    let done = sqlx::query(
        "INSERT INTO oidc_tickets (id, expires_at_us) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(expires_at_us)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}
