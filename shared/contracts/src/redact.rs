//! Requests for records: without what is secret, and without what was sent by mistake.

use crate::check;
use crate::options::v1::Format;
use crate::reflect::{json_of, pool};
use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
};
use std::sync::LazyLock;

/// What stands for a secret in a record of a request.
pub const REDACTED: &str = "[redacted]";

/// Messages that are between services alone.
const SECRETS: [&str; 2] = ["berth.common.v1.Sealed", "berth.gateway.v1.KeyedHash"];

/// Whether what stands in a field is told to nobody, not even sealed.
pub fn is_secret(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(inner) if SECRETS.contains(&inner.full_name()))
}

/// A message as JSON (see [`json_of`]) in which fields marked `berth.options.v1.secret` say [`REDACTED`] when they
/// hold anything.
pub fn redacted_json(message: &DynamicMessage) -> Result<serde_json::Value, String> {
    let mut json = json_of(message)?;
    redact(&message.descriptor(), &mut json);
    Ok(json)
}

fn redact(descriptor: &MessageDescriptor, json: &mut serde_json::Value) {
    static SECRET: LazyLock<ExtensionDescriptor> = LazyLock::new(|| {
        pool().get_extension_by_name("berth.options.v1.secret").expect("option in options.proto")
    });
    let serde_json::Value::Object(fields) = json else { return };
    for field in descriptor.fields() {
        let Some(value) = fields.get_mut(field.name()) else { continue };
        // what was sent by mistake is a secret as well
        blot_out(&field, value);
        if field.options().get_extension(&SECRET).as_bool() == Some(true) {
            let empty = value.as_str().is_some_and(str::is_empty)
                || value.as_array().is_some_and(Vec::is_empty)
                || value.is_null();
            if !empty {
                *value = REDACTED.into();
            }
        } else if field.is_map() {
            let Kind::Message(entry) = field.kind() else { continue };
            if let (Kind::Message(inner), serde_json::Value::Object(entries)) =
                (entry.map_entry_value_field().kind(), value)
            {
                entries.values_mut().for_each(|value| redact(&inner, value));
            }
        } else if let Kind::Message(inner) = field.kind() {
            match value {
                serde_json::Value::Array(items) => items.iter_mut().for_each(|item| redact(&inner, item)),
                value => redact(&inner, value),
            }
        }
    }
}

/// Blots out what does not belong where it stands: a private key anywhere, and what is no public key, nor the name of
/// one, where public keys are. Options before a key may hold anything.
fn blot_out(field: &FieldDescriptor, value: &mut serde_json::Value) {
    use serde_json::Value as Json;
    let keys = check::rules(field).format == Format::PublicKey;
    match value {
        Json::String(text) => {
            let right = text.is_empty()
                || kernel::public_keys::public_key(text).is_ok_and(|key| !key.has_options)
                || kernel::names::name(text).is_ok();
            if kernel::public_keys::is_private_key(text) || (keys && !right) {
                *value = REDACTED.into();
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| blot_out(field, item)),
        Json::Object(entries) if field.is_map() => {
            entries.values_mut().for_each(|entry| blot_out(field, entry));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use serde_json::json;

    #[test]
    fn secrets_are_left_out_of_records() {
        use crate::gateway::v1::{CreateInstanceRequest, ExecInstanceRequest};
        let shown = |name: &str, bytes: &[u8]| {
            let descriptor = pool().get_message_by_name(name).expect("known");
            redacted_json(&DynamicMessage::decode(descriptor, bytes).expect("decodes")).expect("json")
        };
        let create =
            CreateInstanceRequest { name: "web".into(), user_data: "hunter2".into(), ..Default::default() };
        let json = shown("berth.gateway.v1.CreateInstanceRequest", &create.encode_to_vec());
        assert_eq!((&json["name"], &json["user_data"]), (&json!("web"), &json!(REDACTED)));
        let exec = ExecInstanceRequest { argv: vec!["hunter2".into()], ..Default::default() };
        let json = shown("berth.gateway.v1.ExecInstanceRequest", &exec.encode_to_vec());
        assert_eq!((&json["argv"], &json["stdin"]), (&json!(REDACTED), &json!("")));
    }

    #[test]
    fn what_was_sent_by_mistake_is_left_out_of_records() {
        use crate::gateway::v1::CreateInstanceRequest;
        use crate::scheduler::v1::CreateSshKeyRequest;
        let shown = |name: &str, bytes: &[u8]| {
            let descriptor = pool().get_message_by_name(name).expect("known");
            redacted_json(&DynamicMessage::decode(descriptor, bytes).expect("decodes")).expect("json")
        };
        let public =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n";
        let create = CreateSshKeyRequest {
            name: private.into(),
            public_key: "hunter2 of a token".into(),
            labels: [("key".to_owned(), "PuTTY-User-Key-File-3: hunter2".to_owned())].into(),
        };
        let json = shown("berth.scheduler.v1.CreateSshKeyRequest", &create.encode_to_vec());
        assert!(!json.to_string().contains("hunter2"), "{json}");
        let keys = vec![public.into(), "laptop".into(), private.into(), "Private-Lines: hunter2".into()];
        let create = CreateInstanceRequest { ssh_authorized_keys: keys, ..Default::default() };
        let json = shown("berth.gateway.v1.CreateInstanceRequest", &create.encode_to_vec());
        assert_eq!(json["ssh_authorized_keys"], json!([public, "laptop", REDACTED, REDACTED]));
    }
}
