//! Who comes in: the one place where tokens and permissions are checked.

use crate::store::{quotas, tenants, tokens, users};
use crate::translate::access;
use async_trait::async_trait;
use bus::Desk;
use contracts::Method;
use gateway_api::adapters::keys::TokenKey;
use gateway_api::api::admit::{Admit, Peer, TENANT_HEADER};
use gateway_api::api::pace::Pace;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::permissions::{self, Scope};
use gateway_api::translate::status;
use http::{Extensions, HeaderMap, header};
use kernel::quota::Quota;
use kernel::{PLATFORM, Refusal};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::{Code, Status};

/// Longest token that is looked at.
const TOKEN_LIMIT: usize = 256;

/// How long a caller is known without another look into the table: a token that is taken away opens nothing after it.
const MEMORY: Duration = Duration::from_secs(1);
/// Callers that are remembered at most.
const REMEMBERED: usize = 1024;
/// How exactly it is noted when a token was used.
const USE_NOTED: Duration = Duration::from_secs(60);

/// Checks tokens against the table of their keyed hashes.
pub struct Doorkeeper {
    desk: Desk,
    key: Arc<TokenKey>,
    /// By hash and tenant asked for: who it is, and until when that counts (microseconds since the epoch).
    lately: Mutex<HashMap<(String, String), (KnownToken, i64)>>,
    /// By token: when its use was noted.
    noted: Mutex<HashMap<String, i64>>,
    pace: Pace,
}

/// Somebody whose token was looked up.
#[derive(Clone)]
struct KnownToken {
    caller: Caller,
    /// The tenant in which it acts takes no changes.
    disabled: bool,
    /// What that tenant may send, all its tokens together.
    requests_per_second: Option<NonZeroU32>,
}

/// What a token and a tenant asked for lead to.
enum Found {
    Nobody,
    NoSuchTenant,
    Known(Box<KnownToken>),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Doorkeeper {
    /// A doorkeeper over the gateway's tables.
    pub fn new(desk: Desk, key: Arc<TokenKey>, pace: Pace) -> Self {
        Self { desk, key, lately: Mutex::default(), noted: Mutex::default(), pace }
    }

    /// Forgets who came in: what was just changed counts from the next request on. Other replicas know within a second.
    pub fn forget(&self) {
        locked(&self.lately).clear();
    }

    /// A request was refused because these quotas had no room.
    pub fn over_quota(&self, quotas: &[Quota]) {
        self.pace.over_quota(quotas);
    }

    async fn find(&self, hash: String, wanted: &str) -> Result<Found, Status> {
        let now = self.desk.clock().now();
        let place = (hash, wanted.to_owned());
        if let Some((known, until)) = locked(&self.lately).get(&place)
            && now.micros() < *until
        {
            return Ok(Found::Known(Box::new(known.clone())));
        }
        let (found, expires_at_us) = self.look_up(&place.0, wanted).await?;
        let mut lately = locked(&self.lately);
        if lately.len() >= REMEMBERED {
            lately.clear();
        }
        match &found {
            Found::Known(known) => {
                let until = now.after(MEMORY).micros();
                let until = if expires_at_us == 0 { until } else { until.min(expires_at_us) };
                lately.insert(place, (KnownToken::clone(known), until));
            }
            _ => drop(lately.remove(&place)),
        }
        Ok(found)
    }

    /// What the tables say, and when the token expires.
    async fn look_up(&self, hash: &str, wanted: &str) -> Result<(Found, i64), Status> {
        let reader = self.desk.store().reader();
        let nobody = || Ok((Found::Nobody, 0));
        let token = tokens::by_hash(reader, hash).await.map_err(status::broken)?.and_then(|r| r.token);
        let Some(token) = token else { return nobody() };
        let user = users::by_id(reader, &token.user_id).await.map_err(status::broken)?.and_then(|r| r.user);
        let Some(user) = user else { return nobody() };
        if !access::opens(&token, &user, self.desk.clock().now()) {
            return nobody();
        }
        let Some(caller) = access::caller(&user, &token, wanted) else {
            return Ok((Found::NoSuchTenant, 0));
        };
        let (mut disabled, mut requests_per_second) = (false, None);
        if caller.tenant != PLATFORM {
            let tenant = tenants::get(reader, &caller.tenant).await.map_err(status::broken)?;
            let Some(tenant) = tenant.filter(access::is_there) else {
                return Ok((Found::NoSuchTenant, 0));
            };
            disabled = !access::is_active(&tenant);
            let quota = quotas::get(reader, &caller.tenant).await.map_err(status::broken)?;
            let limit = quota.and_then(|quota| quota.limits?.requests_per_second);
            requests_per_second = limit.and_then(NonZeroU32::new);
        }
        let known = KnownToken { caller, disabled, requests_per_second };
        Ok((Found::Known(Box::new(known)), token.expires_at_us))
    }

    /// Writes down, once a minute at most and beside the request, that a token was used.
    fn note_use(&self, token_id: &str, address: &str) {
        let now_us = self.desk.clock().now().micros();
        {
            let mut noted = locked(&self.noted);
            let due = now_us - USE_NOTED.as_micros() as i64;
            if noted.get(token_id).is_some_and(|at| *at > due) {
                return;
            }
            if noted.len() >= REMEMBERED {
                noted.clear();
            }
            noted.insert(token_id.to_owned(), now_us);
        }
        let (desk, token_id, address) = (self.desk.clone(), token_id.to_owned(), address.to_owned());
        tokio::spawn(async move {
            let write = async {
                let mut tx = desk.store().begin().await?;
                tokens::used(&mut tx, &token_id, now_us, &address).await?;
                anyhow::Ok(tx.commit().await?)
            };
            if let Err(error) = write.await {
                tracing::debug!(%error, "the use of a token was not noted");
            }
        });
    }
}

#[async_trait]
impl Admit for Doorkeeper {
    async fn admit(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        method: &Method,
    ) -> Result<Caller, Status> {
        let address = extensions.get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
        let rule = permissions::find(&method.permission);
        if rule.is_some_and(|rule| rule.scope == Scope::Anyone) {
            return Ok(Caller { address, ..Caller::nobody() });
        }
        let hash = self.key.hash(bearer(headers)?);
        let wanted = headers.get(TENANT_HEADER).map_or("", |value| value.to_str().unwrap_or("\u{fffd}"));
        let KnownToken { caller, disabled, requests_per_second } = match self.find(hash, wanted).await? {
            Found::Known(known) => *known,
            Found::Nobody => {
                return Err(unauthenticated("this token is not known, has expired or was revoked"));
            }
            Found::NoSuchTenant => return Err(status::not_found("tenant", TENANT_HEADER, wanted)),
        };
        self.pace.check(&caller.token_id)?;
        // whoever sets quotas is not shut out by one
        if !caller.may("quota.set") {
            self.pace.check_tenant(&caller.tenant, requests_per_second)?;
        }
        if !caller.may(&method.permission) {
            let text = format!("this needs the permission {}", method.permission);
            return Err(status::refused(Code::PermissionDenied, Refusal::new("PERMISSION_DENIED", text), ""));
        }
        if disabled && method.mutating && !permissions::works_while_disabled(&method.permission) {
            let text = format!("the tenant {} is disabled: nothing in it can be changed", caller.tenant);
            return Err(status::refused(Code::FailedPrecondition, Refusal::new("TENANT_DISABLED", text), ""));
        }
        self.note_use(&caller.token_id, &address);
        Ok(Caller { address, ..caller })
    }

