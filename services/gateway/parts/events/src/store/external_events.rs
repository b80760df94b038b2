//! Which events of other systems were taken.

use gateway_api::translate::external_events::digest;
use sqlx::AnyConnection;

/// Longest text that stands in the index as it is, in bytes: a row of it holds 2,704 on PostgreSQL, with the tenant.
const INDEXED: usize = 1024;

/// What an event is known by: its source, its id, or what stands for one that no index takes.
fn indexed(text: &str) -> String {
    if text.len() <= INDEXED { text.to_owned() } else { format!("sha256:{}", digest(text)) }
}

/// Notes that a tenant's event was taken. False: it was before.
pub async fn claim(
    db: &mut AnyConnection,
    tenant: &str,
    source: &str,
    id: &str,
    received_at_us: i64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO external_events (tenant, source, id, received_at_us) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant, source, id) DO NOTHING",
    )
    .bind(tenant)
    .bind(indexed(source))
    .bind(indexed(id))
    .bind(received_at_us)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Forgets events that were taken before `before_us`, at most `limit`. Answers how many.
pub async fn forget(db: &mut AnyConnection, before_us: i64, limit: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "DELETE FROM external_events WHERE (tenant, source, id) IN (
           SELECT tenant, source, id FROM external_events WHERE received_at_us < $1 ORDER BY received_at_us LIMIT $2)",
    )
    .bind(before_us)
    .bind(limit)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
