//! Coming in, and what callers do for themselves.

use super::Access;
use super::tokens::fresh_secret;
use crate::adapters::codes::Device;
use crate::domain::accounts;
use crate::store::{tokens, users};
use crate::translate::access;
use bus::{Cause, Work};
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::TokenKind;
use contracts::gateway::v1::session_service_server::SessionService;
use gateway_api::api::accept::Asked;
use gateway_api::api::caller;
use gateway_api::domain::caller::Caller;
use gateway_api::translate::status;
use kernel::{OperationId, Refusal, TokenId};
use std::time::Duration;
use tonic::{Code, Request, Response, Status};

/// How long a session lasts.
const SESSION: Duration = Duration::from_secs(12 * 3600);

type Answer<T> = Result<Response<T>, Status>;

impl Access {
    /// The caller's own record.
    async fn own(&self, caller: &Caller) -> Result<wire::UserRecord, Status> {
        let found =
            users::by_id(self.desk.store().reader(), &caller.user_id).await.map_err(status::broken)?;
        found.ok_or_else(|| status::not_found("user", "user", &caller.actor))
    }

    /// The secret of the user's device, when logins need one-time codes; `offered`: the one that is not confirmed yet.
    fn device(&self, record: &wire::UserRecord, offered: bool) -> Result<Option<Device>, Status> {
        let sealed = if offered { &record.totp_offered } else { &record.totp };
        let secret = sealed.as_ref().map(|sealed| self.sealer.open(sealed)).transpose();
        Ok(secret.map_err(status::broken)?.map(Device::of))
    }

    /// Refuses unless this is the caller's password.
    async fn prove_own(
        &self,
        caller: &Caller,
        record: &wire::UserRecord,
        password: &str,
    ) -> Result<(), Status> {
        self.prove(&caller.actor, Some(record), password, &caller.address, |_| true).await
    }

    async fn open_session(
        &self,
        asked: &Asked,
        request: wire::LoginRequest,
    ) -> Result<wire::LoginResponse, Status> {
        let wire::LoginRequest { user: given, password, totp } = request;
        let (name, tenant) = accounts::split(&given);
        let found = users::find(self.desk.store().reader(), tenant, name).await.map_err(status::broken)?;
        // ids name users too, but nobody logs in with one
        let record = found.filter(|record| record.user.as_ref().is_some_and(|user| user.name == name));
        let device = record.as_ref().map(|record| self.device(record, false)).transpose()?.flatten();
        let now = self.desk.clock().now();
        let step = device.as_ref().map(|device| device.step_of(&totp, now));
        let fits = |record: &wire::UserRecord| {
            record.user.as_ref().is_some_and(|user| !user.disabled) && step != Some(None)
        };
        self.prove(&given, record.as_ref(), &password, &asked.caller.address, fits).await?;
        let user =
            record.and_then(|record| record.user).ok_or_else(|| status::broken("a user without a row"))?;

        let cause = Cause {
            actor: access::called(&user),
            tenant: user.tenant.clone(),
            ..asked.cause(OperationId::new())
        };
        let mut work = self.desk.begin(cause).await.map_err(status::broken)?;
        if let Some(Some(step)) = step
            && !users::use_code(work.tx(), &user.id, step).await.map_err(status::broken)?
        {
            // as wrong as any other wrong code (RFC 6238, section 5.2: none is taken twice)
            drop(work);
            let denied = self.deny(&given, &asked.caller.address).await;
            return Err(denied.err().unwrap_or_else(|| Status::unauthenticated("a code is taken once")));
        }
        let opened = self.new_session(&mut work, user).await?;
        work.commit().await.map_err(status::broken)?;
        Ok(opened)
    }

    /// A session of somebody who has shown who they are.
    pub(super) async fn new_session(
        &self,
        work: &mut Work,
        user: wire::User,
    ) -> Result<wire::LoginResponse, Status> {
        let (id, secret) = (TokenId::new().to_string(), fresh_secret());
        let token = wire::Token {
            name: format!("session-{id}"),
            id,
            kind: TokenKind::Session as i32,
            user: access::called(&user),
            tenant: user.tenant.clone(),
            created_at_us: work.now().micros(),
            expires_at_us: work.now().after(SESSION).micros(),
            revision: 1,
            user_id: user.id,
            ..wire::Token::default()
        };
        let hash = Some(wire::KeyedHash { hex: self.key.hash(&secret) });
        let record = wire::TokenRecord { token: Some(token.clone()), hash };
        tokens::put(work.tx(), &record).await.map_err(status::broken)?;
        work.say_for(&user.tenant, &wire::TokenCreated { record: Some(record) });
        Ok(wire::LoginResponse { token: Some(token), secret })
    }

    /// The user as it is after a change of its own.
    async fn own_after(&self, user_id: &str) -> Result<Option<wire::User>, Status> {
        let found = users::by_id(self.desk.store().reader(), user_id).await.map_err(status::broken)?;
        Ok(found.and_then(|record| record.user))
    }
}

#[tonic::async_trait]
impl SessionService for Access {
    async fn login(&self, request: Request<wire::LoginRequest>) -> Answer<wire::LoginResponse> {
        let asked = self.requests.asked(&request, "Login")?;
        Ok(Response::new(self.open_session(&asked, request.into_inner()).await?))
    }

    async fn begin_oidc_login(
        &self,
        request: Request<wire::BeginOidcLoginRequest>,
    ) -> Answer<wire::BeginOidcLoginResponse> {
        Ok(Response::new(self.begin_oidc(request).await?))
    }

