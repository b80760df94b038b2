//! The newest decisions of each instance.

use super::damaged;
use bus::Failure;
use contracts::scheduler::v1::PlacementDecision;
use prost::Message;
use sqlx::AnyConnection;

/// How many decisions of an instance are kept; the older ones are in the event stream.
pub const KEPT: i64 = 10;

/// Keeps a decision, and forgets those that are too many. The same decision again changes nothing. `first`: the
/// instance has no other, so that none can be too many.
pub async fn keep(tx: &mut AnyConnection, decision: &PlacementDecision, first: bool) -> Result<(), Failure> {
    let sql = "INSERT INTO decisions (instance_id, decided_at_us, host_id, snapshot) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (instance_id, decided_at_us) DO NOTHING";
    sqlx::query(sql)
        .bind(decision.instance_id.clone())
        .bind(decision.decided_at_us)
        .bind(decision.host_id.clone())
        .bind(decision.encode_to_vec())
        .execute(&mut *tx)
        .await?;
    if first {
        return Ok(());
    }
    let sql = "DELETE FROM decisions WHERE instance_id = $1 AND decided_at_us NOT IN (SELECT decided_at_us \
         FROM decisions WHERE instance_id = $1 ORDER BY decided_at_us DESC LIMIT $2)";
    sqlx::query(sql).bind(decision.instance_id.clone()).bind(KEPT).execute(tx).await?;
    Ok(())
}

/// The decisions of an instance, newest first.
pub async fn of(tx: &mut AnyConnection, instance_id: &str) -> Result<Vec<PlacementDecision>, Failure> {
    let sql = "SELECT snapshot FROM decisions WHERE instance_id = $1 ORDER BY decided_at_us DESC";
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(sql).bind(instance_id).fetch_all(tx).await?;
    rows.iter()
        .map(|bytes| PlacementDecision::decode(bytes.as_slice()).map_err(|error| damaged("decisions", error)))
        .collect()
}
