//! What is declared of the values of fields (`berth.options.v1.field`), held against a request: by the gateway before it
//! takes it on, and by the owner before it obeys.

use crate::catalogue::KINDS;
use crate::object::ObjectKind;
use crate::options::v1::Format;
use crate::reflect::pool;
use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Most objects that one field refers to.
pub const REFERENCES: usize = 64;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where: "spec.name".
    pub field: String,
    /// What, and what would be right.
    pub why: String,
}

/// What is declared of a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// It must be given.
    pub required: bool,
    /// What it has to look like.
    pub format: Format,
    /// A list shows it.
    pub listed: bool,
    /// A list shows it where there is room.
    pub wide: bool,
    /// The id of an object of this kind stands in it.
    pub refers: Option<&'static ObjectKind>,
}

/// Fields of a message that are shown only to whoever holds a permission: number and permission of each.
pub fn guarded(message: &MessageDescriptor) -> &'static [(u32, String)] {
    static GUARDED: LazyLock<HashMap<String, Vec<(u32, String)>>> = LazyLock::new(|| {
        let of = |message: MessageDescriptor| {
            let needs = |field: FieldDescriptor| Some((field.number(), text(&declared(&field)?, "needs")?));
            (message.full_name().to_owned(), message.fields().filter_map(needs).collect::<Vec<_>>())
        };
        pool().all_messages().map(of).filter(|(_, fields)| !fields.is_empty()).collect()
    });
    GUARDED.get(message.full_name()).map(Vec::as_slice).unwrap_or_default()
}

/// What is declared of a field.
fn declared(field: &FieldDescriptor) -> Option<DynamicMessage> {
    static FIELD: LazyLock<ExtensionDescriptor> = LazyLock::new(|| {
        pool().get_extension_by_name("berth.options.v1.field").expect("option in options.proto")
    });
    let options = field.options();
    match options.has_extension(&FIELD).then(|| options.get_extension(&FIELD).into_owned())? {
        Value::Message(said) => Some(said),
        _ => None,
    }
}

