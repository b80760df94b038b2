//! Named sizes.

use contracts::gateway::v1::Flavor;
use gateway_api::store::{column, snapshot, snapshots};
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor};

/// Writes a flavor; a row of the same or a newer revision stays.
pub async fn put(db: &mut AnyConnection, flavor: &Flavor) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO flavors (name, revision, snapshot) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, snapshot = excluded.snapshot
         WHERE flavors.revision < excluded.revision",
    )
    .bind(&flavor.name)
    .bind(column(flavor.revision))
    .bind(flavor.encode_to_vec())
    .execute(db)
    .await?;
    Ok(())
}

/// A flavor by name.
pub async fn get<'a>(db: impl AnyExecutor<'a>, name: &str) -> Result<Option<Flavor>, sqlx::Error> {
    let row =
        sqlx::query("SELECT snapshot FROM flavors WHERE name = $1").bind(name).fetch_optional(db).await?;
    row.as_ref().map(snapshot).transpose()
}

/// All flavors, by name.
pub async fn all<'a>(db: impl AnyExecutor<'a>) -> Result<Vec<Flavor>, sqlx::Error> {
    snapshots(&sqlx::query("SELECT snapshot FROM flavors ORDER BY name").fetch_all(db).await?)
}
