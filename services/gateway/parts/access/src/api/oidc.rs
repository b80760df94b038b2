//! Logins through an identity provider: an authorization code with a proof key (RFC 7636), asked for by the gateway and
//! exchanged by the gateway. The caller carries the code from the browser here, and a ticket that it cannot read.

use super::Access;
use crate::adapters::oidc::{OidcError, Provider};
use crate::domain::accounts;
use crate::domain::called::{self, said_by_a_provider};
use crate::domain::oidc::{self, Identity, Mapping};
use crate::store::{oidc as tickets, tenants, users};
use crate::translate::access;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bus::{Cause, Work};
use contracts::common::v1::Sealed;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::OidcIdentity;
use gateway_api::adapters::keys::random_hex;
use gateway_api::api::accept::Asked;
use gateway_api::api::caller;
use gateway_api::domain::violation::{Violation, excerpt};
use gateway_api::translate::status;
use kernel::{OperationId, PLATFORM, Refusal, UserId};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tonic::{Code, Request, Status};

/// How long somebody may take in the browser.
const TICKET: Duration = Duration::from_secs(10 * 60);
/// Longest ticket, code or state.
const TEXT_LIMIT: usize = 4096;

/// The provider, and what its claims mean here.
pub struct Oidc {
    /// Whom it asks.
    pub provider: Provider,
    /// Who they are here.
    pub mapping: Mapping,
    /// Users are made, and given the roles of their groups, when they come.
    pub provision: bool,
}

/// What belongs to one login, sealed.
#[derive(Serialize, Deserialize)]
struct Ticket {
    id: String,
    state: String,
    nonce: String,
    verifier: String,
    redirect_uri: String,
    expires_at_us: i64,
}

fn refused(why: impl Into<String>) -> Status {
    status::refused(Code::Unauthenticated, Refusal::new("OIDC_REFUSED", why.into()), "")
}

fn failed(error: OidcError) -> Status {
    match error {
        OidcError::Refused(why) => refused(why),
        OidcError::Away(why) => {
            tracing::warn!(why, "the identity provider does not answer");
            status::refused(Code::Unavailable, Refusal::new("OIDC_AWAY", why), "")
        }
    }
}

impl Access {
    /// The provider; without one this is answered with `code`.
    fn oidc(&self, code: Code) -> Result<&Oidc, Status> {
        self.oidc.as_ref().ok_or_else(|| {
            let text = "this platform trusts no identity provider; log in with a password, or set oidc.issuer of the gateway";
            status::refused(code, Refusal::new("OIDC_OFF", text), "")
        })
    }

    pub(super) async fn begin_oidc(
        &self,
        request: Request<wire::BeginOidcLoginRequest>,
    ) -> Result<wire::BeginOidcLoginResponse, Status> {
        caller(&request)?;
        let redirect_uri = request.into_inner().redirect_uri;
        let oidc = self.oidc(Code::FailedPrecondition)?;
        if redirect_uri.len() > 256 || !oidc::is_loopback(&redirect_uri) {
            let text = format!(
                "{:?} is not where a program on the browser's machine listens: write http://127.0.0.1:<port>/…",
                excerpt(&redirect_uri, 80)
            );
            return Err(status::invalid(Violation::new("redirect_uri", text)));
        }
        let (state, nonce) = (random_hex(), random_hex());
        let beginning = oidc.provider.begin(&redirect_uri, &state, &nonce).await.map_err(failed)?;
        let expires_at_us = self.desk.clock().now().after(TICKET).micros();
        let verifier = beginning.verifier;
        let ticket = Ticket { id: random_hex(), state, nonce, verifier, redirect_uri, expires_at_us };
        let sealed = self.sealer.seal(&serde_json::to_vec(&ticket).map_err(status::broken)?);
        Ok(wire::BeginOidcLoginResponse {
            authorization_url: beginning.url,
            ticket: BASE64.encode(sealed.encode_to_vec()),
            expires_at_us,
        })
    }

