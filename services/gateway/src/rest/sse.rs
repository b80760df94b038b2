//! A stream of answers as Server-Sent Events (WHATWG HTML, section 9.2), resumable by `Last-Event-ID`.

use super::answer;
use super::call::{self, Door};
use super::frames::Frames;
use super::problem::Problem;
use crate::domain::violation::Violation;
use crate::translate::status;
use axum::body::Body;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use contracts::Method;
use futures::stream;
use http::{HeaderMap, HeaderName, Request};
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;

/// How often a silent stream shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A method that answers with a stream.
pub async fn events(door: Door, method: &'static Method, request: Request<Body>) -> Response {
    match open(&door, method, request).await {
        Ok(frames) => Sse::new(stream::unfold(Some(frames), move |frames| next(method, frames)))
            .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
            .into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn open(door: &Door, method: &Method, request: Request<Body>) -> Result<Frames, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = door.admit(method, &parts).await.map_err(|s| Problem::of(&s))?;
    let mut sources = call::uri_fields(&mut parts).await?;
    if let Some((incarnation, sequence)) = cursor(&parts.headers)? {
        // a browser repeats the first URL when it reconnects: the header is newer than what stands there
        sources.query.retain(|(name, _)| !["after_sequence", "incarnation", "last"].contains(&name.as_str()));
        sources.query.push(("after_sequence".to_owned(), sequence.to_string()));
        sources.query.push(("incarnation".to_owned(), incarnation));
    }
    let message = call::message(method, sources)?;
    door.send(method, &parts, caller, Body::from(message)).await.map_err(|s| Problem::of(&s))
}

/// The cursor "incarnation:sequence" that a client saw last.
fn cursor(headers: &HeaderMap) -> Result<Option<(String, u64)>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let read = text
        .rsplit_once(':')
        .and_then(|(incarnation, sequence)| Some((incarnation.to_owned(), sequence.parse::<u64>().ok()?)));
    read.map(Some).ok_or_else(|| {
        let violation =
            Violation::new("Last-Event-ID", "write the id of the last event: incarnation:sequence");
        Problem::of(&status::invalid(violation))
    })
}

async fn next(
    method: &Method,
    frames: Option<Frames>,
) -> Option<(Result<Event, Infallible>, Option<Frames>)> {
    let mut frames = frames?;
    let item = match frames.next().await {
        Ok(Some(bytes)) => answer::json(&method.descriptor.output(), &bytes),
        Ok(None) => return None,
        Err(status) => Err(status),
    };
    Some(match item {
        Ok(value) => (Ok(event(&value)), Some(frames)),
        Err(status) => {
            let problem = serde_json::to_string(&Problem::of(&status)).unwrap_or_default();
            (Ok(Event::default().event("error").data(problem)), None)
        }
    })
}

/// An event goes out under its type, a gap as "gap"; both with the cursor to go on from.
fn event(item: &Value) -> Event {
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |value: &Value, name: &str| {
        value.get(name).map(|n| n.to_string().replace('"', "")).unwrap_or_default()
    };
    if let Some(record) = item.get("event") {
        let id = format!("{}:{}", text(record, "incarnation"), number(record, "sequence"));
        return Event::default().id(id).event(text(record, "type")).data(record.to_string());
    }
    if let Some(gap) = item.get("gap") {
        let id = format!("{}:{}", text(gap, "incarnation"), number(gap, "resync_after_sequence"));
        return Event::default().id(id).event("gap").data(gap.to_string());
    }
    Event::default().data(item.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(text: &str) -> Result<Option<(String, u64)>, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(LAST_EVENT_ID, HeaderValue::from_str(text).expect("ascii"));
        cursor(&headers).map_err(|problem| problem.status)
    }

    #[test]
    fn a_cursor_is_incarnation_and_sequence() {
        assert_eq!(
            read("EVENTS@2026-01-01T00:00:00Z:17"),
            Ok(Some(("EVENTS@2026-01-01T00:00:00Z".to_owned(), 17)))
        );
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("17"), Err(400));
        assert_eq!(read("abc:-1"), Err(400));
        assert_eq!(cursor(&HeaderMap::new()).map_err(|p| p.status), Ok(None));
    }

    #[tokio::test]
    async fn events_carry_their_cursor() {
        let item = serde_json::json!({"event": {"incarnation": "i", "sequence": 5, "type": "scheduler.InstanceReady"}});
        let gap =
            serde_json::json!({"gap": {"incarnation": "j", "resync_after_sequence": "9007199254740993"}});
        let events = [Ok::<_, Infallible>(event(&item)), Ok(event(&gap))];
        let response = Sse::new(stream::iter(events)).into_response();
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        assert!(text.contains("id: i:5\nevent: scheduler.InstanceReady\ndata: {"), "{text}");
        assert!(text.contains("id: j:9007199254740993\nevent: gap\n"), "{text}");
    }
}
