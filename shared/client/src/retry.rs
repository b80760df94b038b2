//! Sending a request again when the connection failed, under the same idempotency key.

use super::failure::{is_transport, timed_out_here};
use super::{Exit, Failure, Gateway};
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response, Status};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// The header that makes a repeated request the same request. REST calls it `Idempotency-Key`.
const HEADER: &str = "idempotency-key";

/// Names one intention of the user: the platform does it once, however often the request arrives.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    text: String,
    header: MetadataValue<Ascii>,
}

impl IdempotencyKey {
    /// A key of this invocation's own.
    pub fn random() -> Self {
        let text = uuid::Uuid::now_v7().to_string();
        let header = MetadataValue::try_from(text.as_str()).expect("a UUID is plain ASCII");
        Self { text, header }
    }

    /// A key the user chose: 1 to 128 visible ASCII characters.
    pub fn given(text: &str) -> Result<Self, Failure> {
        let explain = || {
            Failure::usage(format!(
                "idempotency key {text:?}: expected 1 to 128 letters, digits and signs, no blanks"
            ))
        };
        if text.is_empty() || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(explain());
        }
        let header = MetadataValue::try_from(text).map_err(|_| explain())?;
        Ok(Self { text: text.to_owned(), header })
    }

    /// The key of a part of the same intention, such as one of several files.
    pub fn part(&self, name: &str) -> Self {
        let text = format!("{}.{name}", self.text);
        let header = MetadataValue::try_from(text.as_str()).unwrap_or_else(|_| self.header.clone());
        Self { text, header }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn put_on<T>(&self, request: &mut Request<T>) {
        request.metadata_mut().insert(HEADER, self.header.clone());
    }
}

/// The pauses between attempts: doubling, with jitter so that many clients do not come back at once.
#[derive(Debug)]
pub struct Retries {
    left: u32,
    pause: Duration,
}

impl Retries {
    /// `attempts` in all, the first included.
    pub fn new(attempts: u32) -> Self {
        Self { left: attempts.saturating_sub(1), pause: FIRST_PAUSE }
    }

    /// The pause before the next attempt; `None` when all are used.
    pub fn next_pause(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = self.pause.mul_f64(rand::random_range(0.75..1.25));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }

    /// Begin anew: the connection has worked in between.
    pub fn reset(&mut self, attempts: u32) {
        *self = Self::new(attempts);
    }
}

impl Gateway {
    /// A call that changes nothing. Sent again when the connection fails.
    pub async fn read<Req: Clone, Resp>(
        &self,
        request: Req,
        call: impl AsyncFn(Request<Req>) -> Result<Response<Resp>, Status>,
    ) -> Result<Resp, Failure> {
        self.send(request, None, self.request_timeout, call).await
    }

    /// A call that changes something. Sent again with the same key when the connection fails, so that a lost answer
    /// never makes a second instance.
    pub async fn change<Req: Clone, Resp>(
        &self,
        request: Req,
        key: &IdempotencyKey,
        call: impl AsyncFn(Request<Req>) -> Result<Response<Resp>, Status>,
    ) -> Result<Resp, Failure> {
        self.send(request, Some(key), self.request_timeout, call).await
    }

    pub(super) async fn send<Req: Clone, Resp>(
        &self,
        request: Req,
        key: Option<&IdempotencyKey>,
        limit: Duration,
        call: impl AsyncFn(Request<Req>) -> Result<Response<Resp>, Status>,
    ) -> Result<Resp, Failure> {
        let mut retries = Retries::new(self.attempts);
        loop {
            let mut message = Request::new(request.clone());
            message.set_timeout(limit);
            if let Some(key) = key {
                key.put_on(&mut message);
            }
            // the connection may hang without a word, so the limit holds on this side too
            let status = match tokio::time::timeout(limit + Duration::from_secs(1), call(message)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => return Err(self.too_slow(key, limit)),
            };
            match retries.next_pause() {
                Some(pause) if is_transport(&status) => tokio::time::sleep(pause).await,
                _ if timed_out_here(&status) => return Err(self.too_slow(key, limit)),
                _ => {
                    let failure = Failure::from_status(&status, &self.endpoint);
                    return Err(super::scheme::explain(failure, &self.endpoint).await);
                }
            }
        }
    }

    fn too_slow(&self, key: Option<&IdempotencyKey>, limit: Duration) -> Failure {
        let failure = Failure::new(
            Exit::Timeout,
            format!("no answer from {} within {} s", self.endpoint, limit.as_secs()),
        );
        match key {
            Some(key) => failure.hint(format!(
                "it may have been accepted: repeat the command with --idempotency-key {} and it is done once only",
                key.as_str()
            )),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut retries = Retries::new(4);
        let pauses: Vec<Duration> = std::iter::from_fn(|| retries.next_pause()).collect();
        assert_eq!(pauses.len(), 3, "{pauses:?}");
        assert!(pauses[2] > pauses[0], "{pauses:?}");
        assert_eq!(Retries::new(1).next_pause(), None);
    }

    #[test]
    fn a_key_must_fit_into_a_header() {
        for bad in ["", "two words", "tab\t", "ü", &"x".repeat(129)] {
            assert_eq!(IdempotencyKey::given(bad).expect_err(bad).exit, Exit::Usage);
        }
        assert_eq!(
            IdempotencyKey::given("deploy-17").expect("a key").part("kernel").as_str(),
            "deploy-17.kernel"
        );
        assert_ne!(IdempotencyKey::random().as_str(), IdempotencyKey::random().as_str());
    }
}
