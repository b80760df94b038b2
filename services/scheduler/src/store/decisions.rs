//! The newest decisions of each instance.

use super::damaged;
use ::store::{StoreError, many};
use async_trait::async_trait;
use bus::{Failure, LateRows, Work};
use contracts::scheduler::v1::PlacementDecision;
use prost::Message;
use sqlx::{AnyConnection, AssertSqlSafe};

/// How many decisions of an instance are kept; the older ones are in the event stream.
pub const KEPT: i64 = 10;

/// First decisions that one unit of work made.
#[derive(Default)]
struct First(Vec<PlacementDecision>);

#[async_trait]
impl LateRows for First {
    async fn write(&mut self, tx: &mut AnyConnection) -> Result<(), StoreError> {
        insert(tx, &std::mem::take(&mut self.0)).await
    }
}

/// Keeps a decision about an instance that has no other, with those of the whole unit of work.
pub fn keep_first(work: &mut Work, decision: PlacementDecision) {
    work.late::<First>().0.push(decision);
}

async fn insert(tx: &mut AnyConnection, decisions: &[PlacementDecision]) -> Result<(), StoreError> {
    for part in many::parts(decisions) {
        let sql = format!(
            "INSERT INTO decisions (instance_id, decided_at_us, host_id, snapshot) VALUES {} \
             ON CONFLICT (instance_id, decided_at_us) DO NOTHING",
            many::places(part.len(), 4)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for decision in part {
            query = query
                .bind(&decision.instance_id)
                .bind(decision.decided_at_us)
                .bind(&decision.host_id)
                .bind(decision.encode_to_vec());
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Keeps a decision, and forgets those that are too many. The same decision again changes nothing.
pub async fn keep(tx: &mut AnyConnection, decision: &PlacementDecision) -> Result<(), Failure> {
    insert(tx, std::slice::from_ref(decision)).await?;
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
