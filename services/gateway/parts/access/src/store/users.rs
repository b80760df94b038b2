//! People and programs.

use contracts::gateway::v1::{User, UserRecord};
use gateway_api::domain::page::Page;
use gateway_api::store::{after, column, snapshot, snapshots};
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor};

/// Writes a user; a row of the same or a newer revision stays.
pub async fn put(db: &mut AnyConnection, record: &UserRecord) -> Result<(), sqlx::Error> {
    let nobody = User::default();
    let user = record.user.as_ref().unwrap_or(&nobody);
    sqlx::query(
        "INSERT INTO users (id, tenant, name, deleted, revision, snapshot, oidc) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, name = excluded.name, deleted = excluded.deleted,
           revision = excluded.revision, snapshot = excluded.snapshot, oidc = excluded.oidc
         WHERE users.revision < excluded.revision",
    )
    .bind(&user.id)
    .bind(&user.tenant)
    .bind(&user.name)
    .bind(i64::from(user.deleted))
    .bind(column(user.revision))
    .bind(record.encode_to_vec())
    .bind(super::oidc::column(record.oidc.as_ref()))
    .execute(db)
    .await?;
    Ok(())
}

/// A user of a tenant that is not deleted, by name or id.
pub async fn find<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    name_or_id: &str,
) -> Result<Option<UserRecord>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot FROM users WHERE tenant = $1 AND deleted = 0 AND (id = $2 OR name = $2)
         ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END LIMIT 1",
    )
    .bind(tenant)
    .bind(name_or_id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(snapshot).transpose()
}

/// A user by id, for whoever holds one of its tokens.
pub async fn by_id<'a>(db: impl AnyExecutor<'a>, id: &str) -> Result<Option<UserRecord>, sqlx::Error> {
    let row = sqlx::query("SELECT snapshot FROM users WHERE id = $1").bind(id).fetch_optional(db).await?;
    row.as_ref().map(snapshot).transpose()
}

/// A page of a tenant's users that are not deleted, by name.
pub async fn page<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    page: &Page,
) -> Result<Vec<UserRecord>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT snapshot FROM users WHERE tenant = $1 AND deleted = 0 AND name > $2 ORDER BY name LIMIT $3",
    )
    .bind(tenant)
    .bind(after(page, 0))
    .bind(page.probe())
    .fetch_all(db)
    .await?;
    snapshots(&rows)
}

/// Marks the time step of a one-time code as used by a user. False: it, or a later one, was used before.
pub async fn use_code(db: &mut AnyConnection, user_id: &str, step: u64) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO totp_uses (user_id, step) VALUES ($1, $2)
         ON CONFLICT (user_id) DO UPDATE SET step = excluded.step WHERE totp_uses.step < excluded.step",
    )
    .bind(user_id)
    .bind(column(step))
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}
