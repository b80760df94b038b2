//! The identity provider: discovery, the exchange of a code, and the check of what it says (OpenID Connect Core 1.0).

use crate::domain::oidc::Claims;
use anyhow::{Context, bail};
use gateway_api::domain::violation::excerpt;
use openidconnect::core::{
    CoreGenderClaim, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm as Alg,
    CoreProviderMetadata,
};
use openidconnect::{
    AdditionalClaims, ClaimsVerificationError, ClientId, HttpRequest, HttpResponse, IdToken, IdTokenVerifier,
    IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, SignatureVerificationError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Semaphore};

/// How long the provider may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what the provider says of itself is remembered.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Keys that nobody knows are asked for this far apart at least.
const ASKED_APART: Duration = Duration::from_secs(10);
/// Longest answer of a provider, in bytes.
const ANSWER_LIMIT: usize = 256 << 10;
/// Exchanges under way at once.
const AT_ONCE: usize = 8;
/// Signatures that are taken: with a key of the provider, never with a shared secret, never none.
const ALGORITHMS: [Alg; 9] = [
    Alg::RsaSsaPkcs1V15Sha256,
    Alg::RsaSsaPkcs1V15Sha384,
    Alg::RsaSsaPkcs1V15Sha512,
    Alg::RsaSsaPssSha256,
    Alg::RsaSsaPssSha384,
    Alg::RsaSsaPssSha512,
    Alg::EcdsaP256Sha256,
    Alg::EcdsaP384Sha384,
    Alg::EdDsa,
];

/// How to reach a provider.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// "https://id.example.com/realms/a".
    pub issuer: String,
    /// What the provider calls this platform.
    pub client_id: String,
    /// "" = a public client: the proof key is all there is.
    pub client_secret: String,
    /// What is asked for: "openid", "profile".
    pub scopes: Vec<String>,
    /// Certificate authority of the provider (PEM), `None` = the system's.
    pub ca: Option<Vec<u8>>,
}

/// A provider.
pub struct Provider {
    settings: ProviderSettings,
    issuer: IssuerUrl,
    http: reqwest::Client,
    known: Mutex<Option<Discovered>>,
    room: Semaphore,
}

struct Discovered {
    metadata: Arc<CoreProviderMetadata>,
    at: Instant,
    /// When keys that nobody knew were last asked for.
    again_at: Option<Instant>,
}

/// Somebody who logged in at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Somebody {
    /// What the provider calls them, for ever.
    pub subject: String,
    /// What it says of them.
    pub claims: Claims,
}

/// Why there is no login.
#[derive(Debug)]
pub enum OidcError {
    /// The provider does not answer, or not as it should: later, perhaps.
    Away(String),
    /// The provider, or the check of what it says, says no.
    Refused(String),
}

/// Where a login begins.
pub struct Beginning {
    /// Where the browser goes.
    pub url: String,
    /// Proves that the code was asked for here; kept by whoever exchanges it.
    pub verifier: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Everything(Map<String, Value>);

impl AdditionalClaims for Everything {}

type Token = IdToken<Everything, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, Alg>;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    id_token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct HttpError(String);

impl Provider {
    /// A provider that is asked when the first login begins.
    pub fn new(settings: ProviderSettings) -> anyhow::Result<Self> {
        let issuer = IssuerUrl::new(settings.issuer.clone()).context("oidc.issuer is no URL")?;
        let url = issuer.url();
        let here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && here) {
            bail!("oidc.issuer {:?}: expected https:// (http:// only for this machine)", settings.issuer);
        }
        let mut http = reqwest::Client::builder()
            .timeout(PATIENCE)
            // what a provider redirects to is not the provider
            .redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = &settings.ca {
            http = http.tls_certs_only([reqwest::Certificate::from_pem(pem).context("oidc.ca_file")?]);
        }
        let http = http.build().context("making the client of the identity provider")?;
        Ok(Self { settings, issuer, http, known: Mutex::default(), room: Semaphore::new(AT_ONCE) })
    }

