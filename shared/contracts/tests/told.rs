//! What is told of an event, against what the descriptors say of the same bytes.
#![allow(missing_docs)]

use contracts::common::v1::OperationProgress;
use contracts::storage::v1::{Image, ImageKept};
use contracts::{CATALOGUE, Carried, Content, Entry, NotKnown, Snapshot, Told, pool};
use kernel::{Kind, Subject};
use proptest::prelude::*;
use prost::Message as _;
use prost::bytes::Bytes;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind as Type, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};
use std::collections::HashMap;

fn subject(entry: &Entry) -> Subject {
    Subject {
        kind: entry.kind,
        service: entry.service.into(),
        version: entry.version.into(),
        name: entry.name.into(),
        tenant: "acme".into(),
        key: "k".into(),
    }
}

fn events() -> impl Iterator<Item = &'static Entry> {
    CATALOGUE.iter().filter(|entry| entry.kind == Kind::Event)
}

/// Numbers that look as if they were drawn.
struct Draw(u64);

impl Draw {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn message(&mut self, descriptor: &MessageDescriptor, depth: u32) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            // the object of an event is always there, everything else may be missing
            if depth > 0 && self.number().is_multiple_of(4) {
                continue;
            }
            let value = if field.is_map() {
                let Type::Message(of) = field.kind() else { panic!("a map is made of entries") };
                let value = self.single(&of.map_entry_value_field(), depth);
                Value::Map(HashMap::from([(MapKey::String("k".into()), value)]))
            } else if field.is_list() {
                Value::List((0..self.number() % 3).map(|_| self.single(&field, depth)).collect())
            } else {
                self.single(&field, depth)
            };
            message.set_field(&field, value);
        }
        message
    }

    fn single(&mut self, field: &FieldDescriptor, depth: u32) -> Value {
        let number = self.number();
        let small = number % 3;
        match field.kind() {
            Type::Bool => Value::Bool(number.is_multiple_of(2)),
            Type::String => Value::String(format!("{}{small}", field.name())),
            Type::Bytes => Value::Bytes(vec![7; small as usize].into()),
            Type::Int32 => Value::I32(small as i32),
            Type::Int64 => Value::I64((number >> 20) as i64 * (small as i64 - 1)),
            Type::Uint32 => Value::U32(small as u32),
            Type::Uint64 => Value::U64(if small == 0 { 0 } else { number }),
            // one beyond the last: what a newer build may say
            Type::Enum(of) => Value::EnumNumber((number % (of.values().len() as u64 + 1)) as i32),
            Type::Message(of) if depth > 3 => Value::Message(DynamicMessage::new(of)),
            Type::Message(of) => Value::Message(self.message(&of, depth + 1)),
            other => panic!("{other:?}: teach the test"),
        }
    }
}

/// The value at a path of fields; defaults where something is missing.
fn at(message: &DynamicMessage, path: &str) -> Option<Value> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(
        Value::Message(message.clone()),
        |value, part| {
            let Value::Message(inner) = value else { return None };
            inner.get_field_by_name(part).map(|value| value.into_owned())
        },
    )
}

