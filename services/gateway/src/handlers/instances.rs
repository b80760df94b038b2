//! Instances as the scheduler says they are.

use super::Projection;
use crate::store::instances;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::common::v1::OperationProgress;
use contracts::scheduler::v1::Instance;
use kernel::Message;

type Open<M> = fn(M) -> (Option<Instance>, Vec<OperationProgress>);

/// An event that carries an instance.
pub(super) struct Project<M> {
    on: Projection,
    open: Open<M>,
}

pub(super) fn project<M: Message>(on: &Projection, open: Open<M>) -> Project<M> {
    Project { on: on.clone(), open }
}

#[async_trait]
impl<M: Message> Handle<M> for Project<M> {
    async fn handle(&self, work: &mut Work, message: M) -> Result<(), Failure> {
        let (instance, progress) = (self.open)(message);
        let Some(instance) = instance else {
            return Err(Failure::Poison(format!("{} without an instance", M::NAME)));
        };
        self.on.wake(work, &instance.id);
        work.late::<instances::Rows>().note(instance);
        self.on.advance(work, &progress, |_| {}).await
    }
}