    /// "https://id.example.com/realms/a".
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Begins a login: the browser comes back to `redirect_uri` with a code and `state`.
    pub async fn begin(&self, redirect_uri: &str, state: &str, nonce: &str) -> Result<Beginning, OidcError> {
        let metadata = self.metadata(false).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut url = metadata.authorization_endpoint().url().clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", state)
            .append_pair("nonce", nonce)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256");
        Ok(Beginning { url: url.to_string(), verifier: verifier.into_secret() })
    }

    /// Exchanges a code and checks who it stands for: signature, issuer, audience, expiry and nonce.
    pub async fn exchange(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
        nonce: &str,
        wanted: &[&str],
    ) -> Result<Somebody, OidcError> {
        let Ok(_room) = self.room.try_acquire() else {
            return Err(OidcError::Away(format!("{AT_ONCE} logins are under way; try again in a moment")));
        };
        let metadata = self.metadata(false).await?;
        let (token, access) = self.id_token(&metadata, code, verifier, redirect_uri).await?;
        let token: Token = token.parse().map_err(|error| {
            OidcError::Refused(format!("the provider's id_token cannot be read: {error}"))
        })?;
        let nonce = Nonce::new(nonce.to_owned());
        let claims = match self.checked(&metadata, &token, &nonce) {
            // the provider signs with a key of which it told after we asked
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey | SignatureVerificationError::CryptoError(_),
            )) => {
                let metadata = self.metadata(true).await?;
                self.checked(&metadata, &token, &nonce)
            }
            checked => checked,
        };
        let mut somebody = claims
            .map_err(|error| OidcError::Refused(format!("the provider's id_token does not hold: {error}")))?;
        if let Some(endpoint) = metadata.userinfo_endpoint()
            && !access.is_empty()
            && wanted.iter().any(|claim| !somebody.claims.contains_key(*claim))
        {
            self.ask_more(endpoint.url().clone(), &access, &mut somebody).await?;
        }
        Ok(somebody)
    }

    /// Claims that the provider tells only when asked (OpenID Connect Core, section 5.3). It has to speak of the same
    /// person.
    async fn ask_more(
        &self,
        url: openidconnect::url::Url,
        access: &str,
        somebody: &mut Somebody,
    ) -> Result<(), OidcError> {
        let away = |error: String| OidcError::Away(format!("the provider's userinfo: {error}"));
        let request = self.http.get(url).bearer_auth(access).header("accept", "application/json");
        let request = request.build().map_err(|error| away(error.to_string()))?;
        let sent = send(self.http.clone(), request).await;
        let (status, bytes) = sent.map_err(|error| away(error.to_string()))?;
        if !status.is_success() {
            return Err(away(status.to_string()));
        }
        let document = serde_json::from_slice(&bytes).map_err(|_| away("no JSON".to_owned()))?;
        let more = texts(&document);
        if more.get("sub").map(Vec::as_slice) != Some(std::slice::from_ref(&somebody.subject)) {
            return Err(OidcError::Refused("the provider's userinfo speaks of somebody else".to_owned()));
        }
        for (name, values) in more {
            somebody.claims.entry(name).or_insert(values);
        }
        Ok(())
    }

    fn checked(
        &self,
        metadata: &CoreProviderMetadata,
        token: &Token,
        nonce: &Nonce,
    ) -> Result<Somebody, ClaimsVerificationError> {
        let keys: CoreJsonWebKeySet = metadata.jwks().clone();
        let client = ClientId::new(self.settings.client_id.clone());
        let verifier = IdTokenVerifier::new_public_client(client, self.issuer.clone(), keys)
            .set_allowed_algs(ALGORITHMS);
        let claims = token.claims(&verifier, nonce)?;
        // the standard claims are not among the additional ones: all are read from the same checked document
        let document = serde_json::to_value(claims).unwrap_or_default();
        Ok(Somebody { subject: claims.subject().to_string(), claims: texts(&document) })
    }

    /// What the provider says of itself; `again`: it may have changed.
    async fn metadata(&self, again: bool) -> Result<Arc<CoreProviderMetadata>, OidcError> {
        let mut known = self.known.lock().await;
        if let Some(known) = &*known {
            let lately = known.again_at.is_some_and(|at| at.elapsed() < ASKED_APART);
            if known.at.elapsed() < REMEMBERED && (!again || lately) {
                return Ok(known.metadata.clone());
            }
        }
        let client = self.http.clone();
        let ask = move |request: HttpRequest| ask(client.clone(), request);
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &ask).await;
        let metadata = found.map_err(|error| {
            OidcError::Away(format!(
                "{} does not say what it is: {:#}",
                self.issuer(),
                anyhow::Error::new(error)
            ))
        })?;
        let metadata = Arc::new(metadata);
        let again_at = again.then(Instant::now);
        *known = Some(Discovered { metadata: metadata.clone(), at: Instant::now(), again_at });
        Ok(metadata)
    }

    async fn id_token(
        &self,
        metadata: &CoreProviderMetadata,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> Result<(String, String), OidcError> {
        let endpoint = metadata
            .token_endpoint()
            .ok_or_else(|| OidcError::Away("the provider names no token endpoint".to_owned()))?;
        let verifier = PkceCodeVerifier::new(verifier.to_owned());
        let ProviderSettings { client_id, client_secret, .. } = &self.settings;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.secret()),
        ];
        let mut request = self.http.post(endpoint.url().clone()).header("accept", "application/json");
        if client_secret.is_empty() {
            form.push(("client_id", client_id));
        } else {
            request = request.basic_auth(encoded(client_id), Some(encoded(client_secret)));
        }
        let body = form.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.collect::<Vec<_>>().join("&"));
        let request = request.build().map_err(|error| OidcError::Away(error.to_string()))?;
        let (status, bytes) =
            send(self.http.clone(), request).await.map_err(|error| OidcError::Away(error.to_string()))?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| {
            OidcError::Away(format!("the provider answered {status} and no JSON to the exchange of the code"))
        })?;
        if !answer.error.is_empty() || !status.is_success() {
            let why = format!("{} {}", answer.error, answer.error_description);
            let why = excerpt(why.trim(), 200);
            return Err(OidcError::Refused(format!("the provider does not take the code: {status} {why}")));
        }
        if answer.id_token.is_empty() {
            let text = "the provider sent no id_token; the scope openid has to be asked for";
            return Err(OidcError::Refused(text.to_owned()));
        }
        Ok((answer.id_token, answer.access_token))
    }
}

