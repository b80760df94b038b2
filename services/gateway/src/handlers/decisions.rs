//! Why an instance was placed there, or nowhere.

use crate::store::decisions;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::PlacementDecided;

/// The solver decided.
pub(super) struct Decided;

#[async_trait]
impl Handle<PlacementDecided> for Decided {
    async fn handle(&self, work: &mut Work, event: PlacementDecided) -> Result<(), Failure> {
        match event.decision {
            Some(decision) => Ok(decisions::put(work.tx(), &decision).await?),
            None => Err(Failure::Poison("a decision that says nothing".into())),
        }
    }
}
