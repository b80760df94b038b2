//! The labels that an event carries.

use bus::Envelope;
use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value};
use std::collections::BTreeMap;

/// Labels of whatever the event is about: the maps called `labels` in its messages, however deep, but not those of
/// lists, which are about other things.
pub fn carried(envelope: &Envelope) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let subject = &envelope.subject;
    let message = contracts::entry(&subject.service, &subject.version, &subject.name)
        .and_then(|entry| contracts::pool().get_message_by_name(entry.full_name))
        .and_then(|descriptor| DynamicMessage::decode(descriptor, envelope.payload.clone()).ok());
    if let Some(message) = message {
        collect(&message, &mut found);
    }
    found
}

fn collect(message: &DynamicMessage, found: &mut BTreeMap<String, String>) {
    for field in message.descriptor().fields().filter(|field| message.has_field(field)) {
        match message.get_field(&field).as_ref() {
            Value::Map(entries) if field.name() == "labels" => {
                for (key, value) in entries {
                    if let (MapKey::String(key), Some(value)) = (key, value.as_str()) {
                        found.insert(key.clone(), value.to_owned());
                    }
                }
            }
            Value::Message(inner) => collect(inner, found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::Cause;
    use contracts::scheduler::v1::{Host, HostChanged, Instance, InstanceReady, InstanceSpec};
    use kernel::{Message, MessageId, Subject, Timestamp};

    fn of<M: Message>(event: &M) -> BTreeMap<String, String> {
        let subject = Subject {
            kind: M::KIND,
            service: M::SERVICE.into(),
            version: M::VERSION.into(),
            name: M::NAME.into(),
            tenant: "acme".into(),
            key: "x".into(),
        };
        carried(&Envelope {
            id: MessageId::new(),
            subject,
            cause: Cause::own("scheduler"),
            occurred_at: Timestamp(1),
            payload: event.to_bytes().into(),
        })
    }

    #[test]
    fn labels_are_found_where_objects_have_them() {
        let labels = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
        let require = BTreeMap::from([("disk".to_owned(), "nvme".to_owned())]);
        let spec =
            InstanceSpec { labels: labels.clone(), require_host_labels: require, ..InstanceSpec::default() };
        let instance = Instance { spec: Some(spec), ..Instance::default() };
        assert_eq!(of(&InstanceReady { instance: Some(instance), operations: vec![] }), labels);
        let host = Host { labels: labels.clone(), ..Host::default() };
        assert_eq!(of(&HostChanged { host: Some(host), operations: vec![] }), labels);
        assert!(of(&InstanceReady::default()).is_empty());
    }
}
