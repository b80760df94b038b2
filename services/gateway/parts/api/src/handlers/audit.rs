//! Records of calls. Only here they become rows: what is not in the stream is in no list.

use crate::store::audit;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::AuditRecorded;

/// A call was recorded.
pub struct Recorded;

#[async_trait]
impl Handle<AuditRecorded> for Recorded {
    async fn handle(&self, work: &mut Work, event: AuditRecorded) -> Result<(), Failure> {
        match event.record {
            Some(record) => Ok(audit::put(work.tx(), &record).await?),
            None => Err(Failure::Poison("a record that says nothing".into())),
        }
    }
}
