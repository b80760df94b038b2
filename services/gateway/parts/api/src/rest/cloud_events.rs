//! CloudEvents over HTTP: one in structured mode, many in batched mode, one in binary mode (CloudEvents HTTP protocol
//! binding 1.0.2).

use super::call::Door;
use super::frames::frame;
use super::problem::Problem;
use crate::api::audit::Draft;
use crate::domain::violation::Violation;
use crate::translate::{external_events as translate, status};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::Method;
use contracts::gateway::v1::{ExternalEvent, PublishEventsRequest};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use prost::Message as _;
use std::sync::Arc;

/// What every media type of the binding begins with.
const FAMILY: &str = "application/cloudevents";

/// The handshake by which a sender asks whether it may deliver here ("HTTP 1.1 Web Hooks for Event Delivery" 1.0.2, section
/// 4): whoever holds a token that may send events may, from any origin, as fast as the tenant may ask for anything.
pub async fn handshake(door: Door, method: &'static Method, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    if let Err(status) = door.admit(method, &parts).await {
        return Problem::of(&status).into_response();
    }
    // nothing was sent yet
    if let Some(draft) = parts.extensions.get::<Arc<Draft>>() {
        draft.leave_out();
    }
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    if let Some(origin) = parts.headers.get("webhook-request-origin") {
        headers.insert("webhook-allowed-origin", origin.clone());
        headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    }
    response
}

/// The framed request that a CloudEvents body stands for. Each field that is wrong is named as it was sent.
pub fn message(parts: &Parts, body: &[u8]) -> Result<Bytes, Problem> {
    if let Some(query) = parts.uri.query().filter(|query| !query.is_empty()) {
        let name = query.split('=').next().unwrap_or_default();
        let name = crate::domain::violation::excerpt(name, 80);
        return Err(invalid(Violation::new(
            name,
            "no such field; events stand in the body and in ce-* headers",
        )));
    }
    let events = read(&parts.headers, body)?;
    Ok(frame(&PublishEventsRequest { events }.encode_to_vec()))
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Vec<ExternalEvent>, Problem> {
    let content_type =
        headers.get(header::CONTENT_TYPE).map(|v| v.to_str().unwrap_or_default()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/cloudevents+json" => {
            let event = translate::structured(text(body)?).map_err(invalid)?;
            translate::check(&event).map_err(invalid)?;
            Ok(vec![event])
        }
        "application/cloudevents-batch+json" => {
            let events = translate::batch(text(body)?).map_err(invalid)?;
            translate::check_all("", &events, kernel::limits::EVENTS_AT_ONCE).map_err(invalid)?;
            Ok(events)
        }
        other if other.starts_with(FAMILY) => {
            let detail = format!("send {FAMILY}+json, {FAMILY}-batch+json, or one event with ce-* headers");
            Err(Problem::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail))
        }
        _ => {
            let mut pairs = Vec::new();
            for (name, value) in headers {
                let wanted = name.as_str().starts_with("ce-") || name == header::CONTENT_TYPE;
                if wanted {
                    let value = std::str::from_utf8(value.as_bytes()).map_err(|_| {
                        invalid(Violation::new(name.as_str(), "the value is not percent-encoded UTF-8"))
                    })?;
                    pairs.push((name.as_str(), value));
                }
            }
            let event = translate::binary(pairs.into_iter(), body).map_err(invalid)?;
            // in this mode attributes are headers, and the body is the data
            translate::check(&event).map_err(|wrong| match wrong.field.as_str() {
                "data" => invalid(wrong),
                "datacontenttype" => invalid(Violation::new("content-type", wrong.message)),
                name => invalid(Violation::new(format!("ce-{name}"), wrong.message)),
            })?;
            Ok(vec![event])
        }
    }
}

fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|_| invalid(Violation::new("", "the body is not UTF-8")))
}

fn invalid(violation: Violation) -> Problem {
    Problem::of(&status::invalid(violation))
}

/// The body of a notification in somebody else's format, without fields that the message does not have.
pub fn known_fields(
    method: &Method,
    mut body: serde_json::Map<String, serde_json::Value>,
) -> serde_json::Map<String, serde_json::Value> {
    prune(&method.descriptor.input(), &mut body);
    body
}

fn prune(
    descriptor: &prost_reflect::MessageDescriptor,
    object: &mut serde_json::Map<String, serde_json::Value>,
) {
    use prost_reflect::Kind;
    use serde_json::Value;
    object.retain(|name, value| {
        let field = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name));
        let Some(field) = field else { return false };
        if let (Kind::Message(inner), false) = (field.kind(), field.is_map()) {
            match value {
                Value::Array(items) => {
                    items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| prune(&inner, item));
                }
                Value::Object(item) => prune(&inner, item),
                _ => {}
            }
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_others_add_are_passed_over() {
        let method =
            contracts::methods().iter().find(|m| m.descriptor.name() == "PublishAlerts").expect("there");
        let body = json!({
            "version": "4", "externalURL": "http://a", "new": 1, "commonLabels": {"any": "x"},
            "alerts": [{"status": "firing", "startsAt": "t", "generatorURL": "u", "silenced": true}],
        });
        let serde_json::Value::Object(body) = body else { panic!("an object") };
        let kept = serde_json::Value::Object(known_fields(method, body));
        assert_eq!(
            kept,
            json!({
                "version": "4", "externalURL": "http://a", "commonLabels": {"any": "x"},
                "alerts": [{"status": "firing", "startsAt": "t", "generatorURL": "u"}],
            })
        );
    }
}