    async fn identify(&self, headers: &HeaderMap) -> Option<Caller> {
        let hash = self.key.hash(bearer(headers).ok()?);
        match self.find(hash, "").await.ok()? {
            Found::Known(known) => Some(known.caller),
            _ => None,
        }
    }
}

fn unauthenticated(why: &str) -> Status {
    let hint = "send `authorization: Bearer <token>`: log in for one; the first token is in the file admin.token of the gateway's data folder";
    status::refused(Code::Unauthenticated, Refusal::new("UNAUTHENTICATED", format!("{why}; {hint}")), "")
}

fn bearer(headers: &HeaderMap) -> Result<&str, Status> {
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| unauthenticated("no token was sent"))?;
    let text = value.to_str().unwrap_or_default();
    let token = text
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, t)| t.trim());
    match token {
        Some(token) if !token.is_empty() && token.len() <= TOKEN_LIMIT => Ok(token),
        _ => Err(unauthenticated("the authorization header holds no bearer token")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_api::api::admit::method_of;
    use http::HeaderValue;

    fn read(value: &'static str) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        bearer(&headers).map(str::to_owned).map_err(|s| s.code())
    }

    #[test]
    fn only_bearer_tokens_are_looked_at() {
        assert_eq!(read("Bearer abc"), Ok("abc".to_owned()));
        assert_eq!(read("bearer  abc "), Ok("abc".to_owned()));
        for wrong in ["", "abc", "Basic abc", "Bearer ", "Bearer"] {
            assert_eq!(read(wrong), Err(Code::Unauthenticated), "{wrong}");
        }
        assert!(bearer(&HeaderMap::new()).is_err());
    }

    const ME: &str = "/berth.gateway.v1.SessionService/WhoAmI";
    const CREATE: &str = "/berth.gateway.v1.InstanceService/CreateInstance";
    const HOSTS: &str = "/berth.gateway.v1.HostService/ListHosts";

    /// Tenants acme and closed, ann of acme, and tokens "right" and "late" of hers.
    async fn prepare(database: &testkit::Database, key: &TokenKey) {
        use contracts::gateway::v1::{KeyedHash, Tenant, TenantState, Token, TokenRecord, User, UserRecord};
        let mut tx = database.store.begin().await.expect("begins");
        for (name, state) in [("acme", TenantState::Active), ("closed", TenantState::Disabled)] {
            let row = Tenant { name: name.into(), state: state as i32, revision: 1, ..Tenant::default() };
            tenants::put(&mut tx, &row).await.expect("written");
            let roles = vec![access::binding(permissions::Role::Developer, name)];
            let user = User {
                id: name.into(),
                name: "ann".into(),
                tenant: name.into(),
                roles,
                revision: 1,
                ..User::default()
            };
            users::put(&mut tx, &UserRecord { user: Some(user), ..UserRecord::default() })
                .await
                .expect("written");
            for (secret, expires_at_us) in [("right", 0), ("late", 100)] {
                let id = format!("{secret} of {name}");
                let hash = KeyedHash { hex: key.hash(&id) };
                let (user_id, tenant) = (name.to_owned(), name.to_owned());
                let token = Token { id, user_id, tenant, expires_at_us, revision: 1, ..Token::default() };
                tokens::put(&mut tx, &TokenRecord { token: Some(token), hash: Some(hash) })
                    .await
                    .expect("written");
            }
        }
        tx.commit().await.expect("commits");
    }

    #[tokio::test]
    async fn a_token_opens_what_its_user_may_where_it_may_until_it_expires() {
        use kernel::{ManualClock, Timestamp};
        let folder = tempfile::tempdir().expect("a folder");
        let key = Arc::new(TokenKey::from_file(&folder.path().join("token.key")).expect("a key"));
        let database = testkit::Database::sqlite(gateway_api::store::MIGRATIONS).await;
        prepare(&database, &key).await;
        let clock = Arc::new(ManualClock::at(Timestamp(50)));
        let desk = Desk::new("gateway", database.store.clone(), clock.clone());
        let doorkeeper = Doorkeeper::new(desk, key, Pace::new(0, &opentelemetry::global::meter("test")));
        let ask = async |token: &str, tenant: &str, method: &str| {
            let mut headers = HeaderMap::new();
            let value = |text: String| HeaderValue::from_str(&text).expect("ascii");
            headers.insert(header::AUTHORIZATION, value(format!("Bearer {token}")));
            if !tenant.is_empty() {
                headers.insert(TENANT_HEADER, value(tenant.to_owned()));
            }
            let method = method_of(method).expect("a method");
            let answer = doorkeeper.admit(&headers, &Extensions::new(), method).await;
            answer.map(|caller| caller.tenant).map_err(|status| (status.code(), status.message().to_owned()))
        };
        let code = |answer: Result<String, (Code, String)>| answer.map_err(|(code, _)| code);
        assert_eq!(code(ask("right of acme", "", CREATE).await).as_deref(), Ok("acme"));
        assert_eq!(code(ask("right of acme", "acme", CREATE).await).as_deref(), Ok("acme"));
        assert_eq!(code(ask("right of acme", "", HOSTS).await), Err(Code::PermissionDenied));
        assert_eq!(code(ask("wrong of acme", "", ME).await), Err(Code::Unauthenticated));
        // another tenant and none at all are answered alike
        let (there, nowhere) =
            (ask("right of acme", "closed", ME).await, ask("right of acme", "clxsed", ME).await);
        let (there, nowhere) = (there.expect_err("not found"), nowhere.expect_err("not found"));
        assert_eq!(
            (there.0, there.1.replace("closed", "x")),
            (Code::NotFound, nowhere.1.replace("clxsed", "x"))
        );
        // a disabled tenant is read and not changed
        assert_eq!(code(ask("right of closed", "", ME).await).as_deref(), Ok("closed"));
        assert_eq!(code(ask("right of closed", "", CREATE).await), Err(Code::FailedPrecondition));

        assert!(ask("late of acme", "", ME).await.is_ok());
        clock.advance_to(Timestamp(100));
        assert_eq!(
            code(ask("late of acme", "", ME).await),
            Err(Code::Unauthenticated),
            "it was remembered too long"
        );
        // a user that is disabled is remembered for a second, unless it is forgotten on purpose
        let mut tx = database.store.begin().await.expect("begins");
        let mut record = users::by_id(&mut *tx, "acme").await.expect("read").expect("there");
        if let Some(user) = &mut record.user {
            (user.disabled, user.revision) = (true, 2);
        }
        users::put(&mut tx, &record).await.expect("written");
        tx.commit().await.expect("commits");
        assert!(ask("right of acme", "", CREATE).await.is_ok(), "still remembered");
        doorkeeper.forget();
        assert_eq!(code(ask("right of acme", "", CREATE).await), Err(Code::Unauthenticated));
    }
}
