//! A stream of events as Server-Sent Events (WHATWG HTML, section 9.2), resumable by `Last-Event-ID`; or as JSON lines
//! for whoever asks for them.

use super::call::Door;
use super::events::{self, Piece};
use super::frames::Frames;
use super::problem::Problem;
use axum::body::Body;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::Method;
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;

/// How often a silent stream shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A method that answers with a stream.
pub async fn events(door: Door, method: &'static Method, request: Request<Body>) -> Response {
    let (mut parts, _) = request.into_parts();
    let frames = match events::open(&door, method, &mut parts).await {
        Ok(frames) => frames,
        Err(problem) => return problem.into_response(),
    };
    if wants_lines(&parts.headers) {
        let body = Body::from_stream(stream::unfold(Some(frames), move |frames| next_line(method, frames)));
        return (through_proxies(), [(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response();
    }
    (through_proxies(), served(stream::unfold(Some(frames), move |frames| next(method, frames))))
        .into_response()
}

/// What keeps proxies from holding a stream back: nginx and its kin buffer answers unless told not to
/// (`X-Accel-Buffering`), others wait for enough to compress, or for an end that does not come (`no-transform`).
fn through_proxies() -> [(HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}

/// A comment comes first, so that whoever waits for the first byte learns at once that the stream is open; a silent stream
/// shows by others that it is alive, well within the minute after which proxies give up.
fn served<S>(events: S) -> Response
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let open = stream::once(async { Ok(Event::default().comment("open")) });
    Sse::new(open.chain(events)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// The first form in `Accept` that we know; without one it is Server-Sent Events.
fn wants_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = accept.split(',').find_map(|part| match part.split(';').next().unwrap_or_default().trim() {
        "application/x-ndjson" | "application/jsonl" => Some(true),
        "text/event-stream" | "*/*" => Some(false),
        _ => None,
    });
    known.unwrap_or(false)
}

async fn next(
    method: &Method,
    frames: Option<Frames>,
) -> Option<(Result<Event, Infallible>, Option<Frames>)> {
    let mut frames = frames?;
    Some(match events::next(method, &mut frames).await? {
        Ok(piece) => (Ok(event(&piece)), Some(frames)),
        Err(problem) => (Ok(Event::default().event("error").data(problem_text(&problem))), None),
    })
}

async fn next_line(
    method: &Method,
    frames: Option<Frames>,
) -> Option<(Result<Bytes, Infallible>, Option<Frames>)> {
    let mut frames = frames?;
    Some(match events::next(method, &mut frames).await? {
        Ok(piece) => (Ok(Bytes::from(format!("{}\n", piece.whole))), Some(frames)),
        Err(problem) => (Ok(Bytes::from(format!("{}\n", json!({"error": problem})))), None),
    })
}

fn problem_text(problem: &Problem) -> String {
    serde_json::to_string(problem).unwrap_or_default()
}

/// An event goes out under its type, a gap as "gap"; both with the cursor to go on from.
fn event(piece: &Piece) -> Event {
    Event::default().id(&piece.cursor).event(&piece.name).data(piece.data.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn proxies_hold_nothing_back() {
        let silent = (through_proxies(), served(stream::pending())).into_response();
        let of = |name: &str| silent.headers()[name].to_str().expect("ascii").to_owned();
        assert_eq!(of("content-type"), "text/event-stream");
        assert_eq!(
            (of("x-accel-buffering"), of("cache-control")),
            ("no".into(), "no-cache, no-transform".into())
        );
        let first = silent.into_body().into_data_stream().next().await.expect("at once").expect("bytes");
        assert!(first.starts_with(b":"), "{first:?}");
    }

    #[tokio::test]
    async fn events_carry_their_cursor() {
        let piece = |cursor: &str, name: &str| {
            let data = json!({"sequence": 5});
            Ok::<_, Infallible>(event(&Piece {
                cursor: cursor.into(),
                name: name.into(),
                whole: data.clone(),
                data,
            }))
        };
        let pieces = [piece("i:5", "scheduler.InstanceReady"), piece("j:9007199254740993", "gap")];
        let response = Sse::new(stream::iter(pieces)).into_response();
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        assert!(text.contains("id: i:5\nevent: scheduler.InstanceReady\ndata: {"), "{text}");
        assert!(text.contains("id: j:9007199254740993\nevent: gap\n"), "{text}");
    }

    #[test]
    fn lines_are_for_those_who_ask() {
        let asks =
            |text| wants_lines(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))]));
        assert!(asks("application/x-ndjson") && asks("text/html, application/jsonl;q=0.9"));
        assert!(!asks("text/event-stream") && !asks("*/*") && !asks("text/event-stream, application/jsonl"));
        assert!(!wants_lines(&HeaderMap::new()));
    }
}
