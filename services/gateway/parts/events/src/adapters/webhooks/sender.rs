//! One request to a receiver, and what came of it.

use super::guard::{Closed, Guard, Guarded};
use super::{WebhookSettings, signature};
use crate::translate::cloudevents::MEDIA_TYPE;
use anyhow::Context;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, Url, redirect};
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No request takes longer, whatever the settings say: a lease has to outlive every request that was begun under it.
const LONGEST: Duration = Duration::from_secs(15);
/// So much of an answer is read; what comes behind it is left unread.
const ANSWER_LIMIT: usize = 16 << 10;
/// Longest description of a failure, in characters.
const ERROR_LIMIT: usize = 200;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to.
    pub url: String,
    /// The header `webhook-id`.
    pub id: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Seconds since the epoch.
    pub timestamp: i64,
    /// The header `webhook-signature`.
    pub signature: String,
    /// A CloudEvent.
    pub body: Vec<u8>,
}

impl Request {
    /// A request that is signed with these secrets.
    pub fn signed(
        url: &str,
        id: &str,
        attempt: u32,
        timestamp: i64,
        secrets: &[String],
        body: Vec<u8>,
    ) -> Self {
        let signature = signature::header(secrets, id, timestamp, &body);
        Self { url: url.to_owned(), id: id.to_owned(), attempt, timestamp, signature, body }
    }
}

/// What came of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Status of the answer; 0 = none came.
    pub status: u32,
    /// What went wrong, in one sentence; "" = nothing.
    pub error: String,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
    /// How long it took.
    pub duration: Duration,
}

/// Sends requests to receivers. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    guard: Arc<Guard>,
    timeout: Duration,
}

impl Sender {
    /// A sender by these settings; `http`: plain HTTP is taken whatever they say.
    pub fn new(settings: &WebhookSettings, http: bool) -> anyhow::Result<Self> {
        let guard = Arc::new(Guard::new(&settings.allow, http || settings.allow_http));
        let timeout = Duration::from_millis(settings.timeout_ms).min(LONGEST);
        let mut builder = Client::builder()
            .user_agent(concat!("Berth/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            // a redirection would lead past the judgement of the URL
            .redirect(redirect::Policy::none())
            // so would a proxy of the environment
            .no_proxy()
            // what is sent again says so, and only we know how often
            .retry(reqwest::retry::never())
            .dns_resolver(Guarded(guard.clone()))
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(30))
            .http2_max_header_list_size(16 << 10);
        if !settings.ca_file.as_os_str().is_empty() {
            let place = || format!("webhooks.ca_file {}", settings.ca_file.display());
            let pem = std::fs::read(&settings.ca_file).with_context(place)?;
            builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).with_context(place)?);
        }
        Ok(Self { client: builder.build().context("a client for webhooks")?, guard, timeout })
    }

    /// The longest a request takes.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether anything may be sent to a URL, as far as the URL itself tells.
    pub fn check(&self, url: &Url) -> Result<(), Closed> {
        self.guard.check(url)
    }

    /// Sends one request and waits for the answer.
    pub async fn send(&self, request: Request) -> Attempt {
        let began = Instant::now();
        let mut attempt = self.answered(request).await;
        attempt.duration = began.elapsed();
        attempt
    }

    async fn answered(&self, request: Request) -> Attempt {
        let failed = |error: String| Attempt { error, ..Attempt::default() };
        let url = match Url::parse(&request.url) {
            Ok(url) => url,
            Err(error) => return failed(format!("the URL cannot be read: {error}")),
        };
        // checked each time: the settings may be others than when the URL was taken
        if let Err(closed) = self.guard.check(&url) {
            return failed(closed.to_string());
        }
        let sent = self
            .client
            .post(url)
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .header("webhook-id", request.id)
            .header("webhook-timestamp", request.timestamp)
            .header("webhook-signature", request.signature)
            .header("berth-delivery-attempt", request.attempt)
            .body(request.body)
            .send();
        match sent.await {
            Ok(response) => answer(response).await,
            Err(error) => failed(self.why(&error)),
        }
    }

    /// Why no answer came, for whoever owns the webhook.
    fn why(&self, error: &reqwest::Error) -> String {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(closed) = inner.downcast_ref::<Closed>() {
                return closed.to_string();
            }
            causes.push(inner.to_string());
            cause = inner.source();
        }
        if error.is_timeout() {
            return format!("no answer within {} ms", self.timeout.as_millis());
        }
        let last = causes.pop().unwrap_or_else(|| "no answer".to_owned());
        let what = if error.is_connect() { "no connection" } else { "the connection broke" };
        // what a receiver shows of itself may stand in it
        kernel::printable(&format!("{what}: {last}")).chars().take(ERROR_LIMIT).collect()
    }
}

/// How long a receiver asks to be left alone: seconds, or a time, which is reckoned from its own clock (RFC 9110,
/// section 10.2.3).
fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp());
    let span = time(asked)?.duration_since(time(text(DATE)?)?);
    Duration::try_from(span).ok()
}

async fn answer(mut response: Response) -> Attempt {
    let status = response.status();
    let retry_after = asked_for(response.headers());
    // read, so that the connection can be used again, but not for ever
    let mut read = 0;
    while read < ANSWER_LIMIT {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            _ => break,
        }
    }
    let error = match status.as_u16() {
        200..=299 => String::new(),
        300..=399 => format!("the receiver answered {status}: redirections are not followed"),
        410 => format!("the receiver answered {status}: it wants nothing any more"),
        _ => format!("the receiver answered {status}"),
    };
    Attempt { status: u32::from(status.as_u16()), error, retry_after, duration: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_asks_for_seconds_or_for_a_time() {
        let asked = |retry_after: &str, date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry_after.parse().expect("a header"));
            headers.insert(DATE, date.parse().expect("a header"));
            asked_for(&headers).map(|time| time.as_secs())
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(asked("120", date), Some(120));
        assert_eq!(asked("Sun, 06 Nov 1994 08:51:37 GMT", date), Some(120));
        assert_eq!(asked("Sun, 06 Nov 1994 08:48:37 GMT", date), None, "it is over");
        for nothing in ["", "-5", "soon", "1.5"] {
            assert_eq!(asked(nothing, date), None, "{nothing}");
        }
        assert_eq!(asked_for(&HeaderMap::new()), None);
    }

    #[test]
    fn no_request_outlives_its_lease() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = WebhookSettings { timeout_ms: 600_000, ..WebhookSettings::default() };
        assert_eq!(Sender::new(&settings, false).expect("a sender").timeout(), LONGEST);
        let missing = WebhookSettings { ca_file: "/nowhere.pem".into(), ..WebhookSettings::default() };
        let error = Sender::new(&missing, false).err().expect("no file");
        assert!(format!("{error:#}").contains("/nowhere.pem"), "{error:#}");
    }
}
