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

/// A message as JSON in protobuf's JSON mapping, with the names of the .proto file. The error says why the bytes
/// are not that message.
pub fn to_json(full_name: &str, bytes: &[u8]) -> Result<serde_json::Value, String> {
    let descriptor =
        POOL.get_message_by_name(full_name).ok_or_else(|| format!("no message is called {full_name}"))?;
    let message = DynamicMessage::decode(descriptor, bytes).map_err(|e| format!("not a {full_name}: {e}"))?;
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(true)
        .stringify_64_bit_integers(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|e| e.to_string())
}

/// JSON as a `google.protobuf.Struct`; what is not an object becomes `{"value": …}`.
pub fn to_struct(json: serde_json::Value) -> prost_types::Struct {
    match to_value(json).kind {
        Some(prost_types::value::Kind::StructValue(object)) => object,
        kind => prost_types::Struct { fields: [("value".to_owned(), prost_types::Value { kind })].into() },
    }
}

fn to_value(json: serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(b) => Kind::BoolValue(b),
        // beyond 2^53 a double would round: such numbers stay exact as text
        Json::Number(n) => match (n.as_f64(), n.as_u64(), n.as_i64()) {
            (_, Some(u), _) if u > 1 << 53 => Kind::StringValue(n.to_string()),
            (_, _, Some(i)) if i < -(1 << 53) => Kind::StringValue(n.to_string()),
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
}

/// Every method of the public interface.
pub fn methods() -> &'static [Method] {
    static METHODS: LazyLock<Vec<Method>> = LazyLock::new(|| {
        let rest = POOL.get_extension_by_name("berth.options.v1.rest").expect("option in options.proto");
        let mut methods = Vec::new();
        for service in POOL.services() {
            for descriptor in service.methods() {
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
                let mutating = rest.get_field_by_name("mutating").and_then(|v| v.as_bool()).unwrap_or(false);
                methods.push(Method {
                    http_method: text("method"),
                    path: text("path"),
                    permission: text("permission"),
                    mutating,
                    descriptor,
                });
            }
        }
        methods
    });
    &METHODS
}
