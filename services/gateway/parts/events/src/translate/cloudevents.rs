//! Events as they leave the platform for programs that know CloudEvents and not Berth: the JSON format of CloudEvents
//! 1.0, structured mode (cloudevents.io/spec: `spec.md` and `formats/json-format.md`).

use contracts::gateway::v1::{EventRecord, ExternalAttribute, ExternalEventReceived, external_attribute};
use gateway_api::translate::external_events;
use kernel::Kind;
use prost::Message as _;
use serde_json::{Map, Value, json};

/// The media type of one event.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";

/// An event as it leaves, in structured mode: one of another system as it was sent, with its place in our stream; `payload`
/// is the event as it stands there.
pub fn outgoing(record: &EventRecord, payload: &[u8]) -> String {
    let received = || {
        let message = ExternalEventReceived::decode(payload).ok()?;
        let mut event = message.event?;
        // whoever sent them could not know them
        for (name, text) in [("berthtenant", record.tenant.clone()), ("berthsequence", place(record))] {
            let value = Some(external_attribute::Value::Text(text));
            event.extensions.insert(name.to_owned(), ExternalAttribute { value });
        }
        Some(external_events::original(&event))
    };
    let foreign = record.r#type == "gateway.ExternalEventReceived";
    foreign.then(received).flatten().unwrap_or_else(|| of(record).to_string())
}

fn place(record: &EventRecord) -> String {
    format!("{}:{}", record.incarnation, record.sequence)
}

/// One event in structured mode; `data` is what a watch shows.
///
/// Attributes that have nothing to say are left out: the specification allows no empty ones. Extensions are
/// `berthtenant`, `berthsequence` (the cursor to go on from, "incarnation:sequence"), `correlationid`, `causationid`
/// and `actor`.
pub fn of(record: &EventRecord) -> Value {
    let (service, name) = record.r#type.split_once('.').unwrap_or((&record.r#type, ""));
    let named = named(service, name);
    let mut event = Map::new();
    let mut attribute = |name: &str, value: String| {
        if !value.is_empty() {
            event.insert(name.to_owned(), Value::String(value));
        }
    };
    attribute("specversion", "1.0".to_owned());
    attribute("id", record.id.clone());
    attribute("source", format!("/berth/{service}"));
    attribute("type", format!("io.berth.{named}"));
    attribute("subject", record.object_id.clone());
    attribute("time", rfc3339(record.occurred_at_us));
    attribute("berthtenant", record.tenant.clone());
    attribute("berthsequence", place(record));
    attribute("correlationid", record.correlation_id.clone());
    attribute("causationid", record.causation_id.clone());
    attribute("actor", record.actor.clone());
    if let Some(data) = data(record) {
        attribute("datacontenttype", "application/json".to_owned());
        attribute("dataschema", schema_uri(&named));
        event.insert("data".to_owned(), data);
    }
    Value::Object(event)
}

/// What the schema of a type ("scheduler.v1.InstanceReady") is called. The specification wants an absolute URI, and the
/// gateway does not know under which address it is reached.
pub fn schema_uri(named: &str) -> String {
    format!("urn:berth:schemas:{named}")
}

/// "scheduler.v1.InstanceReady".
fn named(service: &str, name: &str) -> String {
    let known =
        contracts::CATALOGUE.iter().find(|e| e.kind == Kind::Event && e.service == service && e.name == name);
    format!("{service}.{}.{name}", known.map_or("v1", |entry| entry.version))
}

/// The content with whole numbers as a watch shows them, which a `Struct` of doubles does not.
fn data(record: &EventRecord) -> Option<Value> {
    let content = EventRecord { data: Some(record.data.clone()?), ..EventRecord::default() };
    let mut shown = contracts::to_json("berth.gateway.v1.EventRecord", &content.encode_to_vec()).ok()?;
    Some(shown.get_mut("data").map_or_else(|| json!({}), Value::take))
}

/// Microseconds since the epoch as text in UTC, always with six digits of the second.
fn rfc3339(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).map(|time| format!("{time:.6}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> EventRecord {
        EventRecord {
            sequence: 17,
            incarnation: "1700000000000000000".into(),
            id: "0190".into(),
            r#type: "scheduler.InstanceReady".into(),
            tenant: "acme".into(),
            object_id: "018f".into(),
            actor: "ann@acme".into(),
            correlation_id: "op".into(),
            occurred_at_us: 1_700_000_000_000_042,
            data: Some(contracts::to_struct(json!({"instance": {"revision": 7, "memory": 1u64 << 60}}))),
            ..EventRecord::default()
        }
    }

    #[test]
    fn an_event_is_a_cloud_event() {
        let expected = json!({
            "specversion": "1.0",
            "id": "0190",
            "source": "/berth/scheduler",
            "type": "io.berth.scheduler.v1.InstanceReady",
            "subject": "018f",
            "time": "2023-11-14T22:13:20.000042Z",
            "datacontenttype": "application/json",
            "dataschema": "urn:berth:schemas:scheduler.v1.InstanceReady",
            "berthtenant": "acme",
            "berthsequence": "1700000000000000000:17",
            "correlationid": "op",
            "actor": "ann@acme",
            "data": {"instance": {"revision": 7, "memory": "1152921504606846976"}},
        });
        assert_eq!(of(&record()), expected);
    }

    #[test]
    fn names_of_attributes_are_those_the_specification_allows() {
        let whole = EventRecord { causation_id: "c".into(), ..record() };
        for name in of(&whole).as_object().expect("an object").keys() {
            let allowed = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            assert!(allowed && name.len() <= 20, "{name}");
        }
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let bare = EventRecord { data: None, ..record() };
        let event = of(&bare);
        for name in ["data", "datacontenttype", "dataschema", "causationid"] {
            assert_eq!(event.get(name), None, "{name}");
        }
        assert_eq!(of(&EventRecord { object_id: String::new(), ..record() }).get("subject"), None);
        assert_eq!(of(&EventRecord { occurred_at_us: 5, ..record() })["time"], "1970-01-01T00:00:00.000005Z");
    }

    #[test]
    fn an_event_of_another_system_leaves_as_it_came_with_its_place() {
        let sent = r#"{"specversion":"1.0","id":"7","source":"/ci","type":"com.example.done","data":{"n":12345678901234567890.10}}"#;
        let event = external_events::structured(sent).expect("a CloudEvent");
        let record = EventRecord { r#type: "gateway.ExternalEventReceived".into(), ..record() };
        let received = ExternalEventReceived { event: Some(event), ..ExternalEventReceived::default() };
        let left = outgoing(&record, &received.encode_to_vec());
        assert!(left.contains(r#""data":{"n":12345678901234567890.10}"#), "letter by letter: {left}");
        let left: Value = serde_json::from_str(&left).expect("JSON");
        for (name, value) in [
            ("id", "7"),
            ("source", "/ci"),
            ("type", "com.example.done"),
            ("berthtenant", "acme"),
            ("berthsequence", "1700000000000000000:17"),
        ] {
            assert_eq!(left[name], value, "{name}");
        }
        assert_eq!(left.as_object().expect("an object").len(), 7);
        // one of ours is not touched by it
        assert_eq!(outgoing(&super::tests::record(), &[]), of(&super::tests::record()).to_string());
    }
}
