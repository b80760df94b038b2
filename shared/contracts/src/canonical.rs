//! One encoding for each message: the bytes that the typed message would have.

use prost::Message as _;
use prost::bytes::BufMut as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};

/// The message with fields in the order of their numbers, entries of maps in the order of their keys, and nothing that is
/// at its default: encoded as the generated type does it. A dynamic message by itself keeps maps in no order.
pub fn canonical(message: &DynamicMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(|(field, _)| field.number());
    for (field, value) in fields {
        match value {
            Value::Map(entries) => map(&field, entries, &mut bytes),
            Value::Message(inner) => put(field.number(), &canonical(inner), &mut bytes),
            Value::List(items) if matches!(field.kind(), Kind::Message(_)) => {
                for inner in items.iter().filter_map(Value::as_message) {
                    put(field.number(), &canonical(inner), &mut bytes);
                }
            }
            value => bytes.extend(alone(message.descriptor(), &field, value.clone())),
        }
    }
    bytes
}

fn map(field: &FieldDescriptor, entries: &std::collections::HashMap<MapKey, Value>, bytes: &mut Vec<u8>) {
    let Kind::Message(entry) = field.kind() else { return };
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (key, value) in entries {
        let mut one = DynamicMessage::new(entry.clone());
        one.set_field(&entry.map_entry_key_field(), key.clone().into());
        one.set_field(&entry.map_entry_value_field(), value.clone());
        put(field.number(), &canonical(&one), bytes);
    }
}

fn put(number: u32, content: &[u8], bytes: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.put_slice(content);
}

fn alone(message: MessageDescriptor, field: &FieldDescriptor, value: Value) -> Vec<u8> {
    let mut one = DynamicMessage::new(message);
    one.set_field(field, value);
    one.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::v1::CreateInstanceRequest;
    use crate::scheduler::v1::CreateSshKeyRequest;

    #[track_caller]
    fn as_typed<M: prost::Message>(name: &str, typed: &M) {
        let bytes = typed.encode_to_vec();
        let descriptor = crate::pool().get_message_by_name(name).expect("known");
        for _ in 0..20 {
            let dynamic = DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).expect("decodes");
            assert_eq!(canonical(&dynamic), bytes);
        }
    }

    #[test]
    fn the_encoding_is_that_of_the_typed_message() {
        let labels: std::collections::BTreeMap<String, String> =
            (0..9).map(|n| (format!("key{n}"), if n == 4 { String::new() } else { n.to_string() })).collect();
        let key = CreateSshKeyRequest { name: "ann".into(), public_key: "x".into(), labels: labels.clone() };
        as_typed("berth.scheduler.v1.CreateSshKeyRequest", &key);
        let instance = CreateInstanceRequest {
            name: "web".into(),
            labels,
            ssh_authorized_keys: vec!["a".into(), String::new()],
            resources: Some(crate::common::v1::Resources {
                vcpus_milli: 7,
                memory_bytes: 0,
                disk_bytes: 1 << 40,
            }),
            ..CreateInstanceRequest::default()
        };
        as_typed("berth.gateway.v1.CreateInstanceRequest", &instance);
        as_typed("berth.scheduler.v1.CreateSshKeyRequest", &CreateSshKeyRequest::default());
    }
}
