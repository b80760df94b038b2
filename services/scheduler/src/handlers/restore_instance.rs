//! A request about an instance: bring it back with disks that its host had put aside.

use super::{Context, advance};
use crate::domain::lifecycle::Input;
use crate::quota;
use crate::store::{hosts, instances};
use crate::translate::lifecycle as translate;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::{RequestRefused, RestoreInstance};
use kernel::{HostId, InvalidId, OperationId, QuarantineId, Refusal};
use scheduler_placement::instance::{Instance, Phase, Placement};
use scheduler_placement::solver::{self, Request};

/// Handles `RestoreInstance`.
pub struct OnRestoreInstance(pub Context);

#[async_trait]
impl Handle<RestoreInstance> for OnRestoreInstance {
    async fn handle(&self, work: &mut Work, command: RestoreInstance) -> Result<(), Failure> {
        let invalid = |error: InvalidId| Failure::Poison(error.to_string());
        let operation: OperationId = command.operation_id.parse().map_err(invalid)?;
        let quarantine: QuarantineId = command.quarantine_id.parse().map_err(invalid)?;
        let host: HostId = command.host_id.parse().map_err(invalid)?;
        let found = instances::find_of(work, &command.tenant, &command.instance_id).await?;
        let Some(instance) = found else {
            let message = format!("there is no instance {}", command.instance_id);
            refuse(work, &command, &Refusal::new("NOT_FOUND", message));
            return Ok(());
        };
        let again = instance.operation.is_some_and(|current| current.id == operation);
        if again {
            return Ok(());
        }
        // before anything is written: who waits for this lock must hold nothing others need
        self.0.fleet.hold(work, &self.0.metrics).await?;
        match self.place(work, &instance, host).await? {
            Err(refusal) => refuse(work, &command, &refusal),
            Ok(placement) => {
                let input = Input::Restore { operation, placement, quarantine };
                advance::advance(work, &self.0, instance, input).await?;
            }
        }
        Ok(())
    }
}

impl OnRestoreInstance {
    /// Where the instance is then; or why it cannot be there.
    async fn place(
        &self,
        work: &mut Work,
        instance: &Instance,
        host: HostId,
    ) -> Result<Result<Placement, Refusal>, Failure> {
        let Some(there) = hosts::find(work.tx(), &host.to_string()).await? else {
            let message = "the host that holds its disks is not of this platform";
            return Ok(Err(Refusal::new("HOST_UNKNOWN", message)));
        };
        if instance.phase == Phase::Deleted
            && let Err(refusal) = self.admit(work, instance).await?
        {
            return Ok(Err(refusal));
        }
        let before = instance.placement.clone().filter(|placement| placement.host == host);
        let driver = before.as_ref().map(|placement| placement.driver).or(instance.spec.driver);
        let Some(driver) = driver.or_else(|| there.drivers.first().map(|caps| caps.driver)) else {
            return Ok(Err(Refusal::new("HOST_UNKNOWN", "the host that holds its disks runs no driver")));
        };
        let held = before.filter(|_| instance.reservation().is_some());
        let gpu_indexes = match held {
            // what it holds there is enough
            Some(placement) => placement.gpu_indexes,
            None => {
                let request = Request { driver: Some(driver), ..Request::from(instance) };
                match self.0.fleet.read(|fleet| solver::fits(fleet, &request, host)) {
                    Ok(gpus) => gpus,
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
        };
        Ok(Ok(Placement { host, host_name: there.name, driver, gpu_indexes }))
    }

    /// One that was deleted counts again, and needs its name.
    async fn admit(&self, work: &mut Work, instance: &Instance) -> Result<Result<(), Refusal>, Failure> {
        let (tenant, name) = (instance.tenant.as_str(), instance.name.as_str());
        let in_the_way = instances::in_the_way(work, instance.id, tenant, name).await?;
        if let Some(holder) = in_the_way.iter().find(|holder| **holder != instance.id) {
            let message = format!("there is another instance {name:?} now: {holder}");
            return Ok(Err(Refusal::new("NAME_TAKEN", message)));
        }
        let tools = (self.0.dialect, &self.0.metrics);
        quota::admit(work, tools, tenant, quota::taken_by(&instance.spec)).await
    }
}

fn refuse(work: &mut Work, command: &RestoreInstance, refusal: &Refusal) {
    let operations = vec![translate::failed(&command.operation_id, refusal)];
    let event = RequestRefused { object_id: command.instance_id.clone(), operations };
    work.say_for(&command.tenant, &event);
}
