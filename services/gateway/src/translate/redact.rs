//! Sealed secrets never leave through the public door, not even sealed.

use contracts::gateway::v1::Operation;
use contracts::scheduler::v1::Instance;
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};

const SEALED: &str = "berth.common.v1.Sealed";

/// Clears every sealed field, however deep.
pub fn strip(message: &mut DynamicMessage) {
    let sealed: Vec<_> = message
        .descriptor()
        .fields()
        .filter(|field| matches!(field.kind(), Kind::Message(inner) if inner.full_name() == SEALED))
        .collect();
    for field in &sealed {
        message.clear_field(field);
    }
    for (_, value) in message.fields_mut() {
        strip_value(value);
    }
}

fn strip_value(value: &mut Value) {
    match value {
        Value::Message(inner) => strip(inner),
        Value::List(items) => items.iter_mut().for_each(strip_value),
        Value::Map(entries) => entries.values_mut().for_each(strip_value),
        _ => {}
    }
}

/// A message of the bus as JSON without its sealed parts; `None` when the bytes are not that message.
pub fn json(full_name: &str, bytes: &[u8]) -> Option<serde_json::Value> {
    let descriptor = contracts::pool().get_message_by_name(full_name)?;
    let mut message = DynamicMessage::decode(descriptor, bytes).ok()?;
    strip(&mut message);
    contracts::to_json(full_name, &message.encode_to_vec()).ok()
}

/// An instance without its sealed user data.
pub fn instance(mut instance: Instance) -> Instance {
    if let Some(spec) = &mut instance.spec {
        spec.user_data = None;
    }
    instance
}

/// An operation without its sealed output.
pub fn operation(mut operation: Operation) -> Operation {
    operation.output = None;
    operation
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::common::v1::Sealed;
    use contracts::scheduler::v1::{InstanceReady, InstanceSpec};

    #[test]
    fn no_sealed_byte_is_left_anywhere() {
        let secret =
            Sealed { key_id: "key".into(), nonce: b"NONCE".to_vec(), ciphertext: b"CIPHERTEXT".to_vec() };
        let spec =
            InstanceSpec { user_data: Some(secret), hostname: "web".into(), ..InstanceSpec::default() };
        let whole = Instance { id: "i".into(), spec: Some(spec), ..Instance::default() };
        let event = InstanceReady { instance: Some(whole.clone()), operations: vec![] };
        let descriptor =
            contracts::pool().get_message_by_name("berth.scheduler.v1.InstanceReady").expect("known");
        let mut message = DynamicMessage::decode(descriptor, &*event.encode_to_vec()).expect("decodes");
        strip(&mut message);
        let bytes = message.encode_to_vec();
        assert!(!bytes.windows(10).any(|w| w == b"CIPHERTEXT"));
        let left = InstanceReady::decode(&*bytes).expect("decodes").instance;
        assert_eq!(left, Some(instance(whole)));
    }
}
