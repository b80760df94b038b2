//! Hosts as the scheduler says they are.

use super::Projection;
use crate::store::hosts;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::common::v1::OperationProgress;
use contracts::scheduler::v1::Host;
use kernel::Message;

type Open<M> = fn(M) -> (Option<Host>, Vec<OperationProgress>);

/// An event that carries a host.
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
        let (host, progress) = (self.open)(message);
        let Some(host) = host else {
            return Err(Failure::Poison(format!("{} without a host", M::NAME)));
        };
        if hosts::put(work.tx(), &host).await? {
            self.on.wake(work, &host.id);
        }
        self.on.advance(work, &progress, |_| {}).await
    }
}
