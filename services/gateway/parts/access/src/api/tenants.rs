//! Tenants.

use super::Access;
use crate::domain::accounts;
use crate::store::{quotas, tenants};
use crate::translate::access::is_there;
use crate::translate::quotas as quotas_of;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::TenantState;
use contracts::gateway::v1::tenant_service_server::TenantService;
use gateway_api::api::accept::{Accepted, Asked, Entered};
use gateway_api::domain::caller::DEFAULT_TENANT;
use gateway_api::domain::page::Page;
use gateway_api::translate::status;
use kernel::{PLATFORM, Refusal};
use tonic::{Code, Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

fn refuse(code: Code, refusal: Refusal) -> Status {
    status::refused(code, refusal, "tenant")
}

impl Access {
    /// A tenant that is not deleted.
    pub(super) async fn tenant(&self, name: &str) -> Result<wire::Tenant, Status> {
        let found = tenants::get(self.desk.store().reader(), name).await.map_err(status::broken)?;
        found.filter(is_there).ok_or_else(|| status::not_found("tenant", "tenant", name))
    }

    async fn create_one(
        &self,
        asked: &Asked,
        request: wire::CreateTenantRequest,
    ) -> Result<Accepted, Status> {
        let wire::CreateTenantRequest { name, description } = request;
        accounts::tenant_name("name", &name).map_err(status::invalid)?;
        accounts::description("description", &description).map_err(status::invalid)?;
        let mut entry = match self.requests.enter(asked, &name).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let tx = entry.work.tx();
        self.desk.store().lock(tx, &format!("tenant {name}")).await.map_err(status::broken)?;
        if let Some(earlier) = tenants::get(&mut *tx, &name).await.map_err(status::broken)? {
            let text = match is_there(&earlier) {
                true => format!("there is a tenant called {name:?} already"),
                false => format!(
                    "a deleted tenant was called {name:?}, and its events still are: choose another name"
                ),
            };
            return Err(status::refused(Code::AlreadyExists, Refusal::new("TENANT_EXISTS", text), "name"));
        }
        let now_us = entry.work.now().micros();
        let tenant = wire::Tenant {
            name,
            description,
            state: TenantState::Active as i32,
            revision: 1,
            created_at_us: now_us,
            updated_at_us: now_us,
        };
        tenants::put(entry.work.tx(), &tenant).await.map_err(status::broken)?;
        let quota = self
            .new_tenants
            .and_then(|limits| quotas_of::next(&tenant.name, None, &limits, entry.work.now()));
        let name = tenant.name.clone();
        entry.work.say_for(PLATFORM, &wire::TenantCreated { tenant: Some(tenant) });
        if let Some(quota) = quota {
            quotas::put(entry.work.tx(), &quota).await.map_err(status::broken)?;
            entry.work.say_for(&name, &wire::TenantQuotaSet { quota: Some(quota) });
        }
        entry.done().await
    }

    async fn turn(&self, asked: &Asked, name: &str, state: TenantState) -> Result<Accepted, Status> {
        self.tenant(name).await?;
        let mut entry = match self.requests.enter(asked, name).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let tx = entry.work.tx();
        self.desk.store().lock(tx, &format!("tenant {name}")).await.map_err(status::broken)?;
        let found = tenants::get(&mut *tx, name).await.map_err(status::broken)?;
        let before = found.filter(is_there).ok_or_else(|| status::not_found("tenant", "tenant", name))?;
        if state == TenantState::Deleted {
            check_deletable(&before)?;
            let left = tenants::belongings(tx, name).await.map_err(status::broken)?;
            if !left.is_empty() {
                let text = format!("the tenant {name} still owns something: delete that first");
                let refusal = Refusal::new("TENANT_NOT_EMPTY", text).because(left);
                return Err(refuse(Code::FailedPrecondition, refusal));
            }
        }
        if before.state != state as i32 {
            let updated_at_us = entry.work.now().micros();
            let tenant =
                wire::Tenant { state: state as i32, revision: before.revision + 1, updated_at_us, ..before };
            tenants::put(entry.work.tx(), &tenant).await.map_err(status::broken)?;
            match state {
                TenantState::Deleted => {
                    entry.work.say_for(PLATFORM, &wire::TenantDeleted { tenant: Some(tenant) });
                }
                _ => entry.work.say_for(PLATFORM, &wire::TenantChanged { tenant: Some(tenant) }),
            }
        }
        let accepted = entry.done().await?;
        self.doorkeeper.forget();
        Ok(accepted)
    }

    async fn turned<T: prost::Message>(
        &self,
        request: &Request<T>,
        method: &'static str,
        name: &str,
        state: TenantState,
    ) -> Result<Option<wire::Tenant>, Status> {
        let asked = self.requests.asked(request, method)?;
        let accepted = self.requests.once(&asked, self.turn(&asked, name, state)).await?;
        tenants::get(self.desk.store().reader(), &accepted.object_id).await.map_err(status::broken)
    }
}

/// A tenant is disabled before it is deleted: then nothing new comes in while its belongings are counted.
fn check_deletable(tenant: &wire::Tenant) -> Result<(), Status> {
    if tenant.name == DEFAULT_TENANT {
        let text = "platform-wide callers act in the tenant \"default\" unless they name another: it stays";
        return Err(refuse(Code::FailedPrecondition, Refusal::new("TENANT_IS_DEFAULT", text)));
    }
    if tenant.state != TenantState::Disabled as i32 {
        let text = format!("the tenant {} takes changes: disable it first", tenant.name);
        return Err(refuse(Code::FailedPrecondition, Refusal::new("TENANT_NOT_DISABLED", text)));
    }
    Ok(())
}

#[tonic::async_trait]
impl TenantService for Access {
    async fn create_tenant(
        &self,
        request: Request<wire::CreateTenantRequest>,
    ) -> Answer<wire::CreateTenantResponse> {
        let asked = self.requests.asked(&request, "CreateTenant")?;
        let accepted = self.requests.once(&asked, self.create_one(&asked, request.into_inner())).await?;
        let tenant = tenants::get(self.desk.store().reader(), &accepted.object_id).await;
        Ok(Response::new(wire::CreateTenantResponse { tenant: tenant.map_err(status::broken)? }))
    }

    async fn list_tenants(
        &self,
        request: Request<wire::ListTenantsRequest>,
    ) -> Answer<wire::ListTenantsResponse> {
        let wire::ListTenantsRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token, 1).map_err(status::invalid)?;
        let rows = tenants::page(self.desk.store().reader(), &page).await.map_err(status::broken)?;
        let (tenants, next_page_token) = page.cut(rows, |row| vec![row.name.clone()]);
        Ok(Response::new(wire::ListTenantsResponse { tenants, next_page_token }))
    }

    async fn get_tenant(&self, request: Request<wire::GetTenantRequest>) -> Answer<wire::GetTenantResponse> {
        let tenant = self.tenant(&request.get_ref().tenant).await?;
        Ok(Response::new(wire::GetTenantResponse { tenant: Some(tenant) }))
    }

    async fn disable_tenant(
        &self,
        request: Request<wire::DisableTenantRequest>,
    ) -> Answer<wire::DisableTenantResponse> {
        let name = &request.get_ref().tenant;
        let tenant = self.turned(&request, "DisableTenant", name, TenantState::Disabled).await?;
        Ok(Response::new(wire::DisableTenantResponse { tenant }))
    }

    async fn enable_tenant(
        &self,
        request: Request<wire::EnableTenantRequest>,
    ) -> Answer<wire::EnableTenantResponse> {
        let name = &request.get_ref().tenant;
        let tenant = self.turned(&request, "EnableTenant", name, TenantState::Active).await?;
        Ok(Response::new(wire::EnableTenantResponse { tenant }))
    }

    async fn delete_tenant(
        &self,
        request: Request<wire::DeleteTenantRequest>,
    ) -> Answer<wire::DeleteTenantResponse> {
        let name = &request.get_ref().tenant;
        let tenant = self.turned(&request, "DeleteTenant", name, TenantState::Deleted).await?;
        Ok(Response::new(wire::DeleteTenantResponse { tenant }))
    }
}
