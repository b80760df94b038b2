//! Fetching files from web servers that tenants name.

use super::guarded_dns::{ForbiddenAddress, GuardedDns};
use super::intake::{Intake, ScratchFile};
use crate::domain::code;
use kernel::{Bytes, Refusal};
use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What fetching may cost.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Connect to loopback, private and link-local addresses too.
    pub allow_private: bool,
    /// For a connection, TLS included.
    pub connect_timeout: Duration,
    /// Without a byte coming.
    pub idle_timeout: Duration,
    /// For one file in all.
    pub deadline: Duration,
    /// Redirects followed.
    pub redirects: u32,
}

/// A file was not fetched.
#[derive(Debug)]
pub enum FetchError {
    /// It never will be.
    Refused(Refusal),
    /// It may be, later.
    Transient(String),
    /// It cannot be kept here now.
    Storage(std::io::Error),
}

impl FetchError {
    fn unreachable(message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code::UNREACHABLE, message))
    }
}

impl From<std::io::Error> for FetchError {
    fn from(error: std::io::Error) -> Self {
        Self::Storage(error)
    }
}

/// A web client with a guard before it.
pub struct Fetcher {
    client: Client,
    guard: GuardedDns,
    limits: FetchLimits,
}

impl Fetcher {
    /// A client. A TLS provider must be installed in the process before.
    pub fn new(limits: FetchLimits) -> Result<Self, reqwest::Error> {
        let guard = GuardedDns { allow_private: limits.allow_private };
        let client = Client::builder()
            .user_agent(concat!("berth-storage/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(guard))
            // each hop is checked here, and a proxy would resolve names behind the guard's back
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(limits.connect_timeout)
            .read_timeout(limits.idle_timeout)
            .build()?;
        Ok(Self { client, guard, limits })
    }

    /// Brings the file at `url` into `folder`: at most `max_bytes`, exactly `declared` bytes unless that is 0.
    pub async fn fetch(
        &self,
        url: &str,
        folder: &Path,
        declared: u64,
        max_bytes: u64,
    ) -> Result<ScratchFile, FetchError> {
        let work = async {
            let response = self.open(url).await?;
            self.receive(response, folder, declared, max_bytes).await
        };
        let late = |_| {
            let message = format!("the file was not here within {} s", self.limits.deadline.as_secs());
            Err(FetchError::Transient(message))
        };
        tokio::time::timeout(self.limits.deadline, work).await.unwrap_or_else(late)
    }

    async fn open(&self, url: &str) -> Result<Response, FetchError> {
        let mut url = Url::parse(url).map_err(|e| FetchError::unreachable(format!("not a URL: {e}")))?;
        for _ in 0..=self.limits.redirects {
            self.check(&url)?;
            let request = self.client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
            let response = request.send().await.map_err(explain)?;
            let status = response.status();
            if status.is_success() && status != StatusCode::PARTIAL_CONTENT {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(answered(status));
            }
            let location = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
            url = location.and_then(|location| url.join(location).ok()).ok_or_else(|| {
                FetchError::unreachable(format!("the server redirects ({status}) without saying where to"))
            })?;
        }
        Err(FetchError::unreachable(format!(
            "the server redirects more than {} times",
            self.limits.redirects
        )))
    }

    /// Scheme and literal addresses; names are checked when they are resolved.
    fn check(&self, url: &Url) -> Result<(), FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::unreachable(format!(
                "only http and https are fetched, not {}",
                url.scheme()
            )));
        }
        let host = url.host_str().unwrap_or_default();
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => self.guard.check(host, address).map_err(|e| forbidden(&e)),
            Err(_) => Ok(()),
        }
    }

    async fn receive(
        &self,
        mut response: Response,
        folder: &Path,
        declared: u64,
        max_bytes: u64,
    ) -> Result<ScratchFile, FetchError> {
        let limit = if declared == 0 { max_bytes } else { declared.min(max_bytes) };
        let too_much = |bytes: u64| {
            let refusal = match declared != 0 && declared <= max_bytes {
                true => Refusal::new(
                    code::SIZE_MISMATCH,
                    format!("the server sends at least {bytes} bytes; {declared} were declared"),
                ),
                false => {
                    Refusal::new(code::TOO_LARGE, format!("the server sends more than {}", Bytes(max_bytes)))
                }
            };
            Err(FetchError::Refused(refusal))
        };
        if let Some(length) = response.content_length().filter(|length| *length > limit) {
            return too_much(length);
        }
        let mut intake = Intake::begin(folder)?;
        while let Some(chunk) = response.chunk().await.map_err(explain)? {
            if intake.size() + chunk.len() as u64 > limit {
                return too_much(intake.size() + chunk.len() as u64);
            }
            intake.write(&chunk).await?;
        }
        Ok(intake.finish().await?)
    }
}

fn answered(status: StatusCode) -> FetchError {
    let message = format!("the server answered {status}");
    let may_pass = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY
        );
    if may_pass { FetchError::Transient(message) } else { FetchError::unreachable(message) }
}

fn forbidden(error: &ForbiddenAddress) -> FetchError {
    FetchError::Refused(Refusal::new(code::ADDRESS_FORBIDDEN, error.to_string()))
}

/// The guard's refusal out of the client's error, or the innermost cause in words.
fn explain(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    loop {
        if let Some(guarded) = cause.downcast_ref::<ForbiddenAddress>() {
            return forbidden(guarded);
        }
        match cause.source() {
            Some(source) => cause = source,
            None => return FetchError::Transient(format!("{error}: {cause}")),
        }
    }
}
