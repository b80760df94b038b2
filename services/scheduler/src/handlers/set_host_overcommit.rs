//! How far a host's resources may be promised.

use super::{Context, hosts};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::SetHostOvercommit;
use scheduler_placement::resources::Overcommit;

/// Handles `SetHostOvercommit`.
pub struct OnSetHostOvercommit(pub Context);

#[async_trait]
impl Handle<SetHostOvercommit> for OnSetHostOvercommit {
    async fn handle(&self, work: &mut Work, command: SetHostOvercommit) -> Result<(), Failure> {
        let SetHostOvercommit { host_id, operation_id, overcommit } = command;
        let asked = overcommit.unwrap_or_default();
        let asked =
            Overcommit { vcpus: asked.vcpus_percent, memory: asked.memory_percent, disk: asked.disk_percent };
        if let Err(problem) = asked.check() {
            return hosts::refuse(work, &host_id, &operation_id, "INVALID_REQUEST", problem);
        }
        // what is promised already is nobody's loss; whoever lowers the limit below it should know
        let promised = crate::store::fleet::reserved_on(work.tx(), &host_id).await?;
        let id = (host_id.as_str(), operation_id.as_str());
        hosts::request(work, &self.0, id, |host, now| {
            let news = host.set_overcommit(asked, now);
            let limit = host.limit().amounts();
            let over = promised.amounts().into_iter().zip(limit).any(|(promised, limit)| promised > limit);
            (news, if over { "over-promised" } else { "set" })
        })
        .await
    }
}
