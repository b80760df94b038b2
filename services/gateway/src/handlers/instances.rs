//! Instances as the scheduler says they are.

use super::Projection;
use crate::store::instances;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::scheduler::v1::Instance;

/// An event that carries an instance.
pub(super) struct Project(pub(super) Projection);

#[async_trait]
impl HandleObject<Instance> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<Instance>) -> Result<(), Failure> {
        self.0.wake(work, &event.object.id);
        work.late::<instances::Rows>().note(event.object);
        self.0.advance(work, &event.operations, |_| {}).await
    }
}
