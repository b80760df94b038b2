//! Hosts as the scheduler says they are.

use super::Projection;
use crate::store::hosts;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::scheduler::v1::Host;

/// An event that carries a host.
pub(super) struct Project(pub(super) Projection);

#[async_trait]
impl HandleObject<Host> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<Host>) -> Result<(), Failure> {
        let host = &event.object;
        if hosts::put(work.tx(), host).await? {
            self.0.wake(work, &host.id);
        }
        self.0.advance(work, &event.operations, |_| {}).await
    }
}
