//! Texts of messages that no table takes. What comes from outside is held against it before anything else is done with it:
//! PostgreSQL refuses U+0000 in a text, SQLite takes it, and a request must not end differently on the one and the other.

use prost_reflect::{DynamicMessage, MapKey, MessageDescriptor, Value};

/// The path of the first text of an encoded message that holds U+0000: "labels.team", "argv[1]". What is no such message
/// has none: whoever reads it says so.
pub fn unstorable(descriptor: &MessageDescriptor, bytes: &[u8]) -> Option<String> {
    // nearly every message is without that byte, and need not be read for it
    if !bytes.contains(&0) {
        return None;
    }
    first(&DynamicMessage::decode(descriptor.clone(), bytes).ok()?)
}

/// The path of the first text of a message that holds U+0000.
pub fn first(message: &DynamicMessage) -> Option<String> {
    message.fields().find_map(|(field, value)| within(value).map(|inner| format!("{}{inner}", field.name())))
}

/// Where in a value: "" = it is the text.
fn within(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Message(inner) => first(inner).map(|path| format!(".{path}")),
        Value::List(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| within(item).map(|inner| format!("[{index}]{inner}"))),
        Value::Map(entries) => entries.iter().find_map(|(key, item)| match key {
            // the key itself cannot be shown
            MapKey::String(key) if key.contains('\0') => Some(String::new()),
            MapKey::String(key) => within(item).map(|inner| format!(".{key}{inner}")),
            _ => within(item),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::v1::{CreateInstanceRequest, ExecInstanceRequest};

    fn path(name: &str, message: &impl prost::Message) -> Option<String> {
        let descriptor = crate::pool().get_message_by_name(name).expect("a message");
        unstorable(&descriptor, &message.encode_to_vec())
    }

    #[test]
    fn a_text_with_nul_is_found_wherever_it_stands() {
        let create = |change: fn(&mut CreateInstanceRequest)| {
            let mut request = CreateInstanceRequest { name: "web".into(), ..Default::default() };
            change(&mut request);
            path("berth.gateway.v1.CreateInstanceRequest", &request)
        };
        assert_eq!(create(|_| {}), None);
        assert_eq!(create(|r| r.name = "a\0".into()).as_deref(), Some("name"));
        assert_eq!(
            create(|r| r.ssh_authorized_keys = vec!["k".into(), "\0".into()]).as_deref(),
            Some("ssh_authorized_keys[1]")
        );
        let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let labelled = |key: &str, value: &str| {
            let request = CreateInstanceRequest { labels: label(key, value), ..Default::default() };
            path("berth.gateway.v1.CreateInstanceRequest", &request)
        };
        assert_eq!(labelled("team", "\0").as_deref(), Some("labels.team"));
        assert_eq!(labelled("te\0am", "web").as_deref(), Some("labels"));
        // bytes may hold whatever they hold
        let exec = ExecInstanceRequest { stdin: vec![0, 1], argv: vec!["cat".into()], ..Default::default() };
        assert_eq!(path("berth.gateway.v1.ExecInstanceRequest", &exec), None);
    }
}