    pub(super) async fn finish_oidc(
        &self,
        asked: &Asked,
        request: wire::LoginWithOidcRequest,
    ) -> Result<wire::LoginWithOidcResponse, Status> {
        let oidc = self.oidc(Code::Unauthenticated)?;
        let wire::LoginWithOidcRequest { ticket, code, state } = request;
        for (field, text) in [("ticket", &ticket), ("code", &code), ("state", &state)] {
            if text.is_empty() || text.len() > TEXT_LIMIT {
                let wrong =
                    format!("write 1 to {TEXT_LIMIT} bytes: what the provider sent back, and the ticket");
                return Err(status::invalid(Violation::new(field, wrong)));
            }
        }
        let ticket = self.opened(&ticket)?;
        // before anything is asked of the provider: a ticket is good for one try
        self.use_up(&ticket).await?;
        if ticket.state != state {
            return Err(refused("the state is not that of this ticket: the answer belongs to another login"));
        }
        let wanted = oidc.mapping.wanted(oidc.provision);
        let somebody = oidc
            .provider
            .exchange(&code, &ticket.verifier, &ticket.redirect_uri, &ticket.nonce, &wanted)
            .await
            .map_err(failed)?;
        let who = oidc.mapping.identity(&somebody.claims).map_err(refused)?;
        said_by_a_provider(&somebody.subject)
            .map_err(|wrong| refused(format!("the subject of the provider: {wrong}")))?;
        let link = OidcIdentity {
            issuer: oidc.provider.issuer().to_owned(),
            subject: somebody.subject,
            name: who.called.said.clone(),
        };
        let cause = Cause {
            actor: accounts::qualified(&who.called.name, &who.tenant),
            tenant: who.tenant.clone(),
            ..asked.cause(OperationId::new())
        };
        let mut work = self.desk.begin(cause).await.map_err(status::broken)?;
        let user = self.known_or_made(&mut work, oidc, &who, link).await?;
        let opened = self.new_session(&mut work, user).await?;
        work.commit().await.map_err(status::broken)?;
        self.doorkeeper.forget();
        Ok(wire::LoginWithOidcResponse { token: opened.token, secret: opened.secret })
    }

    fn opened(&self, ticket: &str) -> Result<Ticket, Status> {
        let wrong = || refused("this ticket is none of ours; begin the login again");
        let bytes = BASE64.decode(ticket).map_err(|_| wrong())?;
        let sealed = Sealed::decode(&*bytes).map_err(|_| wrong())?;
        let opened = self.sealer.open(&sealed).map_err(|_| wrong())?;
        let ticket: Ticket = serde_json::from_slice(&opened).map_err(|_| wrong())?;
        if ticket.expires_at_us <= self.desk.clock().now().micros() {
            return Err(refused("this login took too long; begin it again"));
        }
        Ok(ticket)
    }

    async fn use_up(&self, ticket: &Ticket) -> Result<(), Status> {
        let now_us = self.desk.clock().now().micros();
        let mut tx = self.desk.store().begin().await.map_err(status::broken)?;
        let first = tickets::use_ticket(&mut tx, &ticket.id, ticket.expires_at_us, now_us).await;
        let first = first.map_err(status::broken)?;
        tx.commit().await.map_err(status::broken)?;
        if first { Ok(()) } else { Err(refused("this ticket was used before; begin the login again")) }
    }

