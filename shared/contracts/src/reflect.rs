//! Reading messages by name: events and dead letters as JSON, methods and their REST routes.

use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions, Value};
use std::sync::LazyLock;

/// The encoded descriptors of everything in `proto/`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("descriptors written by the build"));

/// The descriptors of everything in `proto/`.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// Whole numbers beyond this are written as strings: 2^53, where doubles, and so many readers of JSON, begin to round.
const EXACT: u64 = 1 << 53;

/// A message as JSON: see [`json_of`]. The error says why the bytes are not that message.
pub fn to_json(full_name: &str, bytes: &[u8]) -> Result<serde_json::Value, String> {
    let descriptor =
        POOL.get_message_by_name(full_name).ok_or_else(|| format!("no message is called {full_name}"))?;
    let message = DynamicMessage::decode(descriptor, bytes).map_err(|e| format!("not a {full_name}: {e}"))?;
    json_of(&message)
}

/// A message in protobuf's JSON mapping, with the names of the .proto file. Every field that has a default is there,
/// also at its default; messages that are not set are left out. Whole numbers are written as such: also those of 64
/// bits, as numbers up to 2^53 and as strings beyond.
pub fn json_of(message: &DynamicMessage) -> Result<serde_json::Value, String> {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false)
        .stringify_64_bit_integers(false);
    let mut json =
        message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|e| e.to_string())?;
    exact(&mut json);
    Ok(json)
}

fn exact(value: &mut serde_json::Value) {
    use serde_json::Value as Json;
    match value {
        Json::Number(number) => {
            let big = number.as_u64().is_some_and(|n| n > EXACT)
                || number.as_i64().is_some_and(|n| n.unsigned_abs() > EXACT);
            if big {
                *value = Json::String(number.to_string());
            } else if let Some(whole) = whole(number) {
                *value = whole.into();
            }
        }
        Json::Array(items) => items.iter_mut().for_each(exact),
        Json::Object(fields) => fields.values_mut().for_each(exact),
        _ => {}
    }
}

/// A `google.protobuf.Struct` holds nothing but doubles: 7.0 in it was a 7.
fn whole(number: &serde_json::Number) -> Option<i64> {
    let float = number.as_f64().filter(|_| number.is_f64())?;
    (float.fract() == 0.0 && float.abs() <= EXACT as f64).then_some(float as i64)
}

/// JSON as a `google.protobuf.Struct`; what is not an object becomes `{"value": …}`.
pub fn to_struct(json: serde_json::Value) -> prost_types::Struct {
    match to_value(json).kind {
        Some(prost_types::value::Kind::StructValue(object)) => object,
        kind => prost_types::Struct { fields: [("value".to_owned(), prost_types::Value { kind })].into() },
    }
}

/// A `google.protobuf.Struct` as the JSON that it was made from.
pub fn json_of_struct(object: prost_types::Struct) -> serde_json::Value {
    to_json("google.protobuf.Struct", &prost::Message::encode_to_vec(&object)).unwrap_or_default()
}

fn to_value(json: serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(b) => Kind::BoolValue(b),
        // beyond 2^53 a double would round: such numbers stay exact as text
        Json::Number(n) => match (n.as_f64(), n.as_u64(), n.as_i64()) {
            (_, Some(u), _) if u > EXACT => Kind::StringValue(n.to_string()),
            (_, _, Some(i)) if i.unsigned_abs() > EXACT => Kind::StringValue(n.to_string()),
            (Some(f), ..) => Kind::NumberValue(f),
            _ => Kind::StringValue(n.to_string()),
        },
        Json::String(s) => Kind::StringValue(s),
        Json::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.into_iter().map(to_value).collect() })
        }
        Json::Object(fields) => Kind::StructValue(prost_types::Struct {
            fields: fields.into_iter().map(|(name, value)| (name, to_value(value))).collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}

/// How the body of a REST request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// The request as JSON; a field that is not known is refused.
    Request,
    /// CloudEvents 1.0: structured, batched or binary.
    CloudEvents,
    /// JSON in somebody else's format: fields that are not known are passed over.
    Foreign,
}

/// A method of the public interface and its REST face.
#[derive(Debug, Clone)]
pub struct Method {
    /// The gRPC method.
    pub descriptor: MethodDescriptor,
    /// "GET", "POST", "PUT" or "DELETE".
    pub http_method: String,
    /// "/v1/instances/{instance}".
    pub path: String,
    /// "instance.read".
    pub permission: String,
    /// Takes an idempotency key and is audited.
    pub mutating: bool,
    /// A stream of answers that ends by itself: JSON lines or CSV over REST.
    pub lines: bool,
    /// The field of the answer that REST answers by itself; "" = all of it.
    pub response_body: String,
    /// How the body of a REST request is read.
    pub body: Body,
    /// What it does with objects of a declared kind.
    pub op: Option<crate::Op>,
}

