//! A host said what it saw of an instance.

use super::{Context, advance::advance};
use crate::domain::lifecycle::Input;
use crate::store::instances;
use crate::translate::{Invalid, lifecycle as translate};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::host_driver::v1::VmObserved;
use kernel::InstanceId;

/// Handles `VmObserved`.
pub struct OnVmObserved(pub Context);

#[async_trait]
impl Handle<VmObserved> for OnVmObserved {
    async fn gather(
        &self,
        work: &mut Work,
        events: &mut (dyn Iterator<Item = VmObserved> + Send),
    ) -> Result<(), Failure> {
        let ids: Vec<InstanceId> =
            events.filter_map(|event| event.observation?.instance_id.parse().ok()).collect();
        instances::read_ahead(work, &ids).await
    }

    async fn handle(&self, work: &mut Work, event: VmObserved) -> Result<(), Failure> {
        let observation = translate::observed(event)?;
        let id = observation.instance_id.parse().map_err(Invalid::id("observation.instance_id"))?;
        let Some(instance) = instances::find(work, id).await? else {
            // a VM from before this platform's tables; the host says so too, as a drift
            tracing::warn!(instance = %id, host = observation.host_id, "observation of an unknown instance");
            return Ok(());
        };
        let observation = translate::observation(observation)?;
        advance(work, &self.0, instance, Input::Observed(observation)).await?;
        Ok(())
    }
}