    async fn login_with_oidc(
        &self,
        request: Request<wire::LoginWithOidcRequest>,
    ) -> Answer<wire::LoginWithOidcResponse> {
        let asked = self.requests.asked(&request, "LoginWithOidc")?;
        Ok(Response::new(self.finish_oidc(&asked, request.into_inner()).await?))
    }

    async fn logout(&self, request: Request<wire::LogoutRequest>) -> Answer<wire::LogoutResponse> {
        let asked = self.requests.asked(&request, "Logout")?;
        let take = async {
            let user = self.own(&asked.caller).await?.user.unwrap_or_default();
            self.revoke(&asked, &user, &asked.caller.token_id).await
        };
        self.requests.once(&asked, take).await?;
        Ok(Response::new(wire::LogoutResponse {}))
    }

    async fn who_am_i(&self, request: Request<wire::WhoAmIRequest>) -> Answer<wire::WhoAmIResponse> {
        let caller = caller(&request)?;
        let user = self.own(&caller).await?.user;
        let now_us = self.desk.clock().now().micros();
        let token = tokens::find(self.desk.store().reader(), &caller.user_id, &caller.token_id, now_us).await;
        let token = token.map_err(status::broken)?.and_then(|record| record.token).unwrap_or_default();
        Ok(Response::new(wire::WhoAmIResponse {
            user,
            token: caller.token_name,
            tenant: caller.tenant,
            permissions: caller.permissions.into_iter().map(str::to_owned).collect(),
            expires_at_us: token.expires_at_us,
        }))
    }

    async fn change_password(
        &self,
        request: Request<wire::ChangePasswordRequest>,
    ) -> Answer<wire::ChangePasswordResponse> {
        let asked = self.requests.asked(&request, "ChangePassword")?;
        let wire::ChangePasswordRequest { current_password, new_password } = request.into_inner();
        let take = async {
            accounts::password("new_password", &new_password).map_err(status::invalid)?;
            let record = self.own(&asked.caller).await?;
            self.prove_own(&asked.caller, &record, &current_password).await?;
            let password = self.sealed_hash("new_password", &new_password).await?;
            self.change_user(&asked, &asked.caller.user_id, |record, user, now| {
                record.password = password;
                user.password_changed_at_us = now.micros();
                Ok(())
            })
            .await
        };
        let accepted = self.requests.once(&asked, take).await?;
        let user = self.own_after(&accepted.object_id).await?;
        Ok(Response::new(wire::ChangePasswordResponse { user }))
    }

    async fn enrol_totp(&self, request: Request<wire::EnrolTotpRequest>) -> Answer<wire::EnrolTotpResponse> {
        let asked = self.requests.asked(&request, "EnrolTotp")?;
        let record = self.own(&asked.caller).await?;
        let device = Device::random();
        let sealed = self.sealer.seal(device.secret());
        let take = async {
            self.prove_own(&asked.caller, &record, &request.get_ref().password).await?;
            self.change_user(&asked, &asked.caller.user_id, |record, _, _| {
                record.totp_offered = Some(sealed);
                Ok(())
            })
            .await
        };
        self.requests.once(&asked, take).await?;
        // a repeated request has offered another secret, which is the one to answer with
        let offered = self.device(&self.own(&asked.caller).await?, true)?.unwrap_or(device);
        let uri = offered.uri(&asked.caller.actor);
        Ok(Response::new(wire::EnrolTotpResponse { uri, secret: offered.base32() }))
    }

    async fn confirm_totp(
        &self,
        request: Request<wire::ConfirmTotpRequest>,
    ) -> Answer<wire::ConfirmTotpResponse> {
        let asked = self.requests.asked(&request, "ConfirmTotp")?;
        let take = async {
            let record = self.own(&asked.caller).await?;
            let refuse = |code: &str, text: &str| {
                status::refused(Code::FailedPrecondition, Refusal::new(code, text), "code")
            };
            let device = self.device(&record, true)?.ok_or_else(|| {
                refuse("TOTP_NOT_ENROLLED", "no secret was given out that could be confirmed: enrol first")
            })?;
            let now = self.desk.clock().now();
            device.step_of(&request.get_ref().code, now).ok_or_else(|| {
                refuse("TOTP_WRONG", "this is not the code of now: is the clock of the device right?")
            })?;
            self.change_user(&asked, &asked.caller.user_id, |record, _, _| {
                record.totp = record.totp_offered.take();
                Ok(())
            })
            .await
        };
        let accepted = self.requests.once(&asked, take).await?;
        let user = self.own_after(&accepted.object_id).await?;
        Ok(Response::new(wire::ConfirmTotpResponse { user }))
    }

    async fn remove_totp(
        &self,
        request: Request<wire::RemoveTotpRequest>,
    ) -> Answer<wire::RemoveTotpResponse> {
        let asked = self.requests.asked(&request, "RemoveTotp")?;
        let take = async {
            let record = self.own(&asked.caller).await?;
            self.prove_own(&asked.caller, &record, &request.get_ref().password).await?;
            self.change_user(&asked, &asked.caller.user_id, |record, _, _| {
                (record.totp, record.totp_offered) = (None, None);
                Ok(())
            })
            .await
        };
        let accepted = self.requests.once(&asked, take).await?;
        let user = self.own_after(&accepted.object_id).await?;
        Ok(Response::new(wire::RemoveTotpResponse { user }))
    }
}