impl Method {
    /// Where gRPC serves it: "/berth.gateway.v1.InstanceService/CreateInstance".
    pub fn grpc_path(&self) -> String {
        format!("/{}/{}", self.descriptor.parent_service().full_name(), self.descriptor.name())
    }

    /// Of a method that is declared by what it does with a kind.
    fn of_op(descriptor: MethodDescriptor, op: crate::Op) -> Self {
        let crate::op::Face { http_method, path, permission } = op.face();
        Self {
            descriptor,
            http_method: http_method.to_owned(),
            path,
            permission,
            mutating: op.is_mutating(),
            lines: false,
            response_body: String::new(),
            body: Body::Request,
            op: Some(op),
        }
    }
}

/// Every method of the public interface.
pub fn methods() -> &'static [Method] {
    static METHODS: LazyLock<Vec<Method>> = LazyLock::new(|| {
        let rest = POOL.get_extension_by_name("berth.options.v1.rest").expect("option in options.proto");
        let mut methods = Vec::new();
        for service in POOL.services() {
            for descriptor in service.methods() {
                if let Some(op) = crate::op::op(&descriptor) {
                    methods.push(Method::of_op(descriptor, op));
                    continue;
                }
                let options = descriptor.options();
                let Value::Message(rest) = options.get_extension(&rest).into_owned() else { continue };
                let text = |name: &str| {
                    rest.get_field_by_name(name)
                        .and_then(|v| v.as_str().map(str::to_owned))
                        .unwrap_or_default()
                };
                if text("path").is_empty() {
                    continue;
                }
                let flag =
                    |name: &str| rest.get_field_by_name(name).and_then(|v| v.as_bool()).unwrap_or(false);
                let body = match rest.get_field_by_name("body").and_then(|v| v.as_enum_number()) {
                    Some(1) => Body::CloudEvents,
                    Some(2) => Body::Foreign,
                    _ => Body::Request,
                };
                methods.push(Method {
                    http_method: text("method"),
                    path: text("path"),
                    permission: text("permission"),
                    mutating: flag("mutating"),
                    lines: flag("lines"),
                    response_body: text("response_body"),
                    body,
                    op: None,
                    descriptor,
                });
            }
        }
        methods
    });
    &METHODS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::v1::Resources;
    use crate::gateway::v1::EventRecord;
    use crate::scheduler::v1::{Instance, InstanceDeleted};
    use prost::Message as _;
    use serde_json::json;

    #[test]
    fn an_event_says_every_field_and_whole_numbers_stay_whole_through_a_struct() {
        let instance = Instance {
            id: "i".into(),
            revision: 7,
            created_at_us: 1_700_000_000_000_000,
            ..Instance::default()
        };
        let event = InstanceDeleted { instance: Some(instance), operations: vec![] };
        let data = to_json("berth.scheduler.v1.InstanceDeleted", &event.encode_to_vec()).expect("known");
        assert_eq!((&data["instance"]["revision"], &data["operations"]), (&json!(7), &json!([])));
        assert_eq!(
            (&data["instance"]["host_id"], &data["instance"]["has_booted"]),
            (&json!(""), &json!(false))
        );
        assert_eq!(data["instance"]["phase"], "INSTANCE_PHASE_UNSPECIFIED");
        assert_eq!(data["instance"].get("refusal"), None, "messages that are not set are left out");
        let record = EventRecord { sequence: 3, data: Some(to_struct(data)), ..EventRecord::default() };
        let shown = to_json("berth.gateway.v1.EventRecord", &record.encode_to_vec()).expect("known");
        let text = shown.to_string();
        assert!(
            text.contains("\"revision\":7,") && text.contains("\"created_at_us\":1700000000000000,"),
            "{text}"
        );
    }

    #[test]
    fn numbers_that_doubles_would_round_are_strings() {
        let resources = Resources { vcpus_milli: EXACT, memory_bytes: EXACT + 1, disk_bytes: u64::MAX };
        let shown = to_json("berth.common.v1.Resources", &resources.encode_to_vec()).expect("known");
        let expected = json!({"vcpus_milli": EXACT, "memory_bytes": "9007199254740993", "disk_bytes": "18446744073709551615"});
        assert_eq!(shown, expected);
        let again = match to_struct(shown).fields["memory_bytes"].kind.clone() {
            Some(prost_types::value::Kind::StringValue(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(again, "9007199254740993");
    }
}
