//! Which path leads to which method.

use super::call::{self, Door};
use super::problem::Problem;
use super::{cloud_events, console, event_socket, lines, openapi, sse, upload};
use crate::api::audit::{Answered, Draft};
use crate::translate;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use contracts::Method;
use http::{Request, StatusCode, Uri, header};
use std::pin::Pin;
use tonic::Code;

/// How a method is carried over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// JSON in, JSON out.
    Unary,
    /// A stream of messages out: Server-Sent Events.
    Events,
    /// The same as a WebSocket.
    EventSocket,
    /// A stream of messages out that ends by itself: JSON lines or CSV.
    Lines,
    /// A stream of messages in: the body as it comes.
    Upload,
    /// Streams both ways: a WebSocket.
    Socket,
    /// No call: a sender of CloudEvents asks whether it may deliver here.
    Handshake,
}

/// The shape follows from which sides stream.
pub fn shape(method: &Method) -> Shape {
    match (method.descriptor.is_client_streaming(), method.descriptor.is_server_streaming()) {
        (false, false) => Shape::Unary,
        (false, true) if method.lines => Shape::Lines,
        (false, true) => Shape::Events,
        (true, false) => Shape::Upload,
        (true, true) => Shape::Socket,
    }
}

/// Every method of the public interface, and the document about them.
pub fn router(door: &Door) -> Router {
    let document = openapi::document().to_string();
    let mut router = Router::new().route(
        "/openapi.json",
        get(move || async move { ([(header::CONTENT_TYPE, "application/json")], document) }),
    );
    for method in contracts::methods() {
        let Some(filter) = filter(&method.http_method) else {
            tracing::error!(method = method.descriptor.full_name(), "an HTTP method nobody knows");
            continue;
        };
        let shape = shape(method);
        router = router.route(&method.path, on(filter, handler(door, method, shape)));
        if method.body == contracts::Body::CloudEvents {
            router = router
                .route(&method.path, on(MethodFilter::OPTIONS, handler(door, method, Shape::Handshake)));
        }
        if shape == Shape::Events {
            let path = format!("{}/ws", method.path);
            router = router.route(&path, on(filter, handler(door, method, Shape::EventSocket)));
        }
    }
    router.fallback(unknown).method_not_allowed_fallback(not_allowed)
}

fn filter(http_method: &str) -> Option<MethodFilter> {
    match http_method {
        "GET" => Some(MethodFilter::GET),
        "POST" => Some(MethodFilter::POST),
        "PUT" => Some(MethodFilter::PUT),
        "DELETE" => Some(MethodFilter::DELETE),
        _ => None,
    }
}

fn handler(
    door: &Door,
    method: &'static Method,
    shape: Shape,
) -> impl Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Response> + Send>> + Clone + use<> {
    let door = door.clone();
    move |request| Box::pin(dispatch(door.clone(), method, shape, request))
}

async fn dispatch(door: Door, method: &'static Method, shape: Shape, mut request: Request<Body>) -> Response {
    let draft = door.drafts.draft(method, "rest", request.headers(), request.extensions());
    request.extensions_mut().insert(draft.clone());
    let request = named(&draft, method, request).await;
    let door_draft = draft.clone();
    let call = async move {
        let response = run(door, method, shape, request).await;
        // what came to the services is recorded there; this is for what did not get as far
        if door_draft.came_to_services() {
            return (response, None);
        }
        let problem = response.extensions().get::<Problem>().cloned();
        let (code, name, refusal) = match &problem {
            Some(problem) => problem.as_record(),
            None => (Code::Ok, "OK".to_owned(), String::new()),
        };
        (response, Some(Answered { code, name, refusal }))
    };
    draft.follow(call).await.unwrap_or_else(|unrecorded| Problem::of(&unrecorded).into_response())
}

/// Notes what the path names: it is known of callers who come no further, too.
async fn named(draft: &Draft, method: &Method, request: Request<Body>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    // requests about declared kinds call it by the same name, whatever it is
    let kind = method.op.map_or_else(|| translate::audit::kind(method), |_| "name".to_owned());
    if let Ok(path) = RawPathParams::from_request_parts(&mut parts, &()).await
        && let Some((_, value)) = path.iter().find(|(name, _)| *name == kind)
    {
        draft.named(value);
    }
    Request::from_parts(parts, body)
}

async fn run(door: Door, method: &'static Method, shape: Shape, request: Request<Body>) -> Response {
    match shape {
        Shape::Unary => call::unary(door, method, request).await,
        Shape::Events => sse::events(door, method, request).await,
        Shape::EventSocket => event_socket::socket(door, method, request).await,
        Shape::Lines => lines::lines(door, method, request).await,
        Shape::Upload => upload::upload(door, method, request).await,
        Shape::Socket => console::socket(door, method, request).await,
        Shape::Handshake => cloud_events::handshake(door, method, request).await,
    }
}

async fn unknown(uri: Uri) -> Response {
    let path = crate::domain::violation::excerpt(uri.path(), 200);
    let detail = format!("nothing is at {path}; the interface is described at /openapi.json");
    Problem::http(StatusCode::NOT_FOUND, "NO_SUCH_PATH", detail).into_response()
}

async fn not_allowed(method: http::Method, uri: Uri) -> Response {
    let path = crate::domain::violation::excerpt(uri.path(), 200);
    let detail = format!("{method} is not possible at {path}; see /openapi.json");
    Problem::http(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail).into_response()
}
