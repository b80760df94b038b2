//! Disks that were put aside: bringing instances back with them, and removing them for good.

use super::Api;
use crate::store::{hosts, instances, quarantine};
use contracts::gateway::v1 as wire;
use contracts::host_driver::v1::{DropQuarantined, Quarantined};
use contracts::scheduler::v1::{Instance, InstancePhase, RestoreInstance};
use gateway_api::api::accept::{Accepted, Asked};
use gateway_api::domain::caller::Caller;
use gateway_api::domain::names;
use gateway_api::domain::violation::Violation;
use gateway_api::translate::status;
use kernel::{QuarantineId, Refusal};
use tonic::{Code, Status};

impl Api {
    /// An instance by id or name, or the deleted one that had the name last and whose disks are held.
    async fn instance_with_disks(&self, caller: &Caller, name: &str) -> Result<Instance, Status> {
        names::reference("instance", name).map_err(status::invalid)?;
        let reader = self.desk.store().reader();
        if let Some(found) = instances::find(reader, &caller.tenant, name).await.map_err(status::broken)? {
            return Ok(found);
        }
        let deleted = i64::from(InstancePhase::Deleted as i32);
        let id = quarantine::deleted_with_disks(reader, &caller.tenant, name, deleted).await;
        match id.map_err(status::broken)? {
            Some(id) => self.instance(caller, &id).await,
            None => Err(status::not_found("instance", "instance", name)),
        }
    }

    /// What is held of an instance: those with this id, or those that were put aside last.
    async fn disks_of(&self, found: &Instance, id: &str) -> Result<Quarantined, Status> {
        if !id.is_empty() {
            quarantine_id(id)?;
        }
        let held = quarantine::of_instance(self.desk.store().reader(), &found.tenant, &found.id).await;
        let mut held = held.map_err(status::broken)?;
        if id.is_empty() {
            let nothing = || {
                let message = format!("no disks of {} are held that could be given back", found.name);
                status::refused(
                    Code::FailedPrecondition,
                    Refusal::new("NOTHING_TO_RESTORE", message),
                    "instance",
                )
            };
            return held.pop().ok_or_else(nothing);
        }
        let wanted = held.into_iter().find(|item| item.id == id);
        wanted.ok_or_else(|| status::not_found("quarantined disks", "quarantine_id", id))
    }

    /// Takes on a request to bring an instance back.
    pub(super) async fn restore(
        &self,
        asked: &Asked,
        request: wire::RestoreInstanceRequest,
    ) -> Result<Accepted, Status> {
        let found = self.instance_with_disks(&asked.caller, &request.instance).await?;
        asked.found(&found.id, &found.name, found.revision);
        let item = self.disks_of(&found, &request.quarantine_id).await?;
        let (instance_id, tenant) = (found.id.clone(), found.tenant);
        let command = |operation_id| RestoreInstance {
            instance_id,
            operation_id,
            tenant,
            host_id: item.host_id,
            quarantine_id: item.id,
        };
        self.requests.accept(asked, &found.id, 0, command).await
    }

    /// Takes on a request to remove disks of an instance for good.
    pub(super) async fn drop_disks(
        &self,
        asked: &Asked,
        request: wire::DropInstanceDisksRequest,
    ) -> Result<Accepted, Status> {
        let found = self.instance_with_disks(&asked.caller, &request.instance).await?;
        asked.found(&found.id, &found.name, found.revision);
        quarantine_id(&request.quarantine_id)?;
        let item = self.disks_of(&found, &request.quarantine_id).await?;
        self.drop_quarantined_item(asked, &found.id, item).await
    }

    /// Takes on a request to remove what a host holds for good.
    pub(super) async fn drop_on_host(
        &self,
        asked: &Asked,
        request: wire::DropQuarantinedRequest,
    ) -> Result<Accepted, Status> {
        let host = self.host(&request.host).await?;
        asked.found(&host.id, &host.name, host.revision);
        quarantine_id(&request.quarantine_id)?;
        let reader = self.desk.store().reader();
        let item = quarantine::on_host(reader, &host.id, &request.quarantine_id).await;
        let missing = || status::not_found("quarantined disks", "quarantine_id", &request.quarantine_id);
        let item = item.map_err(status::broken)?.ok_or_else(missing)?;
        self.drop_quarantined_item(asked, &host.id, item).await
    }

    /// The order goes to the host itself; it may be away for long, and obeys when it is back.
    async fn drop_quarantined_item(
        &self,
        asked: &Asked,
        object_id: &str,
        item: Quarantined,
    ) -> Result<Accepted, Status> {
        let host = hosts::find(self.desk.store().reader(), &item.host_id).await.map_err(status::broken)?;
        let unknown = || {
            let message = "the host that holds these disks has not shown itself yet; try again";
            status::refused(Code::Unavailable, Refusal::new("HOST_UNKNOWN", message), "")
        };
        let host = host.filter(|host| !host.agent_id.is_empty()).ok_or_else(unknown)?;
        let tenant = asked.caller.tenant.clone();
        let command = |operation_id| DropQuarantined {
            agent_id: host.agent_id,
            host_id: host.id,
            tenant,
            operation_id,
            quarantine_id: item.id,
        };
        self.requests.accept(asked, object_id, 0, command).await
    }
}

fn quarantine_id(text: &str) -> Result<QuarantineId, Status> {
    let wrong =
        |error: kernel::InvalidId| status::invalid(Violation::new("quarantine_id", error.to_string()));
    text.parse().map_err(wrong)
}