    /// The user that somebody at the provider is; made, linked and given roles as far as the settings say.
    async fn known_or_made(
        &self,
        work: &mut Work,
        oidc: &Oidc,
        who: &Identity,
        link: OidcIdentity,
    ) -> Result<wire::User, Status> {
        if who.tenant != PLATFORM {
            let found = tenants::get(&mut *work.tx(), &who.tenant).await.map_err(status::broken)?;
            if !found.is_some_and(|tenant| access::is_there(&tenant)) {
                return Err(refused(format!("there is no tenant {:?} here", who.tenant)));
            }
        }
        let named = self.named(work, &who.tenant, &who.called.name).await?;
        let linked = tickets::user(&mut *work.tx(), &link).await.map_err(status::broken)?;
        let waiting = tickets::waiting(&mut *work.tx(), &who.tenant, &who.called.said).await;
        let waiting = waiting.map_err(status::broken)?;
        let mut record = match (linked, waiting, named) {
            (Some(record), ..) => record,
            (None, Some(record), _) => wire::UserRecord { oidc: Some(link), ..record },
            (None, None, Some(record)) if waits_for_its_own_name(&record, who) => {
                wire::UserRecord { oidc: Some(link), ..record }
            }
            (None, None, None) if oidc.provision => fresh(work, who, who.called.name.clone(), link),
            // somebody else is called so: their users are apart from each other, and nobody is taken over
            (None, None, Some(_)) if oidc.provision => {
                let name = called::marked(&who.called.name, &self.mark(&link));
                if self.named(work, &who.tenant, &name).await?.is_some() {
                    let text = format!("{:?} and {name:?} are taken here", who.called.name);
                    return Err(refused(format!(
                        "{text}; an administrator has to make a user for {:?}",
                        link.name
                    )));
                }
                fresh(work, who, name, link)
            }
            (None, None, Some(record)) => return Err(not_linkable(&record, who)),
            (None, None, None) => {
                let called = accounts::qualified(&who.called.name, &who.tenant);
                let hint = match who.called.is_exact() {
                    true => String::new(),
                    false => format!(" for {:?} (berth user create --oidc-name)", link.name),
                };
                return Err(refused(format!(
                    "there is no user {called} here; an administrator has to make it{hint}"
                )));
            }
        };
        if let Some(user) = &record.user {
            // who somebody is here is known only now
            let actor = access::called(user);
            work.set_cause(Cause { actor, ..work.cause().clone() });
        }
        let before = users::by_id(&mut *work.tx(), &id_of(&record)).await.map_err(status::broken)?;
        let Some(user) = &mut record.user else { return Err(status::broken("a user without a row")) };
        if user.disabled {
            return Err(refused(format!("the user {} is disabled", access::called(user))));
        }
        if user.tenant != who.tenant {
            let text =
                format!("the provider says {:?}, but this user is at home in {:?}", who.tenant, user.tenant);
            return Err(refused(text));
        }
        if oidc.provision {
            // what the groups give counts anew each time; roles elsewhere were given by hand and stay
            user.roles.retain(|binding| binding.tenant != who.tenant);
            user.roles.extend(who.roles.iter().map(|role| access::binding(*role, &who.tenant)));
        }
        if before.as_ref() != Some(&record) {
            let now_us = work.now().micros();
            if let Some(user) = &mut record.user {
                user.revision += 1;
                user.updated_at_us = now_us;
            }
            users::put(work.tx(), &record).await.map_err(status::broken)?;
            match before {
                None => work.say_for(&who.tenant, &wire::UserCreated { record: Some(record.clone()) }),
                Some(_) => work.say_for(&who.tenant, &wire::UserChanged { record: Some(record.clone()) }),
            }
        }
        record.user.ok_or_else(|| status::broken("a user without a row"))
    }

    /// The user of a tenant that has this name. Until the work ends nobody else gives it to anybody.
    async fn named(
        &self,
        work: &mut Work,
        tenant: &str,
        name: &str,
    ) -> Result<Option<wire::UserRecord>, Status> {
        let lock = format!("user {name} of {tenant}");
        self.desk.store().lock(work.tx(), &lock).await.map_err(status::broken)?;
        let found = users::find(&mut *work.tx(), tenant, name).await.map_err(status::broken)?;
        // ids name users too, but no claim is an id
        Ok(found.filter(|record| record.user.as_ref().is_some_and(|user| user.name == name)))
    }

    /// What is of this person of this provider alone, the same every time.
    fn mark(&self, link: &OidcIdentity) -> String {
        let whole = format!("{} {}", link.issuer, link.subject);
        self.requests.key.fingerprint("oidc", whole.as_bytes())
    }
}

/// A user that was made for whoever comes first under its own name, which is said letter by letter. Any other is somebody
/// already: a provider takes nobody over, however it calls its users.
fn waits_for_its_own_name(record: &wire::UserRecord, who: &Identity) -> bool {
    let waits = |oidc: &OidcIdentity| oidc.issuer.is_empty() && oidc.name.is_empty();
    who.called.is_exact() && record.oidc.as_ref().is_some_and(waits)
}

fn not_linkable(record: &wire::UserRecord, who: &Identity) -> Status {
    let called = record.user.as_ref().map(access::called).unwrap_or_default();
    refused(match &record.oidc {
        Some(waits) if waits.issuer.is_empty() => format!(
            "the user {called} waits for somebody whom the provider calls otherwise than {:?}",
            who.called.said
        ),
        Some(_) => format!("the user {called} is somebody else at the provider"),
        None => format!("the user {called} does not log in through a provider"),
    })
}

fn id_of(record: &wire::UserRecord) -> String {
    record.user.as_ref().map(|user| user.id.clone()).unwrap_or_default()
}

fn fresh(work: &Work, who: &Identity, name: String, link: OidcIdentity) -> wire::UserRecord {
    let description = match name == link.name {
        true => String::new(),
        false => format!("{} at the identity provider", link.name),
    };
    let user = wire::User {
        id: UserId::new().to_string(),
        name,
        description,
        tenant: who.tenant.clone(),
        created_at_us: work.now().micros(),
        ..wire::User::default()
    };
    wire::UserRecord { user: Some(user), oidc: Some(link), ..wire::UserRecord::default() }
}
