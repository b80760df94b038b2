//! A message as it travels: the payload says what, headers say how.

use crate::Cause;
use async_nats::HeaderMap;
use bytes::Bytes;
use kernel::{MessageId, Subject, Timestamp};
use std::collections::BTreeMap;

const MESSAGE_ID: &str = "Nats-Msg-Id";
const TRACEPARENT: &str = "traceparent";
const CORRELATION: &str = "Correlation-Id";
const CAUSATION: &str = "Causation-Id";
const ACTOR: &str = "Actor";
const TENANT: &str = "Tenant";
const OCCURRED_AT: &str = "Occurred-At";

/// A message with all that is known about it.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Unique; also the server's deduplication id.
    pub id: MessageId,
    /// Where it travels.
    pub subject: Subject,
    /// Why, who, whose.
    pub cause: Cause,
    /// When it was decided.
    pub occurred_at: Timestamp,
    /// Protobuf bytes.
    pub payload: Bytes,
}

/// A message that does not say who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidEnvelope(pub String);

impl Envelope {
    /// The headers, in a stable order.
    pub fn headers(&self) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::from([
            (MESSAGE_ID.to_owned(), self.id.to_string()),
            (CORRELATION.to_owned(), self.cause.correlation.to_string()),
            (ACTOR.to_owned(), one_line(&self.cause.actor)),
            (TENANT.to_owned(), one_line(&self.cause.tenant)),
            (OCCURRED_AT.to_owned(), rfc3339(self.occurred_at)),
        ]);
        if let Some(causation) = self.cause.causation {
            headers.insert(CAUSATION.to_owned(), causation.to_string());
        }
        if !self.cause.traceparent.is_empty() {
            headers.insert(TRACEPARENT.to_owned(), one_line(&self.cause.traceparent));
        }
        headers
    }

    /// Reads a message as it came; the error says which header or token is wrong.
    pub fn read(subject: &str, headers: Option<&HeaderMap>, payload: Bytes) -> Result<Self, InvalidEnvelope> {
        let get = |name: &str| headers.and_then(|h| h.get(name)).map(|v| v.as_str().to_owned());
        Self::from_parts(subject, get, payload)
    }

    /// Reads a message from its parts, wherever they are kept.
    pub fn from_parts(
        subject: &str,
        get: impl Fn(&str) -> Option<String>,
        payload: Bytes,
    ) -> Result<Self, InvalidEnvelope> {
        let need = |name: &str| get(name).ok_or_else(|| InvalidEnvelope(format!("header {name} is missing")));
        let id =
            |name: &str, text: String| InvalidEnvelope(format!("header {name} is {text:?}, expected a UUID"));
        let message_id = need(MESSAGE_ID)?;
        let message_id = message_id.parse().map_err(|_| id(MESSAGE_ID, message_id))?;
        let correlation = need(CORRELATION)?;
        let causation = match get(CAUSATION) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| id(CAUSATION, text))?),
        };
        let occurred_at = need(OCCURRED_AT)?;
        Ok(Self {
            id: message_id,
            subject: subject.parse().map_err(|e: kernel::InvalidSubject| InvalidEnvelope(e.to_string()))?,
            cause: Cause {
                correlation: correlation.parse().map_err(|_| id(CORRELATION, correlation))?,
                causation,
                actor: need(ACTOR)?,
                tenant: need(TENANT)?,
                traceparent: get(TRACEPARENT).unwrap_or_default(),
            },
            occurred_at: parse_rfc3339(&occurred_at).ok_or_else(|| {
                InvalidEnvelope(format!("header {OCCURRED_AT} is {occurred_at:?}, expected RFC 3339"))
            })?,
            payload,
        })
    }
}

/// Header values are one line: a value from outside must not add headers.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|t| Timestamp(t.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::CorrelationId;

    fn envelope() -> Envelope {
        Envelope {
            id: MessageId::new(),
            subject: "evt.scheduler.v1.InstanceReady.acme.x".parse().expect("subject"),
            cause: Cause {
                correlation: CorrelationId::new(),
                causation: Some(MessageId::new()),
                actor: "ann\r\nTenant: other".into(),
                tenant: "acme".into(),
                traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            },
            occurred_at: Timestamp(1_780_000_000_123_456),
            payload: Bytes::from_static(b"x"),
        }
    }

    #[test]
    fn headers_are_read_back_and_cannot_be_injected() {
        let sent = envelope();
        let headers = sent.headers();
        assert!(headers.values().all(|v| !v.contains(['\r', '\n'])));
        let read = Envelope::from_parts(
            &sent.subject.to_string(),
            |n| headers.get(n).cloned(),
            sent.payload.clone(),
        )
        .expect("read");
        assert_eq!(
            (read.id, read.occurred_at, read.cause.causation),
            (sent.id, sent.occurred_at, sent.cause.causation)
        );
        assert_eq!(read.cause.tenant, "acme");
    }

    #[test]
    fn a_missing_or_wrong_header_is_named() {
        for name in [MESSAGE_ID, CORRELATION, ACTOR, TENANT, OCCURRED_AT] {
            let mut headers = envelope().headers();
            headers.remove(name);
            let error = Envelope::from_parts("evt.a.v1.B.c.d", |n| headers.get(n).cloned(), Bytes::new())
                .expect_err("missing");
            assert!(error.0.contains(name), "{error}");
        }
        let mut headers = envelope().headers();
        headers.insert(OCCURRED_AT.into(), "yesterday".into());
        assert!(Envelope::from_parts("evt.a.v1.B.c.d", |n| headers.get(n).cloned(), Bytes::new()).is_err());
    }
}
