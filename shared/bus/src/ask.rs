//! Asking the service that owns something, and waiting for its answer. A question changes nothing and nothing keeps it:
//! an owner that is away is told to whoever asks, at once.

use crate::wait::Wait;
use crate::{Connection, trace};
use async_nats::{HeaderMap, Request, RequestErrorKind};
use contracts::Question;
use contracts::common::v1 as common;
use kernel::Refusal;
use prost::Message as _;
use std::time::Duration;

/// Whose sake a question is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asking {
    /// Whose: a tenant, or the platform.
    pub tenant: String,
    /// Who: "admin".
    pub actor: String,
}

/// Longest an answer is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// A process that starts again is back within this.
const SECOND_TRY: Duration = Duration::from_millis(250);

/// Header of an answer that is none: why.
pub(crate) const NO_ANSWER: &str = "No-Answer";
pub(crate) const BUSY: &str = "busy";
pub(crate) const REFUSED: &str = "refused";
pub(crate) const UNREADABLE: &str = "unreadable";
pub(crate) const TENANT: &str = "Tenant";
pub(crate) const ACTOR: &str = "Actor";
pub(crate) const TRACEPARENT: &str = "traceparent";

/// There is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No process of the service listens.
    #[error("{0} does not answer just now")]
    Away(&'static str),
    /// It listens, and did not answer in time.
    #[error("{0} did not answer within {1:?}")]
    Slow(&'static str, Duration),
    /// It answers as many as it can already.
    #[error("{0} answers as many questions as it can just now")]
    Busy(&'static str),
    /// It will not answer this.
    #[error("{0}")]
    Refused(Refusal),
    /// It could not read the question, or we its answer: they are of versions that do not go together.
    #[error("{0} and who asks it do not understand each other: {1}")]
    Unreadable(&'static str, String),
    /// The broker cannot be used.
    #[error("the broker: {0}")]
    Broker(String),
}

impl Connection {
    /// Asks, and waits for the answer at most `patience`, which is cut to [`PATIENCE`].
    pub async fn ask<Q: Question>(
        &self,
        question: &Q,
        asking: &Asking,
        patience: Duration,
    ) -> Result<Q::Answer, AskError> {
        let payload: bytes::Bytes = question.encode_to_vec().into();
        let patience = patience.min(PATIENCE);
        match self.ask_once::<Q>(payload.clone(), asking, patience).await {
            Err(AskError::Away(_)) => {
                tokio::time::sleep(SECOND_TRY.min(patience)).await;
                self.ask_once::<Q>(payload, asking, patience).await
            }
            other => other,
        }
    }

    async fn ask_once<Q: Question>(
        &self,
        payload: bytes::Bytes,
        asking: &Asking,
        patience: Duration,
    ) -> Result<Q::Answer, AskError> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(TENANT, &asking.tenant), (ACTOR, &asking.actor)] {
            headers.insert(name, value.as_str());
        }
        let traceparent = trace::current();
        if !traceparent.is_empty() {
            headers.insert(TRACEPARENT, traceparent.as_str());
        }
        let request = Request::new().payload(payload).headers(headers).timeout(Some(patience));
        let answer = Wait::new(self).answer(self.client().send_request(Q::subject(), request)).await;
        let message = match answer.map_err(AskError::Broker)? {
            Ok(message) => message,
            Err(error) => {
                return Err(match error.kind() {
                    RequestErrorKind::NoResponders => AskError::Away(Q::SERVICE),
                    RequestErrorKind::TimedOut => AskError::Slow(Q::SERVICE, patience),
                    _ => AskError::Broker(error.to_string()),
                });
            }
        };
        let reason = message.headers.as_ref().and_then(|headers| headers.get(NO_ANSWER));
        let unreadable = |why: String| AskError::Unreadable(Q::SERVICE, why);
        match reason.map(async_nats::HeaderValue::as_str) {
            None => Q::Answer::decode(message.payload).map_err(|error| unreadable(error.to_string())),
            Some(BUSY) => Err(AskError::Busy(Q::SERVICE)),
            Some(REFUSED) => {
                let refusal = common::Refusal::decode(message.payload);
                Err(refusal.map_or_else(|e| unreadable(e.to_string()), |r| AskError::Refused(r.into())))
            }
            Some(_) => Err(unreadable(String::from_utf8_lossy(&message.payload).into_owned())),
        }
    }
}
