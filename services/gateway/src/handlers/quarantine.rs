//! Disks that hosts put aside, as the hosts say.

use super::Projection;
use crate::store::quarantine;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::host_driver::v1::{QuarantineChanged, QuarantineState};

/// Disks were put aside, given back or removed for good.
pub(super) struct Changed(pub(super) Projection);

#[async_trait]
impl Handle<QuarantineChanged> for Changed {
    async fn handle(&self, work: &mut Work, event: QuarantineChanged) -> Result<(), Failure> {
        let Some(item) = event.item else {
            return Err(Failure::Poison("a change of a quarantine without what changed".into()));
        };
        // the answer to a request about disks that nobody holds changes nothing else
        if item.state() != QuarantineState::Unknown {
            quarantine::put(work.tx(), &item).await?;
        }
        self.0.advance(work, &event.operations, |_| {}).await
    }
}
