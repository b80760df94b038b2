//! Users and the roles they hold.

use super::Access;
use crate::domain::accounts;
use crate::domain::called::said_by_a_provider;
use crate::store::{oidc as tickets, users};
use crate::translate::access;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::user_service_server::UserService;
use gateway_api::api::accept::{Accepted, Asked, Entered};
use gateway_api::api::caller;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::names;
use gateway_api::domain::page::Page;
use gateway_api::domain::permissions::Role;
use gateway_api::domain::violation::Violation;
use gateway_api::translate::status;
use kernel::{PLATFORM, Refusal, Timestamp, UserId};
use tonic::{Code, Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// Most roles of one user.
const ROLES_LIMIT: usize = 64;

impl Access {
    /// A user of the tenant in which the caller acts, by name or id.
    pub(super) async fn user(&self, caller: &Caller, name: &str) -> Result<wire::User, Status> {
        names::reference("user", name).map_err(status::invalid)?;
        let found = users::find(self.desk.store().reader(), &caller.tenant, name).await;
        let user = found.map_err(status::broken)?.and_then(|record| record.user);
        user.ok_or_else(|| status::not_found("user", "user", name))
    }

    /// A user as it is now, also when it was just deleted.
    async fn user_by_id(&self, id: &str) -> Result<Option<wire::User>, Status> {
        let found = users::by_id(self.desk.store().reader(), id).await.map_err(status::broken)?;
        Ok(found.and_then(|record| record.user))
    }

    /// The sealed hash of a password; `None` of "".
    pub(super) async fn sealed_hash(
        &self,
        field: &str,
        password: &str,
    ) -> Result<Option<contracts::common::v1::Sealed>, Status> {
        if password.is_empty() {
            return Ok(None);
        }
        accounts::password(field, password).map_err(status::invalid)?;
        let hash = self.passwords.hash(password).await.map_err(status::broken)?;
        Ok(Some(self.sealer.seal(hash.as_bytes())))
    }

    async fn make_user(&self, asked: &Asked, request: wire::CreateUserRequest) -> Result<Accepted, Status> {
        let wire::CreateUserRequest { name, description, password, roles, oidc, oidc_name } = request;
        let oidc = oidc || !oidc_name.is_empty();
        let home = &asked.caller.tenant;
        names::instance("name", &name).map_err(status::invalid)?;
        accounts::description("description", &description).map_err(status::invalid)?;
        let mut given: Vec<Role> = Vec::new();
        for (index, role) in roles.iter().enumerate() {
            given.push(access::role(&format!("roles[{index}]"), role)?);
        }
        given.sort();
        given.dedup();
        if !oidc_name.is_empty() {
            said_by_a_provider(&oidc_name)
                .map_err(|why| status::invalid(Violation::new("oidc_name", why)))?;
        }
        if oidc && !password.is_empty() {
            let text = "a user who logs in through the identity provider has no password here";
            return Err(status::invalid(Violation::new("password", text)));
        }
        let password = self.sealed_hash("password", &password).await?;
        let id = UserId::new().to_string();
        let mut entry = match self.requests.enter(asked, &id).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let tx = entry.work.tx();
        self.desk.store().lock(tx, &format!("user {name} of {home}")).await.map_err(status::broken)?;
        if users::find(&mut *tx, home, &name).await.map_err(status::broken)?.is_some() {
            let refusal = Refusal::new("USER_EXISTS", format!("there is a user called {name:?} already"));
            return Err(status::refused(Code::AlreadyExists, refusal, "name"));
        }
        let waits = wire::OidcIdentity { name: oidc_name, ..wire::OidcIdentity::default() };
        if !waits.name.is_empty() {
            let tx = entry.work.tx();
            // whoever comes under the name there may be one user only
            let lock = format!("user {} of the provider of {home}", waits.name);
            self.desk.store().lock(tx, &lock).await.map_err(status::broken)?;
            let another = tickets::waiting(&mut *tx, home, &waits.name).await.map_err(status::broken)?;
            if let Some(another) = another.and_then(|record| record.user) {
                let text = format!("{} waits for {:?} already", access::called(&another), waits.name);
                return Err(status::refused(
                    Code::AlreadyExists,
                    Refusal::new("USER_EXISTS", text),
                    "oidc_name",
                ));
            }
        }
        let now_us = entry.work.now().micros();
        let user = wire::User {
            id,
            name,
            tenant: home.clone(),
            description,
            roles: given.into_iter().map(|role| access::binding(role, home)).collect(),
            has_password: password.is_some(),
            password_changed_at_us: if password.is_some() { now_us } else { 0 },
            revision: 1,
            created_at_us: now_us,
            updated_at_us: now_us,
            ..wire::User::default()
        };
        let oidc = oidc.then_some(waits);
        let record = wire::UserRecord { user: Some(user), password, oidc, ..wire::UserRecord::default() };
        users::put(entry.work.tx(), &record).await.map_err(status::broken)?;
        entry.work.say_for(home, &wire::UserCreated { record: Some(record) });
        entry.done().await
    }

    /// Changes a user and says so, unless nothing is different after `change`.
    pub(super) async fn change_user(
        &self,
        asked: &Asked,
        id: &str,
        change: impl FnOnce(&mut wire::UserRecord, &mut wire::User, Timestamp) -> Result<(), Status> + Send,
    ) -> Result<Accepted, Status> {
        let missing = || status::not_found("user", "user", id);
        let mut entry = match self.requests.enter(asked, id).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let now = entry.work.now();
        let tx = entry.work.tx();
        self.desk.store().lock(tx, &format!("user {id}")).await.map_err(status::broken)?;
        let before = users::by_id(&mut *tx, id).await.map_err(status::broken)?.ok_or_else(missing)?;
        let mut record = before.clone();
        let mut user = record.user.take().filter(|user| !user.deleted).ok_or_else(missing)?;
        change(&mut record, &mut user, now)?;
        user.has_password = record.password.is_some();
        user.has_totp = record.totp.is_some();
        let (home, deleted) = (user.tenant.clone(), user.deleted);
        record.user = Some(user);
        if record != before {
            if let Some(user) = &mut record.user {
                user.revision += 1;
                user.updated_at_us = now.micros();
            }
            users::put(entry.work.tx(), &record).await.map_err(status::broken)?;
            match deleted {
                true => entry.work.say_for(&home, &wire::UserDeleted { record: Some(record) }),
                false => entry.work.say_for(&home, &wire::UserChanged { record: Some(record) }),
            }
        }
        let accepted = entry.done().await?;
        self.doorkeeper.forget();
        Ok(accepted)
    }

    /// Takes a change of the user called `name`, once, and answers the user as it is afterwards.
    async fn changed<T: prost::Message>(
        &self,
        request: &Request<T>,
        method: &'static str,
        name: &str,
        change: impl FnOnce(&mut wire::UserRecord, &mut wire::User, &Caller, Timestamp) -> Result<(), Status>
        + Send,
    ) -> Result<Option<wire::User>, Status> {
        let asked = self.requests.asked(request, method)?;
        let take = async {
            let id = self.user(&asked.caller, name).await?.id;
            self.change_user(&asked, &id, |record, user, now| change(record, user, &asked.caller, now)).await
        };
        let accepted = self.requests.once(&asked, take).await?;
        self.user_by_id(&accepted.object_id).await
    }

    /// Where a role is given or taken: "" is where the caller acts. Users of a tenant have roles there alone.
    async fn place(&self, caller: &Caller, tenant: &str) -> Result<String, Status> {
        let place = if tenant.is_empty() { caller.tenant.as_str() } else { tenant };
        if !access::may_have_roles_in(&caller.tenant, place) {
            return Err(status::not_found("tenant", "tenant", place));
        }
        if place != PLATFORM {
            self.tenant(place).await?;
        }
        Ok(place.to_owned())
    }
}

fn not_oneself(user: &wire::User, caller: &Caller) -> Result<(), Status> {
    if user.id == caller.user_id { Err(access::not_to_oneself()) } else { Ok(()) }
}

#[tonic::async_trait]
impl UserService for Access {
    async fn create_user(
        &self,
        request: Request<wire::CreateUserRequest>,
    ) -> Answer<wire::CreateUserResponse> {
        let asked = self.requests.asked(&request, "CreateUser")?;
        let accepted = self.requests.once(&asked, self.make_user(&asked, request.into_inner())).await?;
        let user = self.user_by_id(&accepted.object_id).await?;
        Ok(Response::new(wire::CreateUserResponse { user }))
    }

    async fn list_users(&self, request: Request<wire::ListUsersRequest>) -> Answer<wire::ListUsersResponse> {
        let caller = caller(&request)?;
        let wire::ListUsersRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token, 1).map_err(status::invalid)?;
        let rows = users::page(self.desk.store().reader(), &caller.tenant, &page).await;
        let users = rows.map_err(status::broken)?.into_iter().filter_map(|record| record.user).collect();
        let (users, next_page_token) = page.cut(users, |row: &wire::User| vec![row.name.clone()]);
        Ok(Response::new(wire::ListUsersResponse { users, next_page_token }))
    }

    async fn get_user(&self, request: Request<wire::GetUserRequest>) -> Answer<wire::GetUserResponse> {
        let caller = caller(&request)?;
        let user = self.user(&caller, &request.get_ref().user).await?;
        Ok(Response::new(wire::GetUserResponse { user: Some(user) }))
    }

    async fn disable_user(
        &self,
        request: Request<wire::DisableUserRequest>,
    ) -> Answer<wire::DisableUserResponse> {
        let change = |_: &mut wire::UserRecord, user: &mut wire::User, caller: &Caller, _: Timestamp| {
            not_oneself(user, caller)?;
            user.disabled = true;
            Ok(())
        };
        let user = self.changed(&request, "DisableUser", &request.get_ref().user, change).await?;
        Ok(Response::new(wire::DisableUserResponse { user }))
    }

    async fn enable_user(
        &self,
        request: Request<wire::EnableUserRequest>,
    ) -> Answer<wire::EnableUserResponse> {
        let change = |_: &mut wire::UserRecord, user: &mut wire::User, _: &Caller, _: Timestamp| {
            user.disabled = false;
            Ok(())
        };
        let user = self.changed(&request, "EnableUser", &request.get_ref().user, change).await?;
        Ok(Response::new(wire::EnableUserResponse { user }))
    }

    async fn set_user_password(
        &self,
        request: Request<wire::SetUserPasswordRequest>,
    ) -> Answer<wire::SetUserPasswordResponse> {
        let password = self.sealed_hash("password", &request.get_ref().password).await?;
        let change = |record: &mut wire::UserRecord, user: &mut wire::User, _: &Caller, now: Timestamp| {
            record.password = password;
            user.password_changed_at_us = now.micros();
            Ok(())
        };
        let user = self.changed(&request, "SetUserPassword", &request.get_ref().user, change).await?;
        Ok(Response::new(wire::SetUserPasswordResponse { user }))
    }

    async fn reset_user_totp(
        &self,
        request: Request<wire::ResetUserTotpRequest>,
    ) -> Answer<wire::ResetUserTotpResponse> {
        let change = |record: &mut wire::UserRecord, _: &mut wire::User, _: &Caller, _: Timestamp| {
            (record.totp, record.totp_offered) = (None, None);
            Ok(())
        };
        let user = self.changed(&request, "ResetUserTotp", &request.get_ref().user, change).await?;
        Ok(Response::new(wire::ResetUserTotpResponse { user }))
    }

    async fn delete_user(
        &self,
        request: Request<wire::DeleteUserRequest>,
    ) -> Answer<wire::DeleteUserResponse> {
        let change = |record: &mut wire::UserRecord, user: &mut wire::User, caller: &Caller, _: Timestamp| {
            not_oneself(user, caller)?;
            *record = wire::UserRecord::default();
            user.deleted = true;
            user.roles.clear();
            Ok(())
        };
        let user = self.changed(&request, "DeleteUser", &request.get_ref().user, change).await?;
        Ok(Response::new(wire::DeleteUserResponse { user }))
    }

    async fn bind_role(&self, request: Request<wire::BindRoleRequest>) -> Answer<wire::BindRoleResponse> {
        let wire::BindRoleRequest { user, role, tenant } = request.get_ref();
        let place = self.place(&caller(&request)?, tenant).await?;
        let binding = access::binding(access::role("role", role)?, &place);
        let change = |_: &mut wire::UserRecord, user: &mut wire::User, _: &Caller, _: Timestamp| {
            if user.roles.contains(&binding) {
                return Ok(());
            }
            if user.roles.len() >= ROLES_LIMIT {
                let text = format!("a user has at most {ROLES_LIMIT} roles");
                let refusal = Refusal::new("TOO_MANY_ROLES", text);
                return Err(status::refused(Code::FailedPrecondition, refusal, "user"));
            }
            user.roles.push(binding);
            Ok(())
        };
        let user = self.changed(&request, "BindRole", user, change).await?;
        Ok(Response::new(wire::BindRoleResponse { user }))
    }

    async fn unbind_role(
        &self,
        request: Request<wire::UnbindRoleRequest>,
    ) -> Answer<wire::UnbindRoleResponse> {
        let wire::UnbindRoleRequest { user, role, tenant } = request.get_ref();
        let place = self.place(&caller(&request)?, tenant).await?;
        let binding = access::binding(access::role("role", role)?, &place);
        let change = |_: &mut wire::UserRecord, user: &mut wire::User, caller: &Caller, _: Timestamp| {
            not_oneself(user, caller)?;
            user.roles.retain(|held| *held != binding);
            Ok(())
        };
        let user = self.changed(&request, "UnbindRole", user, change).await?;
        Ok(Response::new(wire::UnbindRoleResponse { user }))
    }

    async fn list_roles(&self, _: Request<wire::ListRolesRequest>) -> Answer<wire::ListRolesResponse> {
        let roles = Role::ALL.into_iter().map(access::described).collect();
        Ok(Response::new(wire::ListRolesResponse { roles }))
    }
}
