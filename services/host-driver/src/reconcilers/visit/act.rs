//! Doing one thing to one VM.

use super::{Case, Visitor};
use crate::translate::incoming;
use host_driver_adapters::{Disks, Fault, PutAside};
use host_driver_domain::plan::DISKS_IN_USE;
use host_driver_domain::{
    Action, Disposal, Domain, Files, Held, HostCause, Observed, Power, QuarantineReason, Quarantined, VmSpec,
};

impl Visitor {
    /// Does it. Answers the files that were put aside by it.
    pub(super) async fn act(
        &self,
        case: &Case<'_>,
        observed: &Observed,
        action: Action,
    ) -> Result<Option<Quarantined>, Fault> {
        let (instance, hypervisor) = (case.spec.instance, &case.backend.hypervisor);
        let (disks, generation) = (case.backend.disks.as_ref(), case.intent.key.generation);
        let started = std::time::Instant::now();
        let mut put_aside = None;
        let done = match action {
            Action::FetchImage => disks.fetch(&case.spec).await,
            Action::PrepareDisks => match self.user_data(&case.spec) {
                Ok(data) => disks.prepare(&case.spec, generation, data.as_deref()).await,
                Err(fault) => Err(fault),
            },
            Action::Define => hypervisor.define(&case.machine).await,
            Action::Start => start(case).await,
            Action::Shutdown => hypervisor.shutdown(instance).await,
            Action::Destroy => hypervisor.destroy(instance).await,
            Action::Reboot => hypervisor.reboot(instance).await,
            Action::Reset => hypervisor.reset(instance).await,
            Action::Pause => hypervisor.pause(instance).await,
            Action::Resume => resume(case, observed).await,
            Action::Undefine => hypervisor.undefine(instance).await,
            Action::TakeBack => match case.intent.take_back {
                Some(id) => disks.take_back(id, instance, generation).await,
                None => Ok(()),
            },
            Action::Quarantine | Action::RemoveFiles => match self.put_away(case).await {
                Ok(item) => {
                    put_aside = item;
                    Ok(())
                }
                Err(fault) => Err(fault),
            },
        };
        self.metrics.action(action.name(), done.is_ok(), started.elapsed());
        done.map(|()| put_aside)
    }

    /// Takes a VM's files out of the way. Files that a VM may have run on go for good by one thing alone: an order to
    /// delete the instance, on a host that keeps nothing of what is deleted. All others lie in quarantine.
    async fn put_away(&self, case: &Case<'_>) -> Result<Option<Quarantined>, Fault> {
        let (disks, spec) = (case.backend.disks.as_ref(), &case.spec);
        // looked at again at the last moment: what is running may write to what is put away
        match case.backend.hypervisor.observe(spec.instance).await? {
            Domain::Foreign { active: true } => {
                return Err(Fault::permanent("DISKS_IN_USE", DISKS_IN_USE));
            }
            Domain::Ours(ours) if ours.power.is_active() => {
                return Err(Fault::Failed("the VM runs again: its files are left where they are".into()));
            }
            _ => {}
        }
        let deleted = case.intent.disposal == Disposal::Delete;
        let keeps = !deleted || !self.policy.keep.deleted.is_zero();
        if !keeps || !disks.has_run(spec.instance).await? {
            disks.remove(spec.instance).await?;
            return Ok(None);
        }
        let stale = match disks.observe(spec).await? {
            Files::Ready { generation } | Files::Lost { generation } => {
                generation < case.intent.key.generation
            }
            Files::Missing | Files::Partial => false,
        };
        let put = PutAside {
            instance: spec.instance,
            tenant: spec.tenant.clone(),
            name: spec.name.clone(),
            generation: case.intent.key.generation,
            images: spec.artifacts.iter().map(|artifact| artifact.sha256.clone()).collect(),
            reason: match (deleted, stale) {
                (true, _) => QuarantineReason::Deleted,
                (false, true) => QuarantineReason::OlderOwnership,
                (false, false) => QuarantineReason::LeftHost,
            },
            at: self.desk.clock().now(),
        };
        let item = disks.quarantine(&put).await?;
        if let Some(item) = &item {
            let reason = item.reason.name();
            tracing::info!(instance = %item.instance, id = %item.id, reason, size = %item.size, "files put aside");
        }
        Ok(item)
    }

    fn user_data(&self, spec: &VmSpec) -> Result<Option<Vec<u8>>, Fault> {
        let Some(data) = &spec.user_data else { return Ok(None) };
        let opened = self.sealer.open(&incoming::sealed(data));
        opened.map(Some).map_err(|e| {
            Fault::permanent("USER_DATA_UNREADABLE", format!("the user data cannot be opened: {e}"))
        })
    }
}

/// A guest that is held for want of room is let go on when there is some: without it, it would be held again by its next
/// write.
async fn resume(case: &Case<'_>, observed: &Observed) -> Result<(), Fault> {
    if observed.power() == Some(Power::Paused(Held::IoError)) {
        let conditions = case.backend.disks.conditions().await;
        if let Some(full) = conditions.into_iter().find(|found| found.cause == HostCause::Storage) {
            return Err(Fault::host(full.cause, full.message));
        }
    }
    case.backend.hypervisor.resume(case.spec.instance).await
}

/// That a VM is about to run is noted before: a reply that is lost must not leave its disk looking unused.
async fn start(case: &Case<'_>) -> Result<(), Fault> {
    let (disks, instance): (&dyn Disks, _) = (case.backend.disks.as_ref(), case.spec.instance);
    let first = disks.note_run(instance).await?;
    let started = case.backend.hypervisor.start(instance).await;
    let refused = match &started {
        Ok(()) | Err(Fault::Unavailable(_) | Fault::Busy(_)) => false,
        Err(Fault::Host { .. } | Fault::NotFound | Fault::Failed(_) | Fault::Permanent(_)) => first,
    };
    if refused {
        let seen = case.backend.hypervisor.observe(instance).await;
        match seen {
            Ok(Domain::Missing) => disks.forget_run(instance).await?,
            Ok(Domain::Ours(ours)) if !ours.power.is_active() => disks.forget_run(instance).await?,
            // who knows
            _ => {}
        }
    }
    started
}
