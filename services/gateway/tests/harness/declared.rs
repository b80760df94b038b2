//! Objects of declared kinds: requests about them, and such objects, by their descriptors. A kind that is new is tried
//! with the others without a word more.

use bus::{Cause, Envelope};
use bytes::Bytes;
use contracts::options::v1::Format;
use contracts::{Method, ObjectKind, check, pool};
use kernel::{MessageId, Subject};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, Value};
use serde_json::json;

/// All kinds that are declared with methods.
pub fn kinds() -> impl Iterator<Item = &'static ObjectKind> {
    contracts::KINDS.iter().filter(|kind| kind.served)
}

/// A request with everything that is required, about the object of this name; `None`: the method is not declared by a
/// kind.
pub fn request(method: &Method, name: &str) -> Option<serde_json::Value> {
    let mut request = serde_json::Map::new();
    method.op?;
    for field in method.descriptor.input().fields() {
        let rules = check::rules(&field);
        if field.name() != "name" && !rules.required {
            continue;
        }
        let value = match (field.name(), rules.format, field.kind()) {
            ("name", ..) => json!(name),
            (_, Format::PublicKey, _) => json!(
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop"
            ),
            (_, _, Kind::String) => json!("x"),
            (field, ..) => panic!("say here what stands in {field} of {}", method.descriptor.name()),
        };
        request.insert(field.name().to_owned(), value);
    }
    Some(request.into())
}

/// The event that an object came to be, as its owner would say it.
pub fn created(kind: &'static ObjectKind, tenant: &str, id: &str, name: &str) -> Envelope {
    let descriptor = pool().get_message_by_name(kind.message).expect("known");
    let mut object = DynamicMessage::new(descriptor);
    object.set_field_by_name("id", Value::String(id.into()));
    object.set_field_by_name("tenant", Value::String(tenant.into()));
    object.set_field_by_name("name", Value::String(name.into()));
    object.set_field_by_name("revision", Value::U64(1));
    object.set_field_by_name("created_at_us", Value::I64(1));
    object.set_field_by_name("updated_at_us", Value::I64(1));
    let labels = [(prost_reflect::MapKey::String("team".into()), Value::String(format!("{tenant}-team")))];
    object.set_field_by_name("labels", Value::Map(labels.into()));
    let created = |event: &&contracts::Entry| event.name.ends_with("Created");
    let event = contracts::events_of(kind).find(created).expect("declared");
    let mut said = DynamicMessage::new(pool().get_message_by_name(event.full_name).expect("known"));
    said.set_field_by_name(event.carries.expect("an object").field, Value::Message(object));
    let cause = Cause::own(event.service).for_tenant(tenant);
    Envelope {
        id: MessageId::new(),
        subject: Subject {
            kind: event.kind,
            service: event.service.into(),
            version: event.version.into(),
            name: event.name.into(),
            tenant: tenant.into(),
            key: id.into(),
        },
        cause,
        occurred_at: kernel::Timestamp(1),
        payload: Bytes::from(said.encode_to_vec()),
    }
}
