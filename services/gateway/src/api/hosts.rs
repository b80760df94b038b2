//! Hosts.

use super::Api;
use super::listing::{self, Wish};
use crate::domain::overcommit;
use crate::store::instances::Promised;
use crate::store::{hosts, instances, quarantine};
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::host_service_server::HostService;
use contracts::scheduler::v1 as scheduler;
use gateway_api::api::accept::Asked;
use gateway_api::api::caller;
use gateway_api::domain::page::Page;
use gateway_api::domain::violation::Violation;
use gateway_api::translate::status;
use tonic::{Request, Response, Status};

/// Longest reason of a cordon, in bytes.
const REASON_LIMIT: usize = 1024;

type Answer<T> = Result<Response<T>, Status>;

fn with_use(host: scheduler::Host, promised: Promised) -> wire::HostWithUse {
    let (reserved, instances) = promised;
    wire::HostWithUse { host: Some(host), reserved: Some(reserved), instances }
}

impl Api {
    async fn host_to_change(&self, asked: &Asked, name: &str) -> Result<String, Status> {
        let found = self.host(name).await?;
        asked.found(&found.id, &found.name, found.revision);
        Ok(found.id)
    }
}

#[tonic::async_trait]
impl HostService for Api {
    async fn list_hosts(&self, request: Request<wire::ListHostsRequest>) -> Answer<wire::ListHostsResponse> {
        let caller = caller(&request)?;
        let wire::ListHostsRequest { page_size, page_token, labels, filter } = request.into_inner();
        let wish = Wish { page_size, page_token, filter, labels, also: String::new() };
        let reader = self.desk.store().reader();
        let read = |page: Page| async move {
            let rows = hosts::page(reader, &page).await?;
            let mut promised = instances::promised(reader, &page).await?;
            let with = |row: scheduler::Host| {
                let on = promised.remove(&row.id).unwrap_or_default();
                (row, on)
            };
            Ok(rows.into_iter().map(with).collect::<Vec<_>>())
        };
        let (rows, next_page_token) = listing::page(wish, &[], &caller, read, |(host, _)| host).await?;
        let hosts = rows.into_iter().map(|(host, promised)| with_use(host, promised)).collect();
        Ok(Response::new(wire::ListHostsResponse { hosts, next_page_token }))
    }

    async fn get_host(&self, request: Request<wire::GetHostRequest>) -> Answer<wire::GetHostResponse> {
        let found = self.host(&request.get_ref().host).await?;
        let promised = instances::promised_on(self.desk.store().reader(), &found.id).await;
        let held =
            quarantine::of_host(self.desk.store().reader(), &found.id).await.map_err(status::broken)?;
        let host = with_use(found, promised.map_err(status::broken)?);
        Ok(Response::new(wire::GetHostResponse { host: Some(host), quarantine: held }))
    }

    async fn cordon_host(
        &self,
        request: Request<wire::CordonHostRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "CordonHost")?;
        let wire::CordonHostRequest { host, reason } = request.into_inner();
        let take = async {
            if reason.len() > REASON_LIMIT || reason.chars().any(char::is_control) {
                let text = format!("a reason is one line of at most {REASON_LIMIT} bytes");
                return Err(status::invalid(Violation::new("reason", text)));
            }
            let host_id = self.host_to_change(&asked, &host).await?;
            let id = host_id.clone();
            let command = |operation_id| scheduler::CordonHost { host_id: id, operation_id, reason };
            self.requests.accept(&asked, &host_id, 0, command).await
        };
        Ok(Response::new(self.requests.once(&asked, take).await?.into()))
    }

    async fn uncordon_host(
        &self,
        request: Request<wire::UncordonHostRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "UncordonHost")?;
        let take = async {
            let host_id = self.host_to_change(&asked, &request.get_ref().host).await?;
            let id = host_id.clone();
            let command = |operation_id| scheduler::UncordonHost { host_id: id, operation_id };
            self.requests.accept(&asked, &host_id, 0, command).await
        };
        Ok(Response::new(self.requests.once(&asked, take).await?.into()))
    }

    async fn drop_quarantined(
        &self,
        request: Request<wire::DropQuarantinedRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "DropQuarantined")?;
        let take = self.drop_on_host(&asked, request.into_inner());
        Ok(Response::new(self.requests.once(&asked, take).await?.into()))
    }

    async fn set_host_overcommit(
        &self,
        request: Request<wire::SetHostOvercommitRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "SetHostOvercommit")?;
        let wire::SetHostOvercommitRequest { host, vcpus_percent, memory_percent, disk_percent } =
            request.into_inner();
        let take = async {
            overcommit::check([
                ("vcpus_percent", vcpus_percent),
                ("memory_percent", memory_percent),
                ("disk_percent", disk_percent),
            ])
            .map_err(status::invalid)?;
            let host_id = self.host_to_change(&asked, &host).await?;
            let overcommit = Some(scheduler::Overcommit { vcpus_percent, memory_percent, disk_percent });
            let id = host_id.clone();
            let command =
                |operation_id| scheduler::SetHostOvercommit { host_id: id, operation_id, overcommit };
            self.requests.accept(&asked, &host_id, 0, command).await
        };
        Ok(Response::new(self.requests.once(&asked, take).await?.into()))
    }
}
