//! Samples of messages with every field set, and what golden bytes say about a message of today.

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use std::collections::HashMap;

/// Committed bytes of one message.
#[derive(Debug, Clone)]
pub struct Golden {
    /// Full name.
    pub message: String,
    /// 1 for the first file of a message.
    pub number: u32,
    pub bytes: Vec<u8>,
}

const LINE: usize = 96;

impl Golden {
    /// `<full name>.hex` or `<full name>.<number>.hex`; hex digits, line breaks anywhere.
    pub fn read(file: &str, text: &str) -> Result<Self, String> {
        let stem = file.strip_suffix(".hex").ok_or("golden files end with .hex")?;
        let (message, number) = match stem.rsplit_once('.') {
            Some((message, number)) if number.bytes().all(|b| b.is_ascii_digit()) => {
                (message, number.parse().map_err(|_| "a number that large")?)
            }
            _ => (stem, 1),
        };
        let digits: String = text.split_whitespace().collect();
        let bytes = hex::decode(digits).map_err(|error| error.to_string())?;
        Ok(Self { message: message.to_owned(), number, bytes })
    }

    pub fn text(bytes: &[u8]) -> String {
        let digits = hex::encode(bytes);
        digits.as_bytes().chunks(LINE).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect()
    }
}

/// What golden bytes say about a message.
pub struct Verdict {
    /// What broke.
    pub problems: Vec<String>,
    /// The file that should be added.
    pub missing: Option<String>,
}

pub fn judge(pool: &DescriptorPool, name: &str, goldens: &[Golden]) -> Verdict {
    let Some(descriptor) = pool.get_message_by_name(name) else {
        return Verdict { problems: vec![format!("{name} is gone")], missing: None };
    };
    let mut problems = Vec::new();
    for golden in goldens {
        let told = |why: String| format!("golden bytes {} of {name}: {why}", golden.number);
        match DynamicMessage::decode(descriptor.clone(), golden.bytes.as_slice()) {
            Err(error) => problems.push(told(format!("cannot be read any more: {error}"))),
            Ok(message) => {
                let mut differences = Vec::new();
                compare(&message, name, &mut differences);
                if differences.is_empty() && message.encode_to_vec() != golden.bytes {
                    differences.push("are written differently today".to_owned());
                }
                problems.extend(differences.into_iter().map(told));
            }
        }
    }
    let full = sample(pool, name);
    let present = goldens.iter().any(|golden| golden.bytes == full);
    let number = goldens.iter().map(|golden| golden.number).max().unwrap_or(0) + 1;
    let file = if number == 1 { format!("{name}.hex") } else { format!("{name}.{number}.hex") };
    // while old bytes are broken, new ones would only hide it
    let missing = (!present && problems.is_empty()).then_some(file);
    Verdict { problems, missing }
}

/// Every field that is set must have the value its sample has today: then number, type and name are the same.
fn compare(message: &DynamicMessage, path: &str, differences: &mut Vec<String>) {
    for unknown in message.unknown_fields() {
        differences.push(format!("{path} has lost field {}", unknown.number()));
    }
    for (field, value) in message.fields() {
        let path = format!("{path}.{}", field.name());
        compare_value(&field, value, &path, differences);
    }
}

fn compare_value(field: &FieldDescriptor, value: &Value, path: &str, differences: &mut Vec<String>) {
    match value {
        Value::Message(inner) => compare(inner, path, differences),
        Value::List(items) if field.is_list() => {
            if items.len() != 2 {
                differences.push(format!("{path} held two elements"));
            }
            items.iter().for_each(|item| compare_value(field, item, path, differences));
        }
        Value::Map(entries) => {
            let Kind::Message(entry) = field.kind() else { return };
            for (key, value) in entries {
                if *key != sample_key(&entry.map_entry_key_field()) {
                    differences.push(format!("{path} has another key: {key:?}"));
                }
                compare_value(&entry.map_entry_value_field(), value, path, differences);
            }
        }
        scalar => {
            let expected = sample_scalar(field);
            if *scalar != expected {
                differences.push(format!("{path} reads {scalar:?} instead of {expected:?}: was it renumbered, renamed or given another type?"));
            }
        }
    }
}

