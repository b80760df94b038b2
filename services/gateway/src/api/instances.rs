//! Instances.

use crate::api::Api;
use crate::api::listing::{self, Wish};
use crate::domain::admission::Verb;
use crate::domain::instance as rules;
use crate::domain::instance::Size;
use crate::store::{decisions, flavors, instances, quarantine};
use crate::translate::instances::{Resolved, hints, read, spec};
use crate::translate::resources;
use contracts::common::v1::Resources;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::instance_service_server::InstanceService;
use contracts::scheduler::v1 as scheduler;
use gateway_api::api::accept::{Accepted, Asked};
use gateway_api::api::caller;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::page::Page;
use gateway_api::domain::violation::Violation;
use gateway_api::translate::{redact, status};
use kernel::{InstanceId, Message};
use tonic::{Request, Response, Status, Streaming};

/// What every command about an instance says.
struct Ids {
    instance_id: String,
    operation_id: String,
    tenant: String,
}

type Answer<T> = Result<Response<T>, Status>;

impl Api {
    pub(super) async fn size(&self, size: &Size) -> Result<Resources, Status> {
        match size {
            Size::Custom(given) => Ok(resources::write(*given)),
            Size::Flavor(name) => {
                let found = flavors::get(self.desk.store().reader(), name).await.map_err(status::broken)?;
                let found = found.ok_or_else(|| status::not_found("flavor", "flavor", name))?;
                // a flavor may be older than the limits of today
                let sizes = resources::read(found.resources).map_err(|wrong| {
                    let text = format!("{name:?} is more than an instance may have: {}", wrong.message);
                    status::invalid(Violation::new("flavor", text))
                })?;
                Ok(resources::write(sizes))
            }
        }
    }

    async fn command<M: Message>(
        &self,
        asked: &Asked,
        verb: Verb,
        instance: &str,
        command: impl FnOnce(Ids) -> M + Send,
    ) -> Answer<wire::OperationResponse> {
        let take = async {
            let found = self.living_instance(&asked.caller, instance).await?;
            asked.found(&found.id, &found.name, found.revision);
            self.check_verb(verb, &found).await?;
            let (instance_id, tenant) = (found.id.clone(), found.tenant);
            let command = |operation_id| command(Ids { instance_id, operation_id, tenant });
            self.requests.accept(asked, &found.id, 0, command).await
        };
        Ok(Response::new(self.requests.once(asked, take).await?.into()))
    }

    /// How an instance waits for room, if it does. What other tenants have is for those who may see hosts.
    async fn waiting(
        &self,
        found: &scheduler::Instance,
        caller: &Caller,
    ) -> Result<Option<wire::Waiting>, Status> {
        if found.phase() != scheduler::InstancePhase::Pending || !found.host_id.is_empty() {
            return Ok(None);
        }
        let of_all_tenants = caller.sees_hosts();
        let tenant = (!of_all_tenants).then_some(found.tenant.as_str());
        let overtaken_by = instances::overtaken_by(self.desk.store().reader(), found, tenant).await;
        let overtaken_by = overtaken_by.map_err(status::broken)?;
        Ok(Some(wire::Waiting { since_us: found.created_at_us, overtaken_by, of_all_tenants }))
    }

