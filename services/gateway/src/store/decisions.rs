//! Why instances are where they are: the newest placement decisions of each.

use contracts::scheduler::v1::PlacementDecision;
use gateway_api::store::{column, snapshots};
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor};

/// Decisions kept for one instance: one that waits for room is decided on again and again.
const KEPT: i64 = 20;

/// Takes a decision in and forgets the oldest ones.
pub async fn put(db: &mut AnyConnection, decision: &PlacementDecision) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO decisions (instance_id, decided_at_us, generation, host_id, snapshot) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (instance_id, decided_at_us, generation) DO NOTHING",
    )
    .bind(&decision.instance_id)
    .bind(decision.decided_at_us)
    .bind(column(decision.generation))
    .bind(&decision.host_id)
    .bind(decision.encode_to_vec())
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "DELETE FROM decisions WHERE instance_id = $1 AND decided_at_us NOT IN
           (SELECT decided_at_us FROM decisions WHERE instance_id = $1 ORDER BY decided_at_us DESC LIMIT $2)",
    )
    .bind(&decision.instance_id)
    .bind(KEPT)
    .execute(db)
    .await?;
    Ok(())
}

/// The decisions about an instance, newest first.
pub async fn of_instance<'a>(
    db: impl AnyExecutor<'a>,
    instance_id: &str,
) -> Result<Vec<PlacementDecision>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT snapshot FROM decisions WHERE instance_id = $1 ORDER BY decided_at_us DESC, generation DESC",
    )
    .bind(instance_id)
    .fetch_all(db)
    .await?;
    snapshots(&rows)
}