/// The encoded sample of a message.
pub fn sample(pool: &DescriptorPool, name: &str) -> Vec<u8> {
    let descriptor = pool.get_message_by_name(name).unwrap_or_else(|| panic!("no message is called {name}"));
    sample_message(&descriptor, &mut Vec::new()).encode_to_vec()
}

/// Every field set, of a oneof the first one; a message inside itself is left empty.
fn sample_message(descriptor: &MessageDescriptor, inside: &mut Vec<String>) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if inside.iter().any(|name| name == descriptor.full_name()) {
        return message;
    }
    inside.push(descriptor.full_name().to_owned());
    for field in descriptor.fields() {
        let first = |field: &FieldDescriptor| {
            field
                .containing_oneof()
                .is_none_or(|oneof| oneof.fields().map(|f| f.number()).min() == Some(field.number()))
        };
        if first(&field) {
            message.set_field(&field, sample_value(&field, inside));
        }
    }
    inside.pop();
    message
}

fn sample_value(field: &FieldDescriptor, inside: &mut Vec<String>) -> Value {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { panic!("a map is made of entries") };
        let value = sample_single(&entry.map_entry_value_field(), inside);
        return Value::Map(HashMap::from([(sample_key(&entry.map_entry_key_field()), value)]));
    }
    let single = sample_single(field, inside);
    // two, so that a list that becomes a single value is noticed
    if field.is_list() { Value::List(vec![single.clone(), single]) } else { single }
}

fn sample_single(field: &FieldDescriptor, inside: &mut Vec<String>) -> Value {
    match field.kind() {
        Kind::Message(inner) => Value::Message(sample_message(&inner, inside)),
        _ => sample_scalar(field),
    }
}

/// A value that no other field of a message has: it depends on name, number and type.
fn sample_scalar(field: &FieldDescriptor) -> Value {
    let name = field.name();
    // names of fields are part of the public JSON, so they are part of the sample
    let number =
        name.bytes().fold(u64::from(field.number()), |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_003)
            + 1;
    let (small, large) = (i32::try_from(number).unwrap_or(i32::MAX), number * 4_294_967_311);
    match field.kind() {
        Kind::Double => Value::F64(f64::from(small) + 0.5),
        Kind::Float => Value::F32(1.5),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(-small),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(-i64::try_from(large).unwrap_or(i64::MAX)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(small.unsigned_abs()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(large),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String(format!("{name} ü")),
        Kind::Bytes => Value::Bytes([name.as_bytes(), &[0, 0xff]].concat().into()),
        // the smallest value that means something; values are added at the end
        Kind::Enum(of) => {
            Value::EnumNumber(of.values().map(|v| v.number()).filter(|n| *n > 0).min().unwrap_or(0))
        }
        Kind::Message(inner) => panic!("{} is not a scalar", inner.full_name()),
    }
}

fn sample_key(field: &FieldDescriptor) -> MapKey {
    match sample_scalar(field) {
        Value::String(text) => MapKey::String(text),
        Value::U32(number) => MapKey::U32(number),
        Value::U64(number) => MapKey::U64(number),
        Value::I32(number) => MapKey::I32(number),
        Value::I64(number) => MapKey::I64(number),
        Value::Bool(bool) => MapKey::Bool(bool),
        other => panic!("{other:?} cannot be a key"),
    }
}

#[test]
fn golden_files_are_read_as_they_are_written() {
    let bytes: Vec<u8> = (0..=255).collect();
    let golden = Golden::read("berth.x.v1.A.2.hex", &Golden::text(&bytes)).unwrap();
    assert_eq!((golden.message.as_str(), golden.number, golden.bytes), ("berth.x.v1.A", 2, bytes));
    assert_eq!(Golden::read("berth.x.v1.A.hex", "00\nff\n").unwrap().bytes, [0, 255]);
    assert!(Golden::read("a.hex", "zz").is_err() && Golden::read("a.txt", "").is_err());
}