    async fn create(
        &self,
        asked: &Asked,
        mut request: wire::CreateInstanceRequest,
    ) -> Result<Accepted, Status> {
        let keys = std::mem::take(&mut request.ssh_authorized_keys);
        request.ssh_authorized_keys = self.public_keys(&asked.caller, keys).await?;
        let (mut wish, choices) = read(request).map_err(status::invalid)?;
        let image = self.image(&asked.caller, &wish.image).await?;
        let resources = self.size(&wish.size).await?;
        let size_field = match wish.size {
            Size::Flavor(_) => "flavor",
            Size::Custom(_) => "resources.disk_bytes",
        };
        self.check_boot(&image, &wish.image, resources.disk_bytes, size_field)?;
        self.check_instance_name(&asked.caller, &wish.name).await?;
        self.access.check_quota(&asked.caller, resources).await?;
        let user_data = std::mem::take(&mut wish.user_data);
        let resolved = Resolved {
            image_id: image.id,
            image_name: image.name,
            resources,
            user_data: (!user_data.is_empty()).then(|| self.sealer.seal(&user_data)),
        };
        let instance_id = InstanceId::new().to_string();
        let (id, tenant) = (instance_id.clone(), asked.caller.tenant.clone());
        let command = |operation_id| scheduler::CreateInstance {
            instance_id: id,
            operation_id,
            tenant,
            name: wish.name.clone(),
            spec: Some(spec(wish, choices, resolved)),
        };
        self.requests.accept(asked, &instance_id, 0, command).await
    }
}

#[tonic::async_trait]
impl InstanceService for Api {
    async fn create_instance(
        &self,
        request: Request<wire::CreateInstanceRequest>,
    ) -> Answer<wire::CreateInstanceResponse> {
        let asked = self.requests.asked(&request, "CreateInstance")?;
        let hints = hints(request.get_ref());
        let accepted = self.requests.once(&asked, self.create(&asked, request.into_inner())).await?;
        let answer = wire::CreateInstanceResponse {
            instance_id: accepted.object_id,
            operation_id: accepted.operation_id,
            outcome: accepted.outcome,
            hints,
        };
        Ok(Response::new(answer))
    }

    async fn preview_instance(
        &self,
        request: Request<wire::PreviewInstanceRequest>,
    ) -> Answer<wire::PreviewInstanceResponse> {
        self.preview(request).await
    }

    async fn list_instances(
        &self,
        request: Request<wire::ListInstancesRequest>,
    ) -> Answer<wire::ListInstancesResponse> {
        let caller = caller(&request)?;
        let wire::ListInstancesRequest { page_size, page_token, include_deleted, labels, filter } =
            request.into_inner();
        let also = if include_deleted { "deleted" } else { "" }.to_owned();
        let wish = Wish { page_size, page_token, filter, labels, also };
        let (reader, tenant) = (self.desk.store().reader(), caller.tenant.as_str());
        let read = |page: Page| async move { instances::page(reader, tenant, include_deleted, &page).await };
        let (rows, next_page_token) =
            listing::page(wish, &["spec"], &caller, read, |row: &scheduler::Instance| row).await?;
        let instances = rows.into_iter().map(|row| redact::instance(row, &caller)).collect();
        Ok(Response::new(wire::ListInstancesResponse { instances, next_page_token }))
    }

    async fn get_instance(
        &self,
        request: Request<wire::GetInstanceRequest>,
    ) -> Answer<wire::GetInstanceResponse> {
        let caller = caller(&request)?;
        let found = self.instance(&caller, &request.get_ref().instance).await?;
        let held = quarantine::of_instance(self.desk.store().reader(), &found.tenant, &found.id).await;
        let held = held.map_err(status::broken)?.into_iter();
        let quarantine = held.map(|item| redact::quarantined(item, &caller)).collect();
        let instance = Some(redact::instance(found, &caller));
        Ok(Response::new(wire::GetInstanceResponse { instance, quarantine }))
    }

