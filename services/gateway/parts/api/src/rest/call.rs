//! One REST request through the same services as gRPC.

use super::answer;
use super::cloud_events;
use super::fields::{self, Sources};
use super::frames::{Frames, frame};
use super::problem::Problem;
use crate::api::admit::Admit;
use crate::api::audit::{Draft, Drafts, layer};
use crate::domain::caller::Caller;
use crate::domain::violation::Violation;
use crate::translate::{self, status};
use axum::body::Body;
use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::response::{IntoResponse, Response};
use contracts::Method;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kernel::limits::REST_BODY;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};
use tower::ServiceExt;

/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How long an answer may take: the longest wait for an operation, and some.
const ANSWER_PATIENCE: Duration = Duration::from_secs(75);

/// Headers that mean the same on both doors.
const PASSED_ON: [&str; 4] = ["idempotency-key", "prefer", "traceparent", "tracestate"];

/// What REST handlers need: the gRPC services and the one who decides who comes in.
#[derive(Clone)]
pub struct Door {
    /// The gRPC services with all their layers.
    pub grpc: axum::Router,
    /// Checks tokens before a body is read.
    pub admit: Arc<dyn Admit>,
    /// Records calls that do not get as far as the services.
    pub drafts: Arc<Drafts>,
    /// WebSockets of readers that are open: they say goodbye before the process ends.
    pub sockets: TaskTracker,
}

impl Door {
    /// Who asks, if they may. What goes wrong from here on is recorded under their name.
    pub async fn admit(&self, method: &Method, parts: &Parts) -> Result<Caller, Status> {
        let caller = self.admit.admit(&parts.headers, &parts.extensions, method).await?;
        if let Some(draft) = parts.extensions.get::<Arc<Draft>>() {
            draft.is_by(translate::audit::who(&caller));
        }
        Ok(caller)
    }

    /// Sends a framed request to the method; answers its messages, or the status it ended with at once.
    pub async fn send(
        &self,
        method: &Method,
        parts: &Parts,
        caller: Caller,
        body: Body,
    ) -> Result<Frames, Status> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() =
            method.grpc_path().parse().map_err(|_| Status::internal("a method without a path"))?;
        *request.version_mut() = http::Version::HTTP_2;
        let inner = request.headers_mut();
        inner.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        inner.insert(header::TE, HeaderValue::from_static("trailers"));
        for name in PASSED_ON {
            for value in parts.headers.get_all(name) {
                inner.append(name, value.clone());
            }
        }
        request.extensions_mut().insert(caller);
        if let Some(draft) = parts.extensions.get::<Arc<Draft>>() {
            request.extensions_mut().insert(draft.clone());
        }
        let Ok(response) = self.grpc.clone().oneshot(request).await;
        match Status::from_header_map(response.headers()) {
            Some(status) if status.code() != tonic::Code::Ok => Err(status),
            _ => Ok(Frames::new(response.into_body())),
        }
    }
}

/// A method with one request and one answer.
pub async fn unary(door: Door, method: &'static Method, request: Request<Body>) -> Response {
    let answer = tokio::time::timeout(ANSWER_PATIENCE, answer(&door, method, request)).await;
    match answer {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => Problem::of(&Status::deadline_exceeded("the answer took too long")).into_response(),
    }
}