async fn ask(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let request = request.try_into().map_err(|error: reqwest::Error| HttpError(error.to_string()))?;
    let (status, bytes) = send(http, request).await?;
    let mut response = HttpResponse::new(bytes);
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Ok(response)
}

async fn send(
    http: reqwest::Client,
    request: reqwest::Request,
) -> Result<(http::StatusCode, Vec<u8>), HttpError> {
    let sent = http.execute(request).await;
    let mut response = sent.map_err(|error| HttpError(format!("{:#}", anyhow::Error::new(error))))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| HttpError(error.to_string()))? {
        if bytes.len() + chunk.len() > ANSWER_LIMIT {
            return Err(HttpError(format!("an answer of more than {ANSWER_LIMIT} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((response.status(), bytes))
}

/// Texts and lists of texts; anything else is passed over.
fn texts(document: &Value) -> Claims {
    let list = |value: &Value| match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => Some(items.iter().filter_map(|i| i.as_str().map(str::to_owned)).collect()),
        _ => None,
    };
    let Value::Object(members) = document else { return Claims::new() };
    members.iter().filter_map(|(name, value)| Some((name.clone(), list(value)?))).collect()
}

/// application/x-www-form-urlencoded.
fn encoded(text: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
    text.bytes().map(|b| if kept(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