    async fn start_instance(
        &self,
        request: Request<wire::StartInstanceRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "StartInstance")?;
        self.command(&asked, Verb::Start, &request.get_ref().instance, |ids| scheduler::StartInstance {
            instance_id: ids.instance_id,
            operation_id: ids.operation_id,
            tenant: ids.tenant,
        })
        .await
    }

    async fn stop_instance(
        &self,
        request: Request<wire::StopInstanceRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "StopInstance")?;
        let wire::StopInstanceRequest { instance, grace_s } = request.into_inner();
        let grace_s = rules::grace(grace_s).map_err(status::invalid)?;
        self.command(&asked, Verb::Stop, &instance, move |ids| scheduler::StopInstance {
            instance_id: ids.instance_id,
            operation_id: ids.operation_id,
            tenant: ids.tenant,
            grace_s,
        })
        .await
    }

    async fn reboot_instance(
        &self,
        request: Request<wire::RebootInstanceRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "RebootInstance")?;
        self.command(&asked, Verb::Reboot, &request.get_ref().instance, |ids| scheduler::RebootInstance {
            instance_id: ids.instance_id,
            operation_id: ids.operation_id,
            tenant: ids.tenant,
        })
        .await
    }

    async fn pause_instance(
        &self,
        request: Request<wire::PauseInstanceRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "PauseInstance")?;
        self.command(&asked, Verb::Pause, &request.get_ref().instance, |ids| scheduler::PauseInstance {
            instance_id: ids.instance_id,
            operation_id: ids.operation_id,
            tenant: ids.tenant,
        })
        .await
    }

    async fn resume_instance(
        &self,
        request: Request<wire::ResumeInstanceRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "ResumeInstance")?;
        self.command(&asked, Verb::Resume, &request.get_ref().instance, |ids| scheduler::ResumeInstance {
            instance_id: ids.instance_id,
            operation_id: ids.operation_id,
            tenant: ids.tenant,
        })
        .await
    }

    async fn expect_guest_agent(
        &self,
        request: Request<wire::ExpectGuestAgentRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "ExpectGuestAgent")?;
        let wire::ExpectGuestAgentRequest { instance, expected } = request.into_inner();
        self.command(&asked, Verb::ExpectAgent, &instance, move |ids| scheduler::ExpectGuestAgent {
            instance_id: ids.instance_id,
            operation_id: ids.operation_id,
            tenant: ids.tenant,
            expected,
        })
        .await
    }

    async fn delete_instance(
        &self,
        request: Request<wire::DeleteInstanceRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "DeleteInstance")?;
        self.command(&asked, Verb::Delete, &request.get_ref().instance, |ids| scheduler::DeleteInstance {
            instance_id: ids.instance_id,
            operation_id: ids.operation_id,
            tenant: ids.tenant,
        })
        .await
    }

    async fn restore_instance(
        &self,
        request: Request<wire::RestoreInstanceRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "RestoreInstance")?;
        let take = self.restore(&asked, request.into_inner());
        Ok(Response::new(self.requests.once(&asked, take).await?.into()))
    }

    async fn drop_instance_disks(
        &self,
        request: Request<wire::DropInstanceDisksRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "DropInstanceDisks")?;
        let take = self.drop_disks(&asked, request.into_inner());
        Ok(Response::new(self.requests.once(&asked, take).await?.into()))
    }

    async fn explain_instance(
        &self,
        request: Request<wire::ExplainInstanceRequest>,
    ) -> Answer<wire::ExplainInstanceResponse> {
        let caller = caller(&request)?;
        let found = self.instance(&caller, &request.get_ref().instance).await?;
        let decisions =
            decisions::of_instance(self.desk.store().reader(), &found.id).await.map_err(status::broken)?;
        let decisions = decisions.into_iter().map(|one| redact::decision(one, &caller)).collect();
        let waiting = self.waiting(&found, &caller).await?;
        let instance = Some(redact::instance(found, &caller));
        Ok(Response::new(wire::ExplainInstanceResponse { instance, decisions, waiting }))
    }

    async fn exec_instance(
        &self,
        request: Request<wire::ExecInstanceRequest>,
    ) -> Answer<wire::OperationResponse> {
        self.exec(request).await
    }

    async fn get_exec_output(
        &self,
        request: Request<wire::GetExecOutputRequest>,
    ) -> Answer<wire::GetExecOutputResponse> {
        self.exec_output(request).await
    }

    type AttachConsoleStream = super::console::Output;

    async fn attach_console(
        &self,
        request: Request<Streaming<wire::AttachConsoleRequest>>,
    ) -> Answer<Self::AttachConsoleStream> {
        self.console(request).await
    }
}
