//! Doing one thing to one VM.

use super::{Case, Visitor};
use crate::adapters::Fault;
use crate::adapters::disks::Disks;
use crate::domain::plan::DISKS_IN_USE;
use crate::domain::{Action, Domain, VmSpec};
use crate::translate::incoming;

impl Visitor {
    pub(super) async fn act(&self, case: &Case<'_>, action: Action) -> Result<(), Fault> {
        let (instance, hypervisor) = (case.spec.instance, &case.backend.hypervisor);
        let disks: &dyn Disks = case.backend.disks.as_ref();
        let started = std::time::Instant::now();
        let done = match action {
            Action::FetchImage => disks.fetch(&case.spec).await,
            Action::PrepareDisks => match self.user_data(&case.spec) {
                Ok(data) => disks.prepare(&case.spec, case.intent.key.generation, data.as_deref()).await,
                Err(fault) => Err(fault),
            },
            Action::Define => hypervisor.define(&case.machine).await,
            Action::Start => hypervisor.start(instance).await,
            Action::Shutdown => hypervisor.shutdown(instance).await,
            Action::Destroy => hypervisor.destroy(instance).await,
            Action::Reboot => hypervisor.reboot(instance).await,
            Action::Reset => hypervisor.reset(instance).await,
            Action::Pause => hypervisor.pause(instance).await,
            Action::Resume => hypervisor.resume(instance).await,
            Action::Undefine => hypervisor.undefine(instance).await,
            Action::Quarantine => disks.quarantine(instance).await,
            Action::RemoveFiles => match hypervisor.observe(instance).await {
                // looked at again at the last moment: what is running may write to what is removed
                Ok(Domain::Foreign { active: true }) => Err(Fault::permanent("DISKS_IN_USE", DISKS_IN_USE)),
                Ok(_) => disks.remove(instance).await,
                Err(fault) => Err(fault),
            },
        };
        self.metrics.action(action.name(), done.is_ok(), started.elapsed());
        done
    }

    fn user_data(&self, spec: &VmSpec) -> Result<Option<Vec<u8>>, Fault> {
        let Some(data) = &spec.user_data else { return Ok(None) };
        let opened = self.sealer.open(&incoming::sealed(data));
        opened.map(Some).map_err(|e| {
            Fault::permanent("USER_DATA_UNREADABLE", format!("the user data cannot be opened: {e}"))
        })
    }
}
