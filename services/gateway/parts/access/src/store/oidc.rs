//! Logins through an identity provider.

use contracts::gateway::v1::{OidcIdentity, UserRecord};
use gateway_api::store::snapshot;
use sqlx::{AnyConnection, AnyExecutor};

/// How somebody at a provider is found: no issuer has a blank in it. Who has not come yet is found by the name that the
/// provider will say, if one was given: no issuer is called so, because issuers are URLs. "" = nobody, or whoever comes
/// under the user's own name.
pub fn column(identity: Option<&OidcIdentity>) -> String {
    match identity {
        Some(OidcIdentity { issuer, subject, .. }) if !issuer.is_empty() => format!("{issuer} {subject}"),
        Some(OidcIdentity { name, .. }) if !name.is_empty() => format!("waits {name}"),
        _ => String::new(),
    }
}

/// The user of a tenant that waits for somebody whom the provider calls so.
pub async fn waiting<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    said: &str,
) -> Result<Option<UserRecord>, sqlx::Error> {
    let waits = OidcIdentity { name: said.to_owned(), ..OidcIdentity::default() };
    let row =
        sqlx::query("SELECT snapshot FROM users WHERE oidc = $1 AND tenant = $2 AND deleted = 0 LIMIT 1")
            .bind(column(Some(&waits)))
            .bind(tenant)
            .fetch_optional(db)
            .await?;
    row.as_ref().map(snapshot).transpose()
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
