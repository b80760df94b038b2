//! Disks that hosts put aside, as the hosts say.

use super::Projection;
use crate::store::quarantine;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::host_driver::v1::{QuarantineState, Quarantined};

/// Disks were put aside, given back or removed for good.
pub(super) struct Project(pub(super) Projection);

#[async_trait]
impl HandleObject<Quarantined> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<Quarantined>) -> Result<(), Failure> {
        // the answer to a request about disks that nobody holds changes nothing else
        if event.object.state() != QuarantineState::Unknown {
            quarantine::put(work.tx(), &event.object).await?;
        }
        self.0.advance(work, &event.operations, |_| {}).await
    }
}
