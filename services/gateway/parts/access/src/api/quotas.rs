//! What tenants may have.

use super::Access;
use crate::store::{quotas, tenants};
use crate::translate::access::is_there;
use crate::translate::quotas as translate;
use contracts::common::v1::Resources;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::quota_service_server::QuotaService;
use gateway_api::api::accept::{Accepted, Asked, Entered};
use gateway_api::api::caller;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::page::Page;
use gateway_api::translate::status;
use kernel::Refusal;
use kernel::quota::{Amounts, Quota, judge};
use tonic::{Code, Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// Quotas that a new instance takes of.
const OF_INSTANCES: [Quota; 4] = [Quota::Instances, Quota::Vcpus, Quota::Memory, Quota::Disk];

impl Access {
    /// Quota and use of a tenant that is there.
    async fn standing(&self, tenant: &str) -> Result<(wire::Quota, Vec<wire::QuotaUse>), Status> {
        let reader = self.desk.store().reader();
        let quota = quotas::get(reader, tenant).await.map_err(status::broken)?;
        let used = quotas::used_between(reader, tenant, tenant).await.map_err(status::broken)?;
        let used = used.get(tenant).copied().unwrap_or_default();
        let uses = translate::uses(&translate::limits(quota.as_ref()), &used);
        Ok((quota.unwrap_or_else(|| translate::unlimited(tenant)), uses))
    }

    /// Whether a new instance fits into the quota of its tenant, as far as that is certain: the scheduler counts again.
    pub async fn check_quota(&self, caller: &Caller, resources: Resources) -> Result<(), Status> {
        let reader = self.desk.store().reader();
        let quota = quotas::get(reader, &caller.tenant).await.map_err(status::broken)?;
        let limits = translate::limits(quota.as_ref());
        if !limits.limit_any(&OF_INSTANCES) {
            return Ok(());
        }
        let used = quotas::certainly_used(reader, &caller.tenant).await.map_err(status::broken)?;
        let asked = Amounts::default()
            .with(Quota::Instances, 1)
            .with(Quota::Vcpus, resources.vcpus_milli)
            .with(Quota::Memory, resources.memory_bytes)
            .with(Quota::Disk, resources.disk_bytes);
        judge(&limits, &used, &asked).map_err(|excess| {
            self.doorkeeper.over_quota(&excess.quotas);
            status::refused(Code::FailedPrecondition, excess.refusal, "")
        })
    }

    async fn set_one(&self, asked: &Asked, request: wire::SetQuotaRequest) -> Result<Accepted, Status> {
        let wire::SetQuotaRequest { tenant, limits, if_revision } = request;
        self.tenant(&tenant).await?;
        let limits = translate::read("limits", limits.as_ref()).map_err(status::invalid)?;
        let mut entry = match self.requests.enter(asked, &tenant).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let now = entry.work.now();
        let tx = entry.work.tx();
        // the lock of everything about the tenant: it may just be deleted
        self.desk.store().lock(tx, &format!("tenant {tenant}")).await.map_err(status::broken)?;
        let there = tenants::get(&mut *tx, &tenant).await.map_err(status::broken)?;
        if !there.as_ref().is_some_and(is_there) {
            return Err(status::not_found("tenant", "tenant", &tenant));
        }
        let before = quotas::get(&mut *tx, &tenant).await.map_err(status::broken)?;
        let revision = before.as_ref().map_or(0, |quota| quota.revision);
        asked.found(&tenant, &tenant, revision);
        if if_revision.is_some_and(|expected| expected != revision) {
            let text = format!(
                "the quota of {tenant} was set by somebody else meanwhile: its revision is {revision}"
            );
            let refusal = Refusal::new("QUOTA_CHANGED", text);
            return Err(status::refused(Code::Aborted, refusal, "if_revision"));
        }
        let next = translate::next(&tenant, before.as_ref(), &limits, now);
        asked.changed(next.as_ref().map_or(revision, |quota| quota.revision));
        if let Some(quota) = next {
            quotas::put(entry.work.tx(), &quota).await.map_err(status::broken)?;
            entry.work.say_for(&tenant, &wire::TenantQuotaSet { quota: Some(quota) });
        }
        let accepted = entry.done().await?;
        // the pace of the tenant is remembered with its callers
        self.doorkeeper.forget();
        Ok(accepted)
    }
}

#[tonic::async_trait]
impl QuotaService for Access {
    async fn get_quota(&self, request: Request<wire::GetQuotaRequest>) -> Answer<wire::GetQuotaResponse> {
        let caller = caller(&request)?;
        let asked = &request.get_ref().tenant;
        let name = if asked.is_empty() { &caller.tenant } else { asked };
        if *name != caller.tenant && !caller.may("tenant.read") {
            return Err(status::not_found("tenant", "tenant", name));
        }
        let tenant = self.tenant(name).await?;
        let (quota, uses) = self.standing(&tenant.name).await?;
        Ok(Response::new(wire::GetQuotaResponse { quota: Some(quota), uses }))
    }

    async fn list_quotas(
        &self,
        request: Request<wire::ListQuotasRequest>,
    ) -> Answer<wire::ListQuotasResponse> {
        let wire::ListQuotasRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token, 1).map_err(status::invalid)?;
        let reader = self.desk.store().reader();
        let rows = tenants::page(reader, &page).await.map_err(status::broken)?;
        let (tenants, next_page_token) = page.cut(rows, |row| vec![row.name.clone()]);
        let (Some(first), Some(last)) = (tenants.first(), tenants.last()) else {
            return Ok(Response::new(wire::ListQuotasResponse::default()));
        };
        let mut found = quotas::between(reader, &first.name, &last.name).await.map_err(status::broken)?;
        let used = quotas::used_between(reader, &first.name, &last.name).await.map_err(status::broken)?;
        let quotas = tenants.iter().filter(|tenant| is_there(tenant)).map(|tenant| {
            let quota = found.remove(&tenant.name).unwrap_or_else(|| translate::unlimited(&tenant.name));
            let used = used.get(&tenant.name).copied().unwrap_or_default();
            let uses = translate::uses(&translate::limits(Some(&quota)), &used);
            wire::GetQuotaResponse { quota: Some(quota), uses }
        });
        Ok(Response::new(wire::ListQuotasResponse { quotas: quotas.collect(), next_page_token }))
    }

    async fn set_quota(&self, request: Request<wire::SetQuotaRequest>) -> Answer<wire::SetQuotaResponse> {
        let asked = self.requests.asked(&request, "SetQuota")?;
        let accepted = self.requests.once(&asked, self.set_one(&asked, request.into_inner())).await?;
        let (quota, uses) = self.standing(&accepted.object_id).await?;
        Ok(Response::new(wire::SetQuotaResponse { quota: Some(quota), uses }))
    }
}