/// What the options of the snapshot's message say of the object, read from the dynamic message.
fn expected(object: &DynamicMessage) -> (String, String, String, String, u64, [i64; 3]) {
    let extension = pool().get_extension_by_name("berth.options.v1.object").expect("there");
    let Value::Message(option) = object.descriptor().options().get_extension(&extension).into_owned() else {
        panic!("an object without the option")
    };
    let said = |field: &str| {
        option.get_field_by_name(field).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let read = |field: &str| at(object, &format!("{}.{field}", said("at"))).filter(|_| !field.is_empty());
    let text = |field: &str| read(field).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let time = |field: &str| read(field).and_then(|v| v.as_i64()).unwrap_or_default();
    let inner = at(object, &said("at"))
        .and_then(|v| v.as_message().map(DynamicMessage::descriptor))
        .expect("a message");
    let there = said("at").is_empty() || object.has_field_by_name(&said("at"));
    let state = inner.get_field_by_name(&said("state")).filter(|_| there).map_or(String::new(), |field| {
        let Type::Enum(of) = field.kind() else { panic!("a state is an enum") };
        let number = read(&said("state")).and_then(|v| v.as_enum_number()).unwrap_or_default();
        of.get_value(number).or_else(|| of.get_value(0)).expect("a value").name().to_owned()
    });
    let id = Some(said("id")).filter(|id| !id.is_empty()).unwrap_or_else(|| "id".into());
    let gone = option.get_field_by_name("gone").map(|v| v.into_owned());
    let gone = gone.as_ref().and_then(Value::as_list).into_iter().flatten().filter_map(Value::as_str);
    let changed =
        if inner.get_field_by_name("updated_at_us").is_some() { time("updated_at_us").max(1) } else { 1 };
    let gone = gone.filter_map(|word| match read(word) {
        Some(Value::Bool(flag)) => flag.then_some(changed),
        Some(Value::I64(at)) => (at != 0).then_some(at),
        _ => (word == state).then_some(changed),
    });
    // a time of its own comes before what the option says
    let own = Some(time("deleted_at_us")).filter(|at| *at != 0);
    let gone = own.into_iter().chain(gone).next().unwrap_or_default();
    let revision = read("revision").and_then(|v| v.as_u64()).unwrap_or_default();
    (
        text(&id),
        text("tenant"),
        text("name"),
        state,
        revision,
        [time("created_at_us"), time("updated_at_us"), gone],
    )
}

fn said(snapshot: &Snapshot) -> (String, String, String, String, u64, [i64; 3]) {
    (
        snapshot.id().into(),
        snapshot.tenant().into(),
        snapshot.name().into(),
        snapshot.state_name().into(),
        snapshot.revision(),
        [snapshot.created_at_us(), snapshot.updated_at_us(), snapshot.gone_at_us()],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For every event: the object's accessors say what its fields say, its bytes are the field's, and the progress is
    /// what the event holds.
    #[test]
    fn what_is_told_is_what_the_fields_say(seed in 1u64..) {
        let mut draw = Draw(seed);
        for entry in events() {
            let descriptor = pool().get_message_by_name(entry.full_name).expect("known");
            let event = draw.message(&descriptor, 0);
            let told = Told::of(&subject(entry), &event.encode_to_vec().into()).expect(entry.full_name);
            let progress = entry.operations.and_then(|number| event.get_field_by_number(number)).map(|v| v.into_owned());
            let progress: Vec<OperationProgress> = progress.as_ref().and_then(Value::as_list).into_iter().flatten()
                .map(|one| one.as_message().expect("progress").transcode_to().expect("progress")).collect();
            prop_assert_eq!(&told.operations, &progress, "{}", entry.full_name);
            match (&told.content, entry.carries) {
                (Content::Other(_) | Content::Refused | Content::Forgotten(_), None) => prop_assert_eq!(told.bytes, event.encode_to_vec()),
                (Content::Snapshot(snapshot), Some(carries)) | (Content::Mention(snapshot), Some(carries)) => {
                    prop_assert_eq!(carries.mention, matches!(told.content, Content::Mention(_)));
                    prop_assert_eq!(snapshot.kind(), carries.kind);
                    let object = event.get_field_by_name(carries.field).expect("there").into_owned();
                    let object = object.as_message().expect("an object");
                    prop_assert_eq!(&told.bytes, &object.encode_to_vec(), "{}", entry.full_name);
                    prop_assert_eq!(said(snapshot), expected(object), "{}", entry.full_name);
                }
                other => prop_assert!(false, "{}: {other:?}", entry.full_name),
            }
        }
    }

    /// Whatever bytes come under a known name, they are read or refused.
    #[test]
    fn no_bytes_are_too_strange(bytes: Vec<u8>, at: usize) {
        let all: Vec<&Entry> = events().collect();
        let _ = Told::of(&subject(all[at % all.len()]), &bytes.into());
    }
}

#[test]
fn golden_events_are_told() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut read = 0;
    for file in std::fs::read_dir(folder).expect("golden files") {
        let path = file.expect("a file").path();
        let name = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_owned();
        let Some(entry) = events()
            .find(|entry| name == entry.full_name || name.starts_with(&format!("{}.", entry.full_name)))
        else {
            continue;
        };
        let digits: String = std::fs::read_to_string(&path).expect("text").split_whitespace().collect();
        let told = Told::of(&subject(entry), &hex::decode(digits).expect("hex").into());
        assert!(told.is_ok(), "{name}: {told:?}");
        read += 1;
    }
    assert!(read > 40, "{read} golden events");
}

#[test]
fn what_is_not_known_is_an_error() {
    let known = events().find(|entry| entry.name == "ImageKept").expect("there");
    let sound: Bytes = ImageKept { image: Some(Image::default()), operations: vec![] }.encode_to_vec().into();
    assert!(Told::of(&subject(known), &sound).is_ok());
    let name = |change: fn(&mut Subject)| {
        let mut subject = subject(known);
        change(&mut subject);
        Told::of(&subject, &sound)
    };
    for told in [
        name(|s| s.name = "ImageMoved".into()),
        name(|s| s.service = "warehouse".into()),
        name(|s| s.version = "v2".into()),
        name(|s| s.kind = Kind::Command),
    ] {
        assert!(matches!(told, Err(NotKnown::Name(_))), "{told:?}");
    }
    let text = name(|s| s.name = "ImageMoved".into()).unwrap_err().to_string();
    assert!(text.contains("knows no event storage.v1.ImageMoved"), "{text}");
    let reason = |bytes: &'static [u8]| match Told::of(&subject(known), &bytes.into()) {
        Err(NotKnown::Content { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(b""), "it carries no image");
    assert_eq!(reason(&[0x0a, 0x05, 0x01]), "it ends too early");
    assert!(reason(&[0x08, 0x01]).contains("Varint"), "an image that is a number");
    assert!(reason(&[0x0a, 0x02, 0x0a, 0x07]).contains("decode"), "an image that is cut off");
}

/// Also where the object is told and something beside it is not what it should be.
#[test]
fn what_stands_beside_the_object_is_read_as_well() {
    let entry = events().find(|entry| entry.name == "OperationAccepted").expect("there");
    // an empty operation, and an upload's id that is no text
    let told = Told::of(&subject(entry), &Bytes::from_static(&[0x0a, 0x00, 0x12, 0x01, 0xff]));
    assert!(matches!(told, Err(NotKnown::Content { .. })), "{told:?}");
}

/// The encoding allows a message in parts, in any order among other fields, and fields of builds to come.
#[test]
fn an_object_is_put_together_from_its_parts() {
    let entry = events().find(|entry| entry.name == "ImageKept").expect("there");
    let part = |image: &Image| ImageKept { image: Some(image.clone()), operations: vec![] }.encode_to_vec();
    let progress = OperationProgress { operation_id: "o".into(), ..OperationProgress::default() };
    let between = ImageKept { image: None, operations: vec![progress.clone()] }.encode_to_vec();
    let id = part(&Image { id: "i".into(), ..Image::default() });
    let revision = part(&Image { revision: 7, ..Image::default() });
    let to_come = [0xfa, 0x3e, 0x01, 0x2a];
    let bytes: Bytes = [&id[..], &between, &to_come, &revision].concat().into();
    let image = Image { id: "i".into(), revision: 7, ..Image::default() };
    let told = Told::of(&subject(entry), &bytes).expect("sound");
    assert_eq!(told.operations, std::slice::from_ref(&progress));
    assert_eq!(told.bytes, image.encode_to_vec());
    assert_eq!(told.into_snapshot(), Some(Snapshot::Image(Box::new(image.clone()))));
    let carried = Carried::<Image>::of(&subject(entry), &bytes).expect("sound");
    assert_eq!((carried.object, carried.operations), (image, vec![progress]));
    let other = Carried::<contracts::scheduler::v1::Host>::of(&subject(entry), &bytes);
    assert!(matches!(other, Err(NotKnown::Name(_))), "an image is no host: {other:?}");
}

/// A field that this build does not know stays in the bytes of the object.
#[test]
fn what_a_newer_owner_said_is_kept() {
    let entry = events().find(|entry| entry.name == "ImageKept").expect("there");
    let object = [
        &Image { id: "i".into(), revision: 1, ..Image::default() }.encode_to_vec()[..],
        &[0xfa, 0x3e, 0x01, 0x2a],
    ]
    .concat();
    let event = [&[0x0a, object.len() as u8][..], &object].concat();
    assert_eq!(Told::of(&subject(entry), &event.into()).expect("sound").bytes, object);
}

#[test]
fn with_revision_0_there_is_no_object() {
    let entry = events().find(|entry| entry.name == "ImageKept").expect("there");
    let event = ImageKept { image: Some(Image { id: "i".into(), ..Image::default() }), operations: vec![] };
    let told = Told::of(&subject(entry), &event.encode_to_vec().into()).expect("sound");
    assert!(matches!(&told.content, Content::Snapshot(Snapshot::Image(image)) if image.id == "i"));
    assert_eq!(told.into_snapshot(), None);
}

/// A queue is never taken away: what waits in it would be lost.
#[test]
fn everybody_who_had_a_queue_has_one() {
    for service in ["gateway", "host_driver", "scheduler", "storage"] {
        assert!(contracts::QUEUES.contains(&service), "{service} in {:?}", contracts::QUEUES);
    }
}
