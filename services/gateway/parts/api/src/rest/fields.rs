//! From path, query and body to a protobuf message, with an error that names the wrong field.

use crate::domain::violation::{Violation, excerpt};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

/// Where the fields of a request come from.
#[derive(Debug, Default)]
pub struct Sources {
    /// Fields in the path, percent-decoded.
    pub path: Vec<(String, String)>,
    /// Fields in the query, percent-decoded.
    pub query: Vec<(String, String)>,
    /// Fields in the body.
    pub body: Map<String, Value>,
}

/// Puts the fields together. Each may come from one place only; names are those of the .proto file (their
/// lowerCamelCase form is taken too).
pub fn message(descriptor: &MessageDescriptor, sources: Sources) -> Result<DynamicMessage, Violation> {
    let mut object = Map::new();
    for (name, value) in sources.body {
        let field = named(descriptor, &name, "")?;
        if object.insert(field.name().to_owned(), value).is_some() {
            return Err(twice(field.name()));
        }
    }
    for (name, text) in sources.query {
        let field = named(descriptor, &name, "")?;
        if field.is_map() {
            let entries = object.entry(field.name()).or_insert_with(|| Value::Object(Map::new()));
            let (key, value) = text.split_once('=').ok_or_else(|| {
                Violation::new(field.name(), format!("write {}=key=value, once for each", field.name()))
            })?;
            match entries.as_object_mut() {
                Some(entries) if !entries.contains_key(key) => entries.insert(key.to_owned(), value.into()),
                _ => return Err(twice(field.name())),
            };
            continue;
        }
        let value = from_text(&field, &text)?;
        match object.get_mut(field.name()) {
            Some(Value::Array(items)) if field.is_list() => items.push(value),
            Some(_) => return Err(twice(field.name())),
            None if field.is_list() => {
                object.insert(field.name().to_owned(), Value::Array(vec![value]));
            }
            None => {
                object.insert(field.name().to_owned(), value);
            }
        }
    }
    for (name, text) in sources.path {
        let field = named(descriptor, &name, "")?;
        let value = from_text(&field, &text)?;
        if object.insert(field.name().to_owned(), value).is_some() {
            return Err(Violation::new(
                field.name(),
                "this field stands in the path: leave it out elsewhere",
            ));
        }
    }
    check(descriptor, &object, "")?;
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(descriptor.clone(), Value::Object(object), &options)
        .map_err(|e| Violation::new("", format!("the request cannot be read: {e}")))
}

fn twice(name: &str) -> Violation {
    Violation::new(name, "this field is given twice")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn named(descriptor: &MessageDescriptor, name: &str, path: &str) -> Result<FieldDescriptor, Violation> {
    descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name)).ok_or_else(|| {
        let known: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
        let hint = if known.is_empty() { "there are no fields here".to_owned() } else { known.join(", ") };
        Violation::new(join(path, &excerpt(name, 80)), format!("no such field; known: {hint}"))
    })
}

/// A value out of a path or a query, as JSON would have it.
fn from_text(field: &FieldDescriptor, text: &str) -> Result<Value, Violation> {
    if field.is_map() || matches!(field.kind(), Kind::Message(_)) {
        return Err(Violation::new(field.name(), "this field only goes into a JSON body"));
    }
    Ok(match field.kind() {
        Kind::Bool => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(Violation::new(field.name(), "write true or false")),
        },
        // a time may be written as people write it
        Kind::Int64 if field.name().ends_with("_us") && text.contains(':') => {
            let time = text.parse::<jiff::Timestamp>().map_err(|_| {
                let text = "write microseconds since 1970-01-01T00:00:00Z, or a time with its zone such as \
                            2026-11-21T07:30:00Z";
                Violation::new(field.name(), text)
            })?;
            time.as_microsecond().into()
        }
        _ => Value::String(text.to_owned()),
    })
}

/// Checks an object against the message it should become.
fn check(descriptor: &MessageDescriptor, object: &Map<String, Value>, path: &str) -> Result<(), Violation> {
    let mut seen: Vec<u32> = Vec::new();
    for (name, value) in object {
        let field = named(descriptor, name, path)?;
        let at = join(path, field.name());
        if seen.contains(&field.number()) {
            return Err(twice(&at));
        }
        seen.push(field.number());
        if value.is_null() {
            continue;
        }
        if let Some(oneof) = field.containing_oneof() {
            let other = oneof.fields().find(|f| f.number() != field.number() && given(object, f));
            if let Some(other) = other {
                return Err(Violation::new(at, format!("give this or {}, not both", other.name())));
            }
        }
        match (field.is_map(), field.is_list(), value) {
            (true, _, Value::Object(entries)) => {
                let kind = map_value(&field);
                for (key, entry) in entries {
                    if let Some(kind) = &kind {
                        check_value(kind, entry, &format!("{at}.{}", excerpt(key, 80)))?;
                    }
                }
            }
            (true, ..) => return Err(wrong(&at, "an object of names and values", value)),
            (_, true, Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    check_value(&field.kind(), item, &format!("{at}[{index}]"))?;
                }
            }
            (_, true, _) => return Err(wrong(&at, "an array", value)),
            _ => check_value(&field.kind(), value, &at)?,
        }
    }
    Ok(())
}

