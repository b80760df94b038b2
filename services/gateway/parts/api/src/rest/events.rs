//! A method that answers with a stream of events, in whatever form it goes out: how it is opened, and what each answer
//! is for the reader.

use super::answer;
use super::call::{self, Door};
use super::frames::Frames;
use super::problem::Problem;
use crate::domain::event_cursor;
use crate::domain::violation::Violation;
use crate::translate::status;
use axum::body::Body;
use contracts::Method;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use serde_json::{Value, json};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Fields that say where reading begins.
const BEGINNINGS: [&str; 5] = ["after_sequence", "incarnation", "last", "after", "new_only"];

/// One answer of the stream.
pub struct Piece {
    /// Where the reader goes on after it: "incarnation:sequence"; "" = the answer has no place.
    pub cursor: String,
    /// The type of the event, "gap" or "position".
    pub name: String,
    /// What stands under that name.
    pub data: Value,
    /// The answer where nothing beside it says what it is: a CloudEvent by itself, else under its field.
    pub whole: Value,
}

/// Sends the request that the query makes.
pub async fn open(door: &Door, method: &Method, parts: &mut Parts) -> Result<Frames, Problem> {
    let caller = door.admit(method, parts).await.map_err(|s| Problem::of(&s))?;
    let mut sources = call::uri_fields(parts).await?;
    if let Some(cursor) = last_seen(&parts.headers)? {
        // a browser repeats the first URL when it reconnects: the header is newer than what stands there
        let input = method.descriptor.input();
        sources.query.retain(|(name, _)| {
            let field = input.get_field_by_name(name).or_else(|| input.get_field_by_json_name(name));
            field.is_none_or(|field| !BEGINNINGS.contains(&field.name()))
        });
        sources.query.push(("after".to_owned(), cursor));
    }
    let message = call::message(method, sources)?;
    door.send(method, parts, caller, Body::from(message)).await.map_err(|s| Problem::of(&s))
}

/// The cursor of the last event that a client saw.
fn last_seen(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().unwrap_or("\u{fffd}");
    if text.is_empty() {
        return Ok(None);
    }
    match event_cursor::read(text) {
        Some((incarnation, sequence)) if !incarnation.is_empty() => {
            Ok(Some(event_cursor::write(&incarnation, sequence)))
        }
        _ => {
            let text = "write the id of the last event: incarnation:sequence";
            Err(Problem::of(&status::invalid(Violation::new("Last-Event-ID", text))))
        }
    }
}

/// The next answer; `None` at the end of the stream.
pub async fn next(method: &Method, frames: &mut Frames) -> Option<Result<Piece, Problem>> {
    let answer = match frames.next().await {
        Ok(None) => return None,
        Ok(Some(bytes)) => answer::json(&method.descriptor.output(), &bytes),
        Err(status) => Err(status),
    };
    Some(answer.map(piece).map_err(|status| Problem::of(&status)))
}

fn piece(mut answer: Value) -> Piece {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let place = |value: &Value, name: &str| {
        // numbers beyond 2^53 are text
        let sequence = value[name].to_string().replace('"', "").parse().unwrap_or_default();
        event_cursor::write(&text(value, "incarnation"), sequence)
    };
    if let Some(event) = answer.get_mut("cloud_event").map(Value::take) {
        let (cursor, name) = (text(&event, "berthsequence"), text(&event, "type"));
        return Piece { cursor, name, data: event.clone(), whole: event };
    }
    let (cursor, name, field) = match &answer {
        found if found.get("event").is_some() => {
            (place(&found["event"], "sequence"), text(&found["event"], "type"), "event")
        }
        found if found.get("gap").is_some() => {
            (place(&found["gap"], "resync_after_sequence"), "gap".to_owned(), "gap")
        }
        found if found.get("position").is_some() => {
            (place(&found["position"], "sequence"), "position".to_owned(), "position")
        }
        _ => return Piece { cursor: String::new(), name: String::new(), data: json!({}), whole: answer },
    };
    Piece { cursor, name, data: answer[field].clone(), whole: answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(text: &str) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(LAST_EVENT_ID, HeaderValue::from_str(text).expect("ascii"));
        last_seen(&headers).map_err(|problem| problem.status)
    }

    #[test]
    fn the_last_event_is_named_by_its_id() {
        let id = "EVENTS@2026-01-01T00:00:00Z:17";
        assert_eq!(read(id), Ok(Some(id.to_owned())));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("17"), Err(400), "a sequence alone is no id that we gave");
        assert_eq!(read("abc:-1"), Err(400));
        assert_eq!(last_seen(&HeaderMap::new()).map_err(|p| p.status), Ok(None));
    }

    #[test]
    fn every_answer_has_its_name_and_its_place() {
        let of = |answer: Value| {
            let piece = piece(answer);
            (piece.cursor, piece.name, piece.data)
        };
        let event = json!({"incarnation": "i", "sequence": 5, "type": "scheduler.InstanceReady"});
        let expected = ("i:5".to_owned(), "scheduler.InstanceReady".to_owned(), event.clone());
        assert_eq!(of(json!({"event": event})), expected);
        let gap = json!({"incarnation": "j", "resync_after_sequence": "9007199254740993"});
        assert_eq!(of(json!({"gap": gap})), ("j:9007199254740993".to_owned(), "gap".to_owned(), gap.clone()));
        let position = json!({"incarnation": "j", "sequence": 0});
        assert_eq!(of(json!({"position": position})).0, "j:0");
        let cloud = json!({"specversion": "1.0", "type": "io.berth.x.v1.Y", "berthsequence": "i:6"});
        let piece = piece(json!({"cloud_event": cloud}));
        assert_eq!((piece.cursor.as_str(), piece.name.as_str()), ("i:6", "io.berth.x.v1.Y"));
        assert_eq!((&piece.data, &piece.whole), (&cloud, &cloud));
    }
}
