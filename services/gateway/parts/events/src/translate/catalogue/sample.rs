//! Samples of messages for tests: with nothing in them, and with everything.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// How deep messages in messages go.
const DEEP: usize = 6;

/// No field is set.
pub fn empty(message: &MessageDescriptor) -> DynamicMessage {
    DynamicMessage::new(message.clone())
}

/// Every field is set; of a choice the one that `pick` leads to, of numbers the extremes in turn.
pub fn full(message: &MessageDescriptor, pick: usize) -> DynamicMessage {
    fill(message, pick, 0)
}

fn fill(message: &MessageDescriptor, pick: usize, depth: usize) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let skipped = field.containing_oneof().is_some_and(|choice| {
            let count = choice.fields().count();
            choice.fields().nth(pick % count.max(1)).is_some_and(|chosen| chosen != field)
        });
        if skipped || (depth >= DEEP && matches!(field.kind(), Kind::Message(_))) {
            continue;
        }
        let value = value(&field, pick, depth);
        filled.set_field(&field, value);
    }
    filled
}

fn value(field: &FieldDescriptor, pick: usize, depth: usize) -> Value {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let key = match entry.map_entry_key_field().kind() {
                Kind::String => MapKey::String("key".into()),
                Kind::Bool => MapKey::Bool(true),
                Kind::Uint32 | Kind::Fixed32 => MapKey::U32(1),
                Kind::Uint64 | Kind::Fixed64 => MapKey::U64(1),
                Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(1),
                _ => MapKey::I32(1),
            };
            Value::Map([(key, one(&entry.map_entry_value_field().kind(), pick, depth))].into())
        }
        kind if field.is_list() => Value::List(vec![one(&kind, pick, depth), one(&kind, pick + 1, depth)]),
        kind => one(&kind, pick, depth),
    }
}

fn one(kind: &Kind, pick: usize, depth: usize) -> Value {
    match kind {
        Kind::Double => Value::F64([0.0, 7.0, -1.5, f64::NAN][pick % 4]),
        Kind::Float => Value::F32([0.0, 7.0, -1.5, f32::INFINITY][pick % 4]),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32([0, 1, i32::MIN, i32::MAX][pick % 4]),
        Kind::Uint32 | Kind::Fixed32 => Value::U32([0, 1, 2, u32::MAX][pick % 4]),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Value::I64([1 << 53, -(1 << 53) - 1, i64::MIN, i64::MAX][pick % 4])
        }
        Kind::Uint64 | Kind::Fixed64 => Value::U64([1 << 53, (1 << 53) + 1, 7, u64::MAX][pick % 4]),
        Kind::Bool => Value::Bool(pick.is_multiple_of(2)),
        Kind::String => Value::String("text".into()),
        Kind::Bytes => Value::Bytes(vec![0xff, 0, 1].into()),
        // the last is a value that nobody knows yet
        Kind::Enum(names) => {
            let known: Vec<i32> = names.values().map(|value| value.number()).collect();
            Value::EnumNumber([known[0], known[known.len() - 1], known[known.len() / 2], 9_999][pick % 4])
        }
        Kind::Message(message) => Value::Message(fill(message, pick, depth + 1)),
    }
}