fn given(object: &Map<String, Value>, field: &FieldDescriptor) -> bool {
    [field.name(), field.json_name()].iter().any(|name| object.get(*name).is_some_and(|v| !v.is_null()))
}

fn map_value(field: &FieldDescriptor) -> Option<Kind> {
    match field.kind() {
        Kind::Message(entry) if entry.is_map_entry() => Some(entry.map_entry_value_field().kind()),
        _ => None,
    }
}

fn check_value(kind: &Kind, value: &Value, at: &str) -> Result<(), Violation> {
    let right = match kind {
        Kind::Bool => value.is_boolean(),
        Kind::String => value.is_string(),
        Kind::Bytes => return bytes(value, at),
        Kind::Double | Kind::Float => value.is_number(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => whole(value, i32::MIN.into(), i32::MAX.into()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => whole(value, i64::MIN.into(), i64::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => whole(value, 0, u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => whole(value, 0, u64::MAX.into()),
        Kind::Enum(names) => {
            let known = value.as_str().is_some_and(|name| names.get_value_by_name(name).is_some());
            if !known {
                let all: Vec<String> = names.values().map(|v| v.name().to_owned()).collect();
                return Err(wrong(at, &format!("one of {}", all.join(", ")), value));
            }
            true
        }
        Kind::Message(inner) if inner.full_name().starts_with("google.protobuf.") => true,
        Kind::Message(inner) => match value {
            Value::Object(object) => return check(inner, object, at),
            _ => false,
        },
    };
    if right { Ok(()) } else { Err(wrong(at, expected(kind), value)) }
}

fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::String => "a string",
        Kind::Double | Kind::Float => "a number",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a whole number of 32 bits",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number of 64 bits",
        Kind::Uint32 | Kind::Fixed32 => "a whole number from 0 to 4294967295",
        Kind::Uint64 | Kind::Fixed64 => "a whole number of 64 bits, not negative",
        _ => "an object",
    }
}

/// A whole number, as a JSON number or as text (which is how numbers beyond 2^53 are written).
fn whole(value: &Value, low: i128, high: i128) -> bool {
    let number = match value {
        Value::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(u), _) => Some(i128::from(u)),
            (_, Some(i)) => Some(i128::from(i)),
            _ => None,
        },
        Value::String(text) if text.len() <= 20 && !text.starts_with('+') => text.parse().ok(),
        _ => None,
    };
    number.is_some_and(|n| (low..=high).contains(&n))
}

fn bytes(value: &Value, at: &str) -> Result<(), Violation> {
    let text = value.as_str().map(|text| text.trim_end_matches('='));
    let decodes =
        text.is_some_and(|t| STANDARD_NO_PAD.decode(t).is_ok() || URL_SAFE_NO_PAD.decode(t).is_ok());
    if decodes { Ok(()) } else { Err(wrong(at, "a string of base64", value)) }
}

