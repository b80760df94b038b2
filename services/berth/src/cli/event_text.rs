//! What an event says, in a few words: from the content that it carries as JSON.

use contracts::gateway::v1::EventRecord;
use prost_types::{Struct, value::Kind};

/// Whom it is about by name, and what happened to it; "" = the event says neither.
pub(super) fn what_happened(event: &EventRecord) -> String {
    let Some(data) = &event.data else { return String::new() };
    let name = OBJECTS.iter().find_map(|object| text(data, &[object, "name"])).unwrap_or_default();
    let what = drift(data)
        .or_else(|| refill(data))
        .or_else(|| refusal(data))
        .or_else(|| Some(format!("exit code {}", number(data, "exit_code")?)))
        .or_else(|| OBJECTS.iter().find_map(|object| phase(text(data, &[object, "phase"])?)))
        .unwrap_or_default();
    [name, &what].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// Where an event carries the object that it is about.
const OBJECTS: [&str; 4] = ["instance", "image", "host", "report"];

fn drift(data: &Struct) -> Option<String> {
    let detail = text(data, &["detail"])?;
    let words: Vec<String> = [("kind", "DRIFT_KIND_"), ("action", "DRIFT_ACTION_")]
        .into_iter()
        .filter_map(|(field, prefix)| Some(crate::output::word(text(data, &[field])?, prefix)))
        .collect();
    Some(if words.is_empty() { detail.to_owned() } else { format!("{} ({detail})", words.join(", ")) })
}

/// A stream that had lost messages and gets them again.
fn refill(data: &Struct) -> Option<String> {
    let stream = text(data, &["stream"])?;
    let reason = crate::output::word(text(data, &["reason"])?, "REFILL_REASON_");
    let messages = number(data, "refilled_messages")?;
    Some(format!("{stream} was {}; {messages} messages put in again", reason.replace('-', " ")))
}

/// Of the object, else of an operation that ended with the event.
fn refusal(data: &Struct) -> Option<String> {
    let of_object = || OBJECTS.iter().find_map(|object| text(data, &[object, "refusal", "message"]));
    let of_operation = || match &data.fields.get("operations")?.kind {
        Some(Kind::ListValue(list)) => list.values.iter().find_map(|operation| match &operation.kind {
            Some(Kind::StructValue(operation)) => text(operation, &["refusal", "message"]),
            _ => None,
        }),
        _ => None,
    };
    of_object().or_else(of_operation).map(str::to_owned)
}

/// `INSTANCE_PHASE_READY` is "ready"; the kind of object before it is of no interest.
fn phase(value: &str) -> Option<String> {
    let (_, phase) = value.split_once("_PHASE_")?;
    (phase != "UNSPECIFIED").then(|| phase.to_ascii_lowercase().replace('_', "-"))
}

fn number(data: &Struct, field: &str) -> Option<f64> {
    match data.fields.get(field)?.kind {
        Some(Kind::NumberValue(number)) => Some(number),
        _ => None,
    }
}

/// The text at the end of a path; an empty one counts as none.
fn text<'a>(data: &'a Struct, path: &[&str]) -> Option<&'a str> {
    let (field, rest) = path.split_first()?;
    match (&data.fields.get(*field)?.kind, rest) {
        (Some(Kind::StringValue(found)), []) if !found.is_empty() => Some(found),
        (Some(Kind::StructValue(inner)), [_, ..]) => text(inner, rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Value;

    fn value(json: &serde_json::Value) -> Value {
        let kind = match json {
            serde_json::Value::String(text) => Kind::StringValue(text.clone()),
            serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
            serde_json::Value::Array(values) => {
                Kind::ListValue(prost_types::ListValue { values: values.iter().map(value).collect() })
            }
            serde_json::Value::Object(fields) => Kind::StructValue(Struct {
                fields: fields.iter().map(|(name, field)| (name.clone(), value(field))).collect(),
            }),
            _ => Kind::NullValue(0),
        };
        Value { kind: Some(kind) }
    }

    #[test]
    fn each_kind_of_event_says_what_happened() {
        let web = |refusal: serde_json::Value| serde_json::json!({"instance": {"name": "web-1", "phase": "INSTANCE_PHASE_READY", "refusal": refusal}});
        for (json, says) in [
            (web(serde_json::Value::Null), "web-1: ready"),
            (web(serde_json::json!({"message": "no host has room"})), "web-1: no host has room"),
            (serde_json::json!({"image": {"name": "tiny", "phase": "IMAGE_PHASE_UNSPECIFIED"}}), "tiny"),
            (serde_json::json!({"report": {"name": "h1"}}), "h1"),
            (serde_json::json!({"instance_id": "i-1", "exit_code": 7}), "exit code 7"),
            (serde_json::json!({"operations": [{}, {"refusal": {"message": "too late"}}]}), "too late"),
            (
                serde_json::json!({"kind": "DRIFT_KIND_STOPPED", "action": "DRIFT_ACTION_REPAIRED", "detail": "it is off"}),
                "stopped, repaired (it is off)",
            ),
            (
                serde_json::json!({"service": "scheduler", "stream": "EVENTS", "reason": "REFILL_REASON_ROLLED_BACK", "refilled_messages": 17}),
                "EVENTS was rolled back; 17 messages put in again",
            ),
            (serde_json::json!({}), ""),
        ] {
            let Some(Kind::StructValue(data)) = value(&json).kind else { panic!("an object") };
            let event = EventRecord { data: Some(data), ..EventRecord::default() };
            assert_eq!(what_happened(&event), says, "{json}");
        }
    }
}
