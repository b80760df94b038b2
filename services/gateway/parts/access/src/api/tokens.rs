//! Tokens for programs.

use super::Access;
use crate::domain::accounts::LIFETIME_LIMIT_S;
use crate::store::{tokens, users};
use crate::translate::access;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::TokenKind;
use contracts::gateway::v1::token_service_server::TokenService;
use gateway_api::adapters::keys::random_hex;
use gateway_api::api::accept::{Accepted, Asked, Entered};
use gateway_api::api::caller;
use gateway_api::domain::caller::{Caller, TokenScope};
use gateway_api::domain::names;
use gateway_api::domain::page::Page;
use gateway_api::domain::permissions::{self, GRANTING};
use gateway_api::domain::violation::{Violation, excerpt};
use gateway_api::translate::status;
use kernel::{PLATFORM, Refusal, TokenId};
use std::time::Duration;
use tonic::{Code, Request, Response, Status};

/// What a repeated request is told in place of the secret.
const SHOWN_BEFORE: &str = "this request was made before, under the same idempotency key: the secret was in its first answer \
     and is kept nowhere; if it is lost, revoke this token and make another under another key";

type Answer<T> = Result<Response<T>, Status>;

/// A token as its holder has it: recognisable in a text, so that scanners for leaked secrets find it.
pub fn fresh_secret() -> String {
    format!("berth_{}", random_hex())
}

impl Access {
    /// Whose tokens are meant: the caller's own, or, with a further permission, those of a user of its tenant.
    async fn owner(&self, caller: &Caller, name: &str, permission: &str) -> Result<wire::User, Status> {
        if !name.is_empty() {
            let user = self.user(caller, name).await;
            if !caller.may(permission) && user.as_ref().is_ok_and(|user| user.id != caller.user_id) {
                return Err(status::not_found("user", "user", name));
            }
            return user;
        }
        let own = users::by_id(self.desk.store().reader(), &caller.user_id).await.map_err(status::broken)?;
        own.and_then(|record| record.user).ok_or_else(|| status::not_found("user", "user", &caller.actor))
    }

    async fn token_by_id(&self, user_id: &str, id: &str) -> Result<Option<wire::Token>, Status> {
        let found = tokens::find(self.desk.store().reader(), user_id, id, 0).await;
        Ok(found.map_err(status::broken)?.and_then(|record| record.token))
    }

    async fn make_token(
        &self,
        asked: &Asked,
        owner: &wire::User,
        request: wire::CreateTokenRequest,
        secret: &str,
    ) -> Result<Accepted, Status> {
        let wire::CreateTokenRequest { name, permissions, lifetime_s, .. } = request;
        names::dotted("name", &name).map_err(status::invalid)?;
        if lifetime_s > LIFETIME_LIMIT_S {
            let text =
                format!("{lifetime_s} seconds are too many: at most {LIFETIME_LIMIT_S}, or 0 for no end");
            return Err(status::invalid(Violation::new("lifetime_s", text)));
        }
        let tenant = asked.caller.tenant.clone();
        let permissions = narrowed(&asked.caller, owner, permissions)?;
        let id = TokenId::new().to_string();
        let mut entry = match self.requests.enter(asked, &id).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let now = entry.work.now();
        let tx = entry.work.tx();
        self.desk.store().lock(tx, &format!("tokens of {}", owner.id)).await.map_err(status::broken)?;
        if tokens::find(&mut *tx, &owner.id, &name, now.micros()).await.map_err(status::broken)?.is_some() {
            let text =
                format!("{} has a token called {name:?} already: revoke it first", access::called(owner));
            return Err(status::refused(Code::AlreadyExists, Refusal::new("TOKEN_EXISTS", text), "name"));
        }
        let expires_at_us = match lifetime_s {
            0 => 0,
            seconds => now.after(Duration::from_secs(seconds)).micros(),
        };
        let token = wire::Token {
            id,
            name,
            kind: TokenKind::Api as i32,
            user_id: owner.id.clone(),
            user: access::called(owner),
            tenant,
            permissions,
            created_at_us: now.micros(),
            expires_at_us,
            revision: 1,
            ..wire::Token::default()
        };
        let hash = Some(wire::KeyedHash { hex: self.key.hash(secret) });
        let record = wire::TokenRecord { token: Some(token), hash };
        tokens::put(entry.work.tx(), &record).await.map_err(status::broken)?;
        entry.work.say_for(&owner.tenant, &wire::TokenCreated { record: Some(record) });
        entry.done().await
    }

    /// Takes a token of a user away.
    pub(super) async fn revoke(
        &self,
        asked: &Asked,
        owner: &wire::User,
        token_id: &str,
    ) -> Result<Accepted, Status> {
        let mut entry = match self.requests.enter(asked, token_id).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let now_us = entry.work.now().micros();
        let tx = entry.work.tx();
        self.desk.store().lock(tx, &format!("tokens of {}", owner.id)).await.map_err(status::broken)?;
        let found = tokens::find(&mut *tx, &owner.id, token_id, now_us).await.map_err(status::broken)?;
        let mut record = found.ok_or_else(|| status::not_found("token", "token", token_id))?;
        if let Some(token) = record.token.as_mut().filter(|token| token.revoked_at_us == 0) {
            token.revoked_at_us = now_us;
            token.revision += 1;
            tokens::put(entry.work.tx(), &record).await.map_err(status::broken)?;
            entry.work.say_for(&owner.tenant, &wire::TokenRevoked { record: Some(record) });
        }
        let accepted = entry.done().await?;
        self.doorkeeper.forget();
        Ok(accepted)
    }
}

