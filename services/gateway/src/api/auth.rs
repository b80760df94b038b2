//! Who comes in: the one place where tokens and permissions are checked.

use crate::adapters::keys::TokenKey;
use crate::domain::caller::Caller;
use crate::store::tokens;
use crate::translate::status;
use ::store::Store;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use contracts::Method;
use http::{HeaderMap, header};
use kernel::{Clock, Refusal};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tonic::{Code, Status};

/// Longest token that is looked at.
const TOKEN_LIMIT: usize = 256;

/// How long a caller is known without another look into the table: a token that is taken away opens nothing after it.
const MEMORY: Duration = Duration::from_secs(1);
/// Callers that are remembered at most.
const REMEMBERED: usize = 1024;

/// Checks tokens against the table of their keyed hashes.
pub struct Doorkeeper {
    store: Store,
    clock: Arc<dyn Clock>,
    key: Arc<TokenKey>,
    /// By hash: who it is, and until when that counts (microseconds since the epoch).
    lately: Mutex<HashMap<String, (Caller, i64)>>,
}

impl Doorkeeper {
    /// A doorkeeper over the table of tokens.
    pub fn new(store: Store, clock: Arc<dyn Clock>, key: Arc<TokenKey>) -> Self {
        Self { store, clock, key, lately: Mutex::default() }
    }

    /// Who sends a request with these headers, when they hold the permission.
    pub async fn admit(&self, headers: &HeaderMap, permission: &str) -> Result<Caller, Status> {
        let hash = self.key.hash(bearer(headers)?);
        let caller = self.caller(hash).await?;
        let caller =
            caller.ok_or_else(|| unauthenticated("this token is not known, has expired or was revoked"))?;
        if !caller.may(permission) {
            let refusal =
                Refusal::new("PERMISSION_DENIED", format!("this needs the permission {permission}"));
            return Err(status::refused(Code::PermissionDenied, refusal, ""));
        }
        Ok(caller)
    }
}

impl Doorkeeper {
    /// Whose token these headers hold, whatever they may do.
    pub async fn identify(&self, headers: &HeaderMap) -> Option<Caller> {
        self.caller(self.key.hash(bearer(headers).ok()?)).await.ok().flatten()
    }

    async fn caller(&self, hash: String) -> Result<Option<Caller>, Status> {
        let now = self.clock.now();
        let lately = || self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((caller, until)) = lately().get(&hash)
            && now.micros() < *until
        {
            return Ok(Some(caller.clone()));
        }
        let found = tokens::caller(self.store.reader(), &hash, now.micros()).await.map_err(status::broken)?;
        let mut lately = lately();
        if lately.len() >= REMEMBERED {
            lately.clear();
        }
        let Some((caller, expires_at_us)) = found else {
            lately.remove(&hash);
            return Ok(None);
        };
        let until = now.after(MEMORY).micros();
        let until = if expires_at_us == 0 { until } else { until.min(expires_at_us) };
        lately.insert(hash, (caller.clone(), until));
        Ok(Some(caller))
    }
}

fn unauthenticated(why: &str) -> Status {
    let hint = "send `authorization: Bearer <token>`; the first token is in the file admin.token of the gateway's data folder";
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

/// The method of the public interface that a gRPC path names.
pub fn method_of(path: &str) -> Option<&'static Method> {
    static BY_PATH: LazyLock<HashMap<String, &'static Method>> = LazyLock::new(|| {
        let path =
            |m: &Method| format!("/{}/{}", m.descriptor.parent_service().full_name(), m.descriptor.name());
        contracts::methods().iter().map(|method| (path(method), method)).collect()
    });
    BY_PATH.get(path).copied()
}

/// Lets a request through when its caller may call the method. Health and reflection are open.
pub async fn guard(State(doorkeeper): State<Arc<Doorkeeper>>, mut request: Request, next: Next) -> Response {
    if let Some(method) = method_of(request.uri().path()) {
        // extensions cannot come over the wire: only REST, which checked already, puts a caller there
        if request.extensions().get::<Caller>().is_none() {
            match doorkeeper.admit(request.headers(), &method.permission).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                }
                Err(status) => return status.into_http(),
            }
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[tokio::test]
    async fn a_token_opens_what_it_was_made_for_until_it_expires() {
        use crate::domain::caller::Permissions;
        use kernel::{ManualClock, Timestamp};
        let folder = tempfile::tempdir().expect("a folder");
        let key = || Arc::new(TokenKey::from_file(&folder.path().join("token.key")).expect("a key"));
        let database = testkit::Database::sqlite(crate::store::MIGRATIONS).await;
        let permissions = Permissions::Only(vec!["host.read".into()]);
        let caller = Caller { actor: "ann".into(), tenant: "acme".into(), permissions };
        let (hash, name) = (key().hash("right"), "ann".to_owned());
        let row =
            tokens::TokenRow { hash, name, caller: caller.clone(), created_at_us: 1, expires_at_us: 100 };
        let mut tx = database.store.begin().await.expect("begins");
        tokens::put(&mut tx, &row).await.expect("written");
        tx.commit().await.expect("commits");

        let clock = Arc::new(ManualClock::at(Timestamp(50)));
        let doorkeeper = Doorkeeper::new(database.store.clone(), clock.clone(), key());
        let with = |token: &str| {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("ascii");
            HeaderMap::from_iter([(header::AUTHORIZATION, value)])
        };
        let code = |result: Result<Caller, Status>| result.map_err(|status| status.code());
        assert_eq!(code(doorkeeper.admit(&with("right"), "host.read").await), Ok(caller));
        let other = doorkeeper.admit(&with("right"), "host.operate").await;
        assert_eq!(code(other), Err(Code::PermissionDenied));
        assert_eq!(code(doorkeeper.admit(&with("wrong"), "host.read").await), Err(Code::Unauthenticated));
        // what was taken away is remembered for a second, and not longer than it was good for
        let mut tx = database.store.begin().await.expect("begins");
        tokens::remove(&mut tx, "ann").await.expect("removed");
        tx.commit().await.expect("commits");
        assert!(doorkeeper.admit(&with("right"), "host.read").await.is_ok());
        clock.advance_to(Timestamp(100));
        let late = doorkeeper.admit(&with("right"), "host.read").await;
        assert_eq!(code(late), Err(Code::Unauthenticated));
    }

    #[test]
    fn every_method_has_a_permission_and_a_path() {
        for method in contracts::methods() {
            assert!(method.permission.contains('.'), "{}", method.path);
        }
        assert!(method_of("/berth.gateway.v1.InstanceService/CreateInstance").is_some());
        assert!(method_of("/grpc.health.v1.Health/Check").is_none());
    }
}