fn text(said: &DynamicMessage, name: &str) -> Option<String> {
    let value = said.get_field_by_name(name)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What is declared of a field; nothing = everything may stand in it.
pub fn rules(field: &FieldDescriptor) -> Rules {
    let Some(said) = &declared(field) else { return Rules::default() };
    let number =
        |name: &str| said.get_field_by_name(name).and_then(|v| v.as_enum_number()).unwrap_or_default();
    let column = number("column");
    let refers = text(said, "refers");
    Rules {
        required: said.get_field_by_name("required").is_some_and(|v| v.as_bool() == Some(true)),
        format: Format::try_from(number("format")).unwrap_or_default(),
        listed: column == 1,
        wide: column == 2,
        refers: KINDS.iter().find(|kind| Some(kind.name) == refers.as_deref()),
    }
}

/// The first thing that is wrong with an encoded message of this name.
pub fn bytes(full_name: &str, bytes: &[u8]) -> Result<(), Wrong> {
    let broken = |why: String| Wrong { field: String::new(), why };
    let descriptor = pool()
        .get_message_by_name(full_name)
        .ok_or_else(|| broken(format!("no message is called {full_name}")))?;
    let message =
        DynamicMessage::decode(descriptor, bytes).map_err(|e| broken(format!("not a {full_name}: {e}")))?;
    check(&message)
}

/// The first thing that is wrong with a message, in the order of its fields.
pub fn check(message: &DynamicMessage) -> Result<(), Wrong> {
    if let Some(unknown) = message.unknown_fields().next() {
        let why = format!("field number {} is not known here: a newer client sent it", unknown.number());
        return Err(Wrong { field: String::new(), why });
    }
    for field in message.descriptor().fields() {
        let value = message.get_field(&field);
        let rules = rules(&field);
        let at = |why: String| Wrong { field: field.name().to_owned(), why };
        if rules.required && !is_given(&field, &value, message) {
            return Err(at("is missing".to_owned()));
        }
        match (&*value, field.kind()) {
            (Value::String(text), _) if !text.is_empty() => format(rules.format, text).map_err(at)?,
            (Value::Map(entries), _) if rules.format == Format::Labels => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let pairs = entries.iter().map(|(key, value)| match key {
                    MapKey::String(key) => (key.clone(), text(value)),
                    other => (format!("{other:?}"), text(value)),
                });
                kernel::labels::labels(&pairs.collect()).map_err(|(key, why)| match key {
                    None => at(why),
                    Some(key) => Wrong { field: format!("{}.{key}", field.name()), why },
                })?;
            }
            (Value::List(items), _) if rules.refers.is_some() && items.len() > REFERENCES => {
                return Err(at(format!("names {} objects: at most {REFERENCES}", items.len())));
            }
            (Value::List(items), _) => {
                for (index, item) in items.iter().enumerate() {
                    let inside = |wrong: Wrong| within(&format!("{}[{index}]", field.name()), wrong);
                    match item {
                        Value::String(text) => {
                            format(rules.format, text)
                                .map_err(|why| inside(Wrong { field: String::new(), why }))?;
                        }
                        Value::Message(inner) => check(inner).map_err(inside)?,
                        _ => {}
                    }
                }
            }
            (Value::Message(inner), Kind::Message(_)) if message.has_field(&field) => {
                check(inner).map_err(|wrong| within(field.name(), wrong))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn within(outer: &str, wrong: Wrong) -> Wrong {
    let field = if wrong.field.is_empty() { outer.to_owned() } else { format!("{outer}.{}", wrong.field) };
    Wrong { field, ..wrong }
}

fn is_given(field: &FieldDescriptor, value: &Value, message: &DynamicMessage) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        Value::EnumNumber(number) => *number != 0,
        _ => message.has_field(field),
    }
}

fn format(format: Format, text: &str) -> Result<(), String> {
    match format {
        Format::Name => kernel::names::name(text),
        Format::PublicKey => kernel::public_keys::public_key(text).map(drop),
        // of maps
        Format::Labels | Format::Unspecified => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::v1::{CreateSshKeyRequest, DeleteSshKeyRequest};
    use prost::Message as _;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBhSVJZCW4bW9Sp3HNHwY4EW1gG7hK0dn3sHrHbd2x5p ann@desk";

    fn create(change: impl FnOnce(&mut CreateSshKeyRequest)) -> Result<(), (String, String)> {
        let mut request = CreateSshKeyRequest {
            name: "ann".into(),
            public_key: KEY.into(),
            ..CreateSshKeyRequest::default()
        };
        change(&mut request);
        let checked = bytes("berth.scheduler.v1.CreateSshKeyRequest", &request.encode_to_vec());
        checked.map_err(|wrong| (wrong.field, wrong.why))
    }

    #[test]
    fn what_is_declared_is_held_against_a_request() {
        assert_eq!(create(|_| {}), Ok(()));
        let wrong = |change: fn(&mut CreateSshKeyRequest)| create(change).expect_err("wrong");
        assert_eq!(wrong(|r| r.name.clear()), ("name".to_owned(), "is missing".to_owned()));
        let (field, why) = wrong(|r| r.name = "Ann".into());
        assert!(field == "name" && why.contains("\"Ann\" is not a name"), "{why}");
        let (field, why) = wrong(|r| r.public_key = "ssh-ed25519 AAAA".into());
        assert!(field == "public_key" && why.contains("ssh-ed25519"), "{why}");
        let (field, _) = wrong(|r| drop(r.labels.insert("team".into(), "a\nb".into())));
        assert_eq!(field, "labels.team");
        let (field, _) = wrong(|r| drop(r.labels.insert("-".into(), String::new())));
        assert_eq!(field, "labels");
    }

    #[test]
    fn a_field_from_the_future_is_refused() {
        let mut sent = DeleteSshKeyRequest { name: "ann".into(), if_revision: 0 }.encode_to_vec();
        sent.extend([0x9a, 0x06, 1, b'x']); // field 99
        let wrong = bytes("berth.scheduler.v1.DeleteSshKeyRequest", &sent).expect_err("not known");
        assert!(wrong.why.contains("99"), "{}", wrong.why);
    }
}