fn wrong(at: &str, expected: &str, value: &Value) -> Violation {
    Violation::new(at, format!("expected {expected}, got {}", excerpt(&value.to_string(), 60)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(name: &str, body: Value) -> Result<DynamicMessage, Violation> {
        let descriptor = contracts::pool().get_message_by_name(name).expect("known");
        let Value::Object(body) = body else { panic!("an object") };
        message(&descriptor, Sources { body, ..Sources::default() })
    }

    const CREATE: &str = "berth.gateway.v1.CreateInstanceRequest";

    #[test]
    fn json_becomes_the_message() {
        use prost::Message as _;
        let body = json!({
            "name": "web-1", "image": "debian", "resources": {"vcpus_milli": 500, "memoryBytes": "1073741824"},
            "labels": {"a": "b"}, "restart_policy": "RESTART_POLICY_NEVER", "ssh_authorized_keys": ["k"],
            "hostname": null,
        });
        let dynamic = read(CREATE, body).expect("right");
        let bytes = dynamic.encode_to_vec();
        let request = contracts_request(&bytes);
        assert_eq!((request.name.as_str(), request.restart_policy), ("web-1", 3));
        assert_eq!(request.resources.map(|r| (r.vcpus_milli, r.memory_bytes)), Some((500, 1 << 30)));
    }

    #[test]
    fn a_time_in_a_query_is_microseconds_or_as_people_write_it() {
        let descriptor = contracts::pool().get_message_by_name("berth.gateway.v1.WatchEventsRequest");
        let read = |text: &str| {
            let query = vec![("since_us".to_owned(), text.to_owned())];
            let message =
                message(descriptor.as_ref().expect("known"), Sources { query, ..Sources::default() });
            message.map(|m| m.get_field_by_name("since_us").and_then(|v| v.as_i64())).map_err(|v| v.field)
        };
        assert_eq!(read("1000000"), Ok(Some(1_000_000)));
        assert_eq!(read("1970-01-01T00:00:01Z"), Ok(Some(1_000_000)));
        assert_eq!(read("1970-01-01T01:00:01.5+01:00"), Ok(Some(1_500_000)));
        for wrong in ["1970-01-01T00:00:01", "12:00", "yesterday"] {
            assert_eq!(read(wrong), Err("since_us".to_owned()), "{wrong}");
        }
    }

    fn contracts_request(bytes: &[u8]) -> contracts::gateway::v1::CreateInstanceRequest {
        prost::Message::decode(bytes).expect("decodes")
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        for (body, field) in [
            (json!({"nome": "x"}), "nome"),
            (json!({"name": 5}), "name"),
            (json!({"resources": {"memory": 5}}), "resources.memory"),
            (json!({"resources": {"memory_bytes": -5}}), "resources.memory_bytes"),
            (json!({"resources": {"memory_bytes": 1.5}}), "resources.memory_bytes"),
            (json!({"resources": {"memory_bytes": "+5"}}), "resources.memory_bytes"),
            (json!({"resources": []}), "resources"),
            (json!({"labels": {"a": 1}}), "labels.a"),
            (json!({"labels": ["a"]}), "labels"),
            (json!({"ssh_authorized_keys": "k"}), "ssh_authorized_keys"),
            (json!({"ssh_authorized_keys": ["k", 1]}), "ssh_authorized_keys[1]"),
            (json!({"ssh_authorized_keys": [null]}), "ssh_authorized_keys[0]"),
            (json!({"driver": "kvm"}), "driver"),
            (json!({"affinityGroup": "a", "affinity_group": "a"}), "affinity_group"),
        ] {
            assert_eq!(read(CREATE, body).expect_err(field).field, field);
        }
        let exec = read("berth.gateway.v1.ExecInstanceRequest", json!({"stdin": "%"}));
        assert_eq!(exec.expect_err("base64").field, "stdin");
        let both = json!({"sources": [{"upload_id": "u", "url": "http://h"}]});
        let both = read("berth.gateway.v1.ImportImageRequest", both).expect_err("oneof");
        assert!(both.field.starts_with("sources[0]."), "{both}");
    }

    #[test]
    fn text_from_path_and_query_is_typed() {
        let descriptor =
            contracts::pool().get_message_by_name("berth.gateway.v1.WatchEventsRequest").expect("known");
        let query = |pairs: &[(&str, &str)]| {
            let query = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            message(&descriptor, Sources { query, ..Sources::default() })
        };
        let both = query(&[("types", "scheduler"), ("types", "storage"), ("follow", "true"), ("last", "5")]);
        let both = both.expect("right");
        assert_eq!(both.get_field_by_name("types").and_then(|v| v.as_list().map(<[_]>::len)), Some(2));
        assert_eq!(both.get_field_by_name("last").and_then(|v| v.as_u64()), Some(5));
        assert_eq!(query(&[("follow", "1")]).expect_err("bool").field, "follow");
        assert_eq!(query(&[("last", "many")]).expect_err("number").field, "last");
        assert_eq!(query(&[("last", "1"), ("last", "2")]).expect_err("twice").field, "last");
        assert_eq!(query(&[("nope", "1")]).expect_err("unknown").field, "nope");
    }

    #[test]
    fn a_field_of_the_path_stands_nowhere_else() {
        let descriptor =
            contracts::pool().get_message_by_name("berth.gateway.v1.StopInstanceRequest").expect("known");
        let path = vec![("instance".to_owned(), "web-1".to_owned())];
        let Value::Object(body) = json!({"instance": "other"}) else { panic!("an object") };
        let error = message(&descriptor, Sources { path, body, ..Sources::default() }).expect_err("twice");
        assert_eq!(error.field, "instance");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|f| json!(f)),
            "\\PC{0,12}".prop_map(Value::from),
        ];
        let names = prop_oneof![
            Just("name"),
            Just("resources"),
            Just("labels"),
            Just("driver"),
            Just("memory_bytes"),
            Just("ssh_authorized_keys"),
            Just("x"),
        ];
        leaf.prop_recursive(3, 24, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_passes_the_check_is_read_and_what_fails_names_a_field(body in any_json()) {
            if let Value::Object(_) = body
                && let Err(violation) = read(CREATE, body)
            {
                prop_assert!(!violation.field.is_empty(), "{}", violation);
            }
        }
    }
}