/// What a new token is narrowed to. Never to more than the caller holds or its user may.
fn narrowed(caller: &Caller, owner: &wire::User, asked: Vec<String>) -> Result<Vec<String>, Status> {
    if asked.is_empty() {
        return Ok(caller.narrowed_to.clone());
    }
    let everything = TokenScope { tenant: caller.tenant.clone(), permissions: Vec::new() };
    let held = access::membership(owner).permissions(&everything, &caller.tenant);
    for (index, permission) in asked.iter().enumerate() {
        let wrong = |text: String| status::invalid(Violation::new(format!("permissions[{index}]"), text));
        if permissions::find(permission).is_none() {
            let text = format!("{:?} is no permission: `ListRoles` names them", excerpt(permission, 80));
            return Err(wrong(text));
        }
        if GRANTING.contains(&permission.as_str()) {
            let text = format!(
                "{permission} lets its holder give every permission: a token with it cannot be narrowed"
            );
            return Err(wrong(text));
        }
        let beyond = !caller.narrowed_to.is_empty() && !caller.narrowed_to.contains(permission);
        // a token of the platform is good in many tenants: what its user may there is judged there
        let unheld = caller.tenant != PLATFORM && !held.contains(permission.as_str());
        if beyond || unheld {
            let who = if beyond { caller.actor.clone() } else { access::called(owner) };
            return Err(wrong(format!("{who} does not hold {permission} here")));
        }
    }
    let mut asked = asked;
    asked.sort();
    asked.dedup();
    Ok(asked)
}

#[tonic::async_trait]
impl TokenService for Access {
    async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Answer<wire::CreateTokenResponse> {
        let asked = self.requests.asked(&request, "CreateToken")?;
        let request = request.into_inner();
        let owner = self.owner(&asked.caller, &request.user, "user.change").await?;
        let fresh = fresh_secret();
        let accepted = self.requests.once(&asked, self.make_token(&asked, &owner, request, &fresh)).await?;
        let found = tokens::by_hash(self.desk.store().reader(), &self.key.hash(&fresh)).await;
        // when the request was made before, the secret of now belongs to nothing
        let answer = match found.map_err(status::broken)?.and_then(|record| record.token) {
            Some(token) => {
                wire::CreateTokenResponse { token: Some(token), secret: fresh, note: String::new() }
            }
            None => {
                let token = self.token_by_id(&owner.id, &accepted.object_id).await?;
                wire::CreateTokenResponse { token, secret: String::new(), note: SHOWN_BEFORE.to_owned() }
            }
        };
        Ok(Response::new(answer))
    }

    async fn list_tokens(
        &self,
        request: Request<wire::ListTokensRequest>,
    ) -> Answer<wire::ListTokensResponse> {
        let caller = caller(&request)?;
        let wire::ListTokensRequest { page_size, page_token, user, include_revoked } = request.into_inner();
        let page = Page::read(page_size, &page_token, 1).map_err(status::invalid)?;
        let owner = self.owner(&caller, &user, "user.read").await?;
        let now_us = self.desk.clock().now().micros();
        let rows = tokens::page(self.desk.store().reader(), &owner.id, include_revoked, now_us, &page).await;
        let (tokens, next_page_token) = page.cut(rows.map_err(status::broken)?, |row| vec![row.id.clone()]);
        Ok(Response::new(wire::ListTokensResponse { tokens, next_page_token }))
    }

    async fn revoke_token(
        &self,
        request: Request<wire::RevokeTokenRequest>,
    ) -> Answer<wire::RevokeTokenResponse> {
        let asked = self.requests.asked(&request, "RevokeToken")?;
        let wire::RevokeTokenRequest { token, user } = request.into_inner();
        let owner = self.owner(&asked.caller, &user, "user.change").await?;
        let take = async {
            names::reference("token", &token).map_err(status::invalid)?;
            let now_us = self.desk.clock().now().micros();
            let found = tokens::find(self.desk.store().reader(), &owner.id, &token, now_us).await;
            let found = found.map_err(status::broken)?.and_then(|record| record.token);
            let found = found.ok_or_else(|| status::not_found("token", "token", &token))?;
            self.revoke(&asked, &owner, &found.id).await
        };
        let accepted = self.requests.once(&asked, take).await?;
        let token = self.token_by_id(&owner.id, &accepted.object_id).await?;
        Ok(Response::new(wire::RevokeTokenResponse { token }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_api::domain::permissions::Role;

    #[test]
    fn a_new_token_never_holds_more_than_its_maker_or_its_user() {
        let developer = wire::User {
            name: "ann".into(),
            tenant: "acme".into(),
            roles: vec![access::binding(Role::Developer, "acme")],
            ..wire::User::default()
        };
        let mut maker = Caller { actor: "ann@acme".into(), tenant: "acme".into(), ..Caller::default() };
        let ask = |maker: &Caller, list: &[&str]| {
            narrowed(maker, &developer, list.iter().map(|p| (*p).to_owned()).collect())
                .map_err(|status| status.message().to_owned())
        };
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(ask(&maker, &[]), Ok(vec![]));
        let two = ["instance.read", "image.read", "image.read"];
        assert_eq!(ask(&maker, &two), Ok(list(&["image.read", "instance.read"])));
        for wrong in ["host.read", "user.read", "instance.fly", "user.change"] {
            assert!(ask(&maker, &["instance.read", wrong]).expect_err(wrong).contains("permissions[1]"));
        }
        maker.narrowed_to = list(&["instance.read", "token.create"]);
        assert_eq!(ask(&maker, &[]), Ok(maker.narrowed_to.clone()), "as narrow as its maker");
        assert!(ask(&maker, &["image.read"]).is_err());
        assert_eq!(ask(&maker, &["instance.read"]), Ok(list(&["instance.read"])));
    }
}
