//! Where calls become records: around the check of tokens, so that what it refuses is seen, and behind it, where it
//! is known who asks for what.

use super::{Answered, Draft, Drafts};
use crate::api::admit::method_of;
use crate::api::kinds::KIND_LIMIT;
use crate::domain::caller::Caller;
use crate::domain::violation::Violation;
use crate::translate::status::code_name;
use crate::translate::{audit as translate, status};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use contracts::{Method, texts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost_reflect::DynamicMessage;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// Flag and length before a message.
const PREFIX: usize = 5;
/// Longest request of one message.
const LIMIT: usize = crate::api::REQUEST_LIMIT + PREFIX;
/// How long a request may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Longest request of a caller who may not that is looked at, for the name of what it is about.
const DENIED_LIMIT: usize = 64 << 10;
/// How long it may take to arrive.
const DENIED_PATIENCE: Duration = Duration::from_secs(1);

/// Records a call once it is answered. One that came by REST brings its draft along.
pub async fn record(State(drafts): State<Arc<Drafts>>, mut request: Request, next: Next) -> Response {
    let Some(method) = method_of(request.uri().path()) else { return next.run(request).await };
    let brought = request.extensions().get::<Arc<Draft>>().cloned();
    let draft =
        brought.unwrap_or_else(|| drafts.draft(method, "grpc", request.headers(), request.extensions()));
    request.extensions_mut().insert(draft.clone());
    draft.in_services();
    let call = async move {
        let response = next.run(request).await;
        let status = Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok(""));
        let refusal = status::details(&status).0.map(|refusal| refusal.code).unwrap_or_default();
        let name = code_name(status.code()).to_owned();
        (response, Some(Answered { code: status.code(), name, refusal }))
    };
    draft.follow(call).await.unwrap_or_else(Status::into_http)
}

/// Notes who asks for what, and lets nothing in that no table takes: neither the request nor its record could be kept.
pub async fn note(request: Request, next: Next) -> Response {
    let Some(method) = method_of(request.uri().path()) else { return next.run(request).await };
    let draft = request.extensions().get::<Arc<Draft>>().cloned();
    if let (Some(draft), Some(caller)) = (&draft, request.extensions().get::<Caller>()) {
        draft.is_by(translate::who(caller));
    }
    // what comes in a stream is looked at where it is read
    if method.descriptor.is_client_streaming() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    // it is decoded here: what the method would not take is not looked at
    let limit = if method.op.is_some() { KIND_LIMIT + PREFIX } else { LIMIT };
    let whole = tokio::time::timeout(BODY_PATIENCE, Limited::new(body, limit).collect());
    let bytes = match whole.await.unwrap_or_else(|_| Err("it did not arrive in time".into())) {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let text = format!("a request has at most {} bytes", limit - PREFIX);
            return Status::out_of_range(text).into_http();
        }
        Err(error) => {
            return Status::new(Code::Cancelled, format!("the request broke off: {error}")).into_http();
        }
    };
    // what is no request of this method is refused by the method itself
    if let Some(draft) = draft.filter(|_| method.mutating)
        && let Some(message) = read(method, &bytes)
    {
        draft.asks(&message);
    }
    let unstorable = message(&bytes).and_then(|sent| texts::unstorable(&method.descriptor.input(), &sent));
    if let Some(field) = unstorable {
        let text = "a text cannot hold the character U+0000";
        return status::invalid(Violation::new(field, text)).into_http();
    }
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}

/// Notes what a caller who is known, and may not, wanted to do it to.
pub async fn note_denied(method: &Method, request: Request) {
    if method.descriptor.is_client_streaming() {
        return;
    }
    let (parts, body) = request.into_parts();
    if let Some(draft) = parts.extensions.get::<Arc<Draft>>()
        && let Some(bytes) = at_once(body).await
        && let Some(message) = read(method, &bytes)
    {
        draft.wanted(&message);
    }
}

/// A body that is short and comes at once: nothing more is read of who may not.
pub async fn at_once(body: Body) -> Option<Bytes> {
    let body = Limited::new(body, DENIED_LIMIT).collect();
    Some(tokio::time::timeout(DENIED_PATIENCE, body).await.ok()?.ok()?.to_bytes())
}

fn read(method: &Method, bytes: &Bytes) -> Option<DynamicMessage> {
    DynamicMessage::decode(method.descriptor.input(), message(bytes)?).ok()
}

/// The one message of a body that is not compressed.
fn message(body: &Bytes) -> Option<Bytes> {
    let prefix = body.get(..PREFIX)?;
    let length = prefix.iter().skip(1).fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
    (prefix.first() == Some(&0) && body.len() == length + PREFIX).then(|| body.slice(PREFIX..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::frames::frame;

    #[test]
    fn one_whole_message_is_read() {
        assert_eq!(message(&frame(b"one")).as_deref(), Some(&b"one"[..]));
        assert_eq!(message(&frame(b"one").slice(..6)), None);
        assert_eq!(message(&Bytes::from_static(b"\x01\0\0\0\0")), None, "compressed");
        assert_eq!(message(&Bytes::new()), None);
    }
}