async fn answer(door: &Door, method: &Method, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = match door.admit(method, &parts).await {
        Ok(caller) => caller,
        Err(status) => {
            if status.code() == Code::PermissionDenied {
                note_denied(method, parts, body).await;
            }
            return Err(Problem::of(&status));
        }
    };
    let message = match method.body {
        contracts::Body::CloudEvents => cloud_events::message(&parts, &collect(body).await?)?,
        contracts::Body::Request | contracts::Body::Foreign => {
            let mut body = json_body(&parts.headers, body).await?;
            if method.body == contracts::Body::Foreign {
                body = cloud_events::known_fields(method, body);
            }
            message(method, Sources { body, ..uri_fields(&mut parts).await? })?
        }
    };
    let sent = door.send(method, &parts, caller, Body::from(message)).await;
    let mut frames = sent.map_err(|s| Problem::of(&s))?;
    let mut last = None;
    while let Some(bytes) = frames.next().await.map_err(|s| Problem::of(&s))? {
        last = Some(bytes);
    }
    let bytes = last.ok_or_else(|| Problem::of(&Status::internal("no answer came")))?;
    let output = method.descriptor.output();
    let mut json = answer::json(&output, &bytes).map_err(|s| Problem::of(&s))?;
    if !method.response_body.is_empty() {
        json = json.get_mut(&method.response_body).map_or(serde_json::Value::Null, serde_json::Value::take);
    }
    // whoever gets an operation has to wait for it
    let begun = is_accepted(method);
    let status = if begun { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, axum::Json(json)).into_response())
}

/// Notes what a caller who is known, and may not, wanted to do it to.
async fn note_denied(method: &Method, mut parts: Parts, body: Body) {
    let Some(draft) = parts.extensions.get::<Arc<Draft>>().cloned() else { return };
    if let Some(bytes) = layer::at_once(body).await
        && let Ok(fields) = json_body(&parts.headers, Body::from(bytes)).await
        && let Ok(in_uri) = uri_fields(&mut parts).await
        && let Ok(message) = fields::message(&method.descriptor.input(), Sources { body: fields, ..in_uri })
    {
        draft.wanted(&message);
    }
}

/// Whether what the method takes is worked on later: it answers 202.
pub fn is_accepted(method: &Method) -> bool {
    method.body != contracts::Body::Request
        || method.descriptor.output().get_field_by_name("operation_id").is_some()
}

/// The framed request of a method.
pub fn message(method: &Method, sources: Sources) -> Result<bytes::Bytes, Problem> {
    let message = fields::message(&method.descriptor.input(), sources).map_err(|v| invalid(&v))?;
    Ok(frame(&message.encode_to_vec()))
}

fn invalid(violation: &Violation) -> Problem {
    Problem::of(&status::invalid(violation.clone()))
}

/// Fields in the path and the query.
pub async fn uri_fields(parts: &mut Parts) -> Result<Sources, Problem> {
    let bad = |what: &str| {
        Problem::http(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", format!("{what} is not valid UTF-8"))
    };
    let path = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| bad("the path"))?;
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let Query(query) =
        Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| bad("the query"))?;
    Ok(Sources { path, query, ..Sources::default() })
}

async fn json_body(
    headers: &HeaderMap,
    body: Body,
) -> Result<serde_json::Map<String, serde_json::Value>, Problem> {
    let bytes = collect(body).await?;
    if bytes.is_empty() {
        return Ok(serde_json::Map::new());
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(|v| v.to_str().unwrap_or_default());
    let json = content_type.is_none_or(|t| {
        let essence = t.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    });
    if !json {
        let detail = "send the body as application/json";
        return Err(Problem::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail));
    }
    match serde_json::from_slice(&bytes) {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(_) => Err(invalid(&Violation::new("", "the body must be a JSON object"))),
        Err(e) => Err(invalid(&Violation::new("", format!("the body is not JSON: {e}")))),
    }
}

async fn collect(body: Body) -> Result<bytes::Bytes, Problem> {
    match tokio::time::timeout(BODY_PATIENCE, Limited::new(body, REST_BODY.length()).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(Problem::http(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PAYLOAD_TOO_LARGE",
            format!("a body has at most {REST_BODY}"),
        )),
        Ok(Err(e)) => {
            Err(Problem::http(StatusCode::BAD_REQUEST, "BODY_BROKE_OFF", format!("the body broke off: {e}")))
        }
        Err(_) => Err(Problem::http(
            StatusCode::REQUEST_TIMEOUT,
            "BODY_TOO_SLOW",
            "the body did not arrive in time",
        )),
    }
}
