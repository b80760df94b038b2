//! What proto/ declares: the messages of the bus, the kinds of objects, and which event carries which. Read and checked
//! here, for the build and for the tests of its rules.

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use std::collections::BTreeMap;

#[path = "fields.rs"]
mod fields;
#[path = "ops.rs"]
mod ops;
pub use ops::{Does, KindOp};

/// Everything that is declared.
#[derive(Debug, Default)]
pub struct Declared {
    /// In the order of the files.
    pub kinds: Vec<ObjectKind>,
    /// In the order of the files.
    pub messages: Vec<BusMessage>,
    /// In the order of the files.
    pub questions: Vec<QuestionMessage>,
    /// In the order of the files.
    pub ops: Vec<KindOp>,
    /// Packages that obey commands or serve methods, each once, by name.
    pub queues: Vec<String>,
}

/// A kind of object.
#[derive(Debug)]
pub struct ObjectKind {
    pub message: MessageDescriptor,
    pub kind: String,
    pub plural: String,
    /// "TENANT", "PLATFORM" or "INTERNAL".
    pub scope: &'static str,
    /// The field that holds the rest; none: they stand in the message itself.
    pub at: Option<String>,
    /// Names of fields; `name`, `tenant` and the times are there only if the kind has them.
    pub id: String,
    pub name: Option<String>,
    pub tenant: Option<String>,
    pub state: Option<String>,
    pub created: Option<String>,
    pub updated: Option<String>,
    /// It has labels.
    pub labels: bool,
    /// Fields by which objects are found.
    pub indexed: Vec<String>,
    /// Fields with ids of other objects.
    pub refers: Vec<Reference>,
    pub gone: Vec<Gone>,
}

/// A field with the id of another object, or with several.
#[derive(Debug)]
pub struct Reference {
    pub field: String,
    pub list: bool,
    /// Of which kind.
    pub kind: String,
}

/// What means that an object is gone.
#[derive(Debug)]
pub enum Gone {
    /// A value of its state.
    State(String),
    /// A flag.
    Flag(String),
    /// A time that is not 0.
    Time(String),
}

/// The event of whoever owns a kind that is told things: what was asked for was refused.
pub const REFUSED: &str = "RequestRefused";
/// The event of whoever owns a kind that is told things: objects that are gone for long are not kept any more.
pub const FORGOTTEN: &str = "ObjectsForgotten";

/// A message of the bus.
#[derive(Debug)]
pub struct BusMessage {
    pub message: MessageDescriptor,
    /// As it is called on the bus.
    pub name: String,
    /// "Command", "Event" or "Sample".
    pub kind: &'static str,
    pub service: String,
    pub version: String,
    /// The field with the last token of the subject; "" = whoever sends it says it.
    pub key: String,
    pub carries: Option<Carried>,
    /// The field with the progress of operations.
    pub operations: Option<FieldDescriptor>,
}

/// A message that is asked.
#[derive(Debug)]
pub struct QuestionMessage {
    pub message: MessageDescriptor,
    pub answer: MessageDescriptor,
    pub service: String,
    pub version: String,
}

/// The object in an event.
#[derive(Debug)]
pub struct Carried {
    /// Place among the kinds.
    pub kind: usize,
    pub field: FieldDescriptor,
    pub mention: bool,
}

/// Kinds from before there was a rule, and what their snapshots do not say. The list only shrinks.
const LAYOUTS: [(&str, &[&str]); 5] = [
    ("berth.gateway.v1.Flavor", &["updated_at_us"]),
    ("berth.gateway.v1.Quota", &["created_at_us"]),
    ("berth.gateway.v1.TokenRecord", &["updated_at_us"]),
    ("berth.host_driver.v1.HostReport", &["created_at_us", "updated_at_us"]),
    ("berth.host_driver.v1.Quarantined", &["created_at_us", "updated_at_us"]),
];

const PROGRESS: &str = "berth.common.v1.OperationProgress";

/// Reads and checks everything. The error is one sentence for each thing that is wrong, with the file it is in.
pub fn declared(pool: &DescriptorPool) -> Result<Declared, Vec<String>> {
    let (mut found, mut wrong) = (Declared::default(), Vec::new());
    for message in pool.all_messages() {
        if let Some(option) = option(pool, &message, "object") {
            match object_kind(pool, &message, &option) {
                Ok(kind) => found.kinds.push(kind),
                Err(why) => wrong.push(sentence(&message, &why)),
            }
        }
    }
    for message in pool.all_messages() {
        match bus_message(pool, &found.kinds, &message) {
            Ok(message) => found.messages.extend(message),
            Err(why) => wrong.push(sentence(&message, &why)),
        }
        match question(pool, &message) {
            Ok(question) => found.questions.extend(question),
            Err(why) => wrong.push(sentence(&message, &why)),
        }
    }
    wrong.extend(ops::ops(pool, &mut found));
    wrong.extend(fields::wrong(pool, &found));
    wrong.extend(twice(&found));
    found.queues = queues(pool, &found.messages);
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

fn sentence(message: &MessageDescriptor, why: &str) -> String {
    format!("proto/{}: {} {why}", message.parent_file().name(), message.name())
}

/// One of our options of a message.
fn option(pool: &DescriptorPool, message: &MessageDescriptor, name: &str) -> Option<DynamicMessage> {
    extension(pool, &message.options(), name)
}

/// One of our options among those of a message, a method or a field.
fn extension(pool: &DescriptorPool, options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let extension = pool.get_extension_by_name(&format!("berth.options.v1.{name}"))?;
    match options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())? {
        Value::Message(option) => Some(option),
        _ => None,
    }
}

fn text(option: &DynamicMessage, field: &str) -> Option<String> {
    let value = option.get_field_by_name(field)?;
    Some(value.as_str()?.to_owned()).filter(|text| !text.is_empty())
}

fn number(option: &DynamicMessage, field: &str) -> i32 {
    option.get_field_by_name(field).and_then(|value| value.as_enum_number()).unwrap_or_default()
}

fn object_kind(
    pool: &DescriptorPool,
    message: &MessageDescriptor,
    option: &DynamicMessage,
) -> Result<ObjectKind, String> {
    let kind = text(option, "kind").ok_or("is an object without a kind: say `kind: \"floating_ip\"`")?;
    if !kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err(format!("is of kind {kind:?}: lower-case letters, digits and '_'"));
    }
    let scope = match number(option, "scope") {
        1 => "TENANT",
        2 => "PLATFORM",
        3 => "INTERNAL",
        _ => return Err("does not say whose it is: say `scope: SCOPE_TENANT`".to_owned()),
    };
    let at = text(option, "at");
    let inner = match &at {
        None => message.clone(),
        Some(at) => match message.get_field_by_name(at).map(|field| (field.is_list(), field.kind())) {
            Some((false, Kind::Message(inner))) => inner,
            _ => return Err(format!("says `at: {at:?}`, and has no such field with a message")),
        },
    };
    let inner = &inner;
    let id = text(option, "id").unwrap_or_else(|| "id".to_owned());
    needs(inner, &id, &Kind::String, "what tells objects of the kind apart")?;
    needs(inner, "revision", &Kind::Uint64, "what grows with each change")?;
    let tenant = has(inner, "tenant", &Kind::String);
    match (scope, tenant) {
        ("TENANT", false) => return Err("is a tenant's, and has no `string tenant`".to_owned()),
        ("PLATFORM", true) => {
            return Err("is the platform's, and has a `tenant`: say `scope: SCOPE_TENANT`".to_owned());
        }
        _ => {}
    }
    let lacks =
        LAYOUTS.iter().find(|(old, _)| *old == message.full_name()).map_or(&[][..], |(_, lacks)| lacks);
    let mut times = [None, None];
    for (time, field) in times.iter_mut().zip(["created_at_us", "updated_at_us"]) {
        match (has(inner, field, &Kind::Int64), lacks.contains(&field)) {
            (true, false) => *time = Some(field.to_owned()),
            (false, true) => {}
            (true, true) => return Err(format!("has `{field}` now: take it off the list in declared.rs")),
            (false, false) => return Err(format!("has no `int64 {field}`, which every object has")),
        }
    }
    let state = text(option, "state");
    let values = match &state {
        None => Vec::new(),
        Some(state) => match inner.get_field_by_name(state).map(|field| (field.is_list(), field.kind())) {
            Some((false, Kind::Enum(of))) => of.values().map(|value| value.name().to_owned()).collect(),
            _ => return Err(format!("says `state: {state:?}`, and has no such field with an enum")),
        },
    };
    let mut gone = Vec::new();
    if has(inner, "deleted_at_us", &Kind::Int64) {
        gone.push(Gone::Time("deleted_at_us".to_owned()));
    }
    let said = option.get_field_by_name("gone").map(|value| value.into_owned());
    for word in said.as_ref().and_then(Value::as_list).into_iter().flatten().filter_map(Value::as_str) {
        gone.push(match word {
            word if values.iter().any(|value| value == word) => Gone::State(word.to_owned()),
            word if has(inner, word, &Kind::Bool) => Gone::Flag(word.to_owned()),
            word if has(inner, word, &Kind::Int64) => Gone::Time(word.to_owned()),
            word => {
                let why = "is neither a value of its state nor a `bool` or `int64` field of it";
                return Err(format!("is gone at {word:?}, which {why}"));
            }
        });
    }
    let field = |name: &str| has(inner, name, &Kind::String).then(|| name.to_owned());
    let labels = inner.get_field_by_name("labels").is_some_and(|field| field.is_map());
    let mut indexed = Vec::new();
    for field in inner.fields().filter(|field| fields::is_indexed(pool, field)) {
        if field.kind() != Kind::String || field.is_list() {
            return Err(format!("is to be found by `{}`, which is no `string`", field.name()));
        }
        indexed.push(field.name().to_owned());
    }
    let [created, updated] = times;
    let refers = fields::references(pool, inner)?;
    Ok(ObjectKind {
        plural: text(option, "plural").unwrap_or_else(|| format!("{kind}s")),
        name: field("name"),
        tenant: field("tenant"),
        message: message.clone(),
        kind,
        scope,
        at,
        id,
        state,
        created,
        updated,
        labels,
        indexed,
        refers,
        gone,
    })
}

fn has(message: &MessageDescriptor, field: &str, kind: &Kind) -> bool {
    message.get_field_by_name(field).is_some_and(|field| field.kind() == *kind && !field.is_list())
}

fn needs(message: &MessageDescriptor, field: &str, kind: &Kind, what: &str) -> Result<(), String> {
    let word = format!("{kind:?}").to_lowercase();
    has(message, field, kind).then_some(()).ok_or_else(|| format!("has no `{word} {field}`: {what}"))
}

fn bus_message(
    pool: &DescriptorPool,
    kinds: &[ObjectKind],
    message: &MessageDescriptor,
) -> Result<Option<BusMessage>, String> {
    let event = option(pool, message, "event");
    let Some(bus) = option(pool, message, "bus") else {
        let stray = "says what object it carries, and is no message of the bus";
        return if event.is_some() { Err(stray.to_owned()) } else { Ok(None) };
    };
    let kind = match number(&bus, "kind") {
        1 => "Command",
        2 => "Event",
        3 => "Sample",
        _ => return Err("is on the bus without a kind: say `kind: KIND_EVENT`".to_owned()),
    };
    let (service, version) = owner(message)?;
    let key = text(&bus, "key").unwrap_or_default();
    check_key(message, &key)?;
    let (mut carries, mut operations) = (None, None);
    if kind == "Event" {
        carries = carried(kinds, message, event.as_ref())?;
        let mut lists = message.fields().filter(is_progress);
        operations = lists.next();
        if lists.next().is_some() {
            return Err("moves operations on in two fields: one list of OperationProgress".to_owned());
        }
    } else if event.is_some() {
        return Err("says what object it carries, and is no event".to_owned());
    }
    let name = message.name().to_owned();
    Ok(Some(BusMessage { message: message.clone(), name, kind, service, version, key, carries, operations }))
}

/// The service and the version that a package is of.
fn owner(message: &MessageDescriptor) -> Result<(String, String), String> {
    match message.package_name().split('.').collect::<Vec<_>>().as_slice() {
        ["berth", service, version] => Ok(((*service).to_owned(), (*version).to_owned())),
        _ => Err("stands in another package than berth.<service>.<version>".to_owned()),
    }
}

fn question(pool: &DescriptorPool, message: &MessageDescriptor) -> Result<Option<QuestionMessage>, String> {
    let Some(said) = option(pool, message, "question") else { return Ok(None) };
    if option(pool, message, "bus").is_some() {
        return Err("is a question and a message of the bus: streams keep no questions".to_owned());
    }
    let (service, version) = owner(message)?;
    let name = text(&said, "answer").ok_or("is a question without an answer: say `answer: \"…\"`")?;
    let answer = pool.get_message_by_name(&format!("{}.{name}", message.package_name()));
    let answer = answer.ok_or_else(|| format!("is answered by {name:?}, which its package does not have"))?;
    Ok(Some(QuestionMessage { message: message.clone(), answer, service, version }))
}

fn is_progress(field: &FieldDescriptor) -> bool {
    field.is_list() && matches!(field.kind(), Kind::Message(of) if of.full_name() == PROGRESS)
}

/// The object of an event. Whoever puts an object into an event says what is said of it.
fn carried(
    kinds: &[ObjectKind],
    message: &MessageDescriptor,
    event: Option<&DynamicMessage>,
) -> Result<Option<Carried>, String> {
    let kind_of = |field: &FieldDescriptor| match field.kind() {
        Kind::Message(of) => kinds.iter().position(|kind| kind.message == of),
        _ => None,
    };
    let (object, mentions) = match event {
        None => (None, None),
        Some(event) => (text(event, "object"), text(event, "mentions")),
    };
    let (name, mention) = match (object, mentions) {
        (Some(_), Some(_)) => {
            return Err("says both `object` and `mentions`: an event is about one".to_owned());
        }
        (Some(object), None) => (Some(object), false),
        (None, Some(mentioned)) => (Some(mentioned), true),
        (None, None) => (None, false),
    };
    let mut found = None;
    for field in message.fields() {
        let said = name.as_deref() == Some(field.name());
        match kind_of(&field) {
            Some(kind) if said && !field.is_list() => found = Some(Carried { kind, field, mention }),
            Some(_) if said => {
                return Err(format!("carries a list of objects in `{}`: one event each", field.name()));
            }
            Some(kind) => {
                let (field, kind) = (field.name(), &kinds[kind].kind);
                return Err(format!(
                    "has a {kind} in `{field}` and says neither `object` nor `mentions` of it: add option \
                     (berth.options.v1.event) = {{object: {field:?}}}, or `mentions` if it only speaks of what never was"
                ));
            }
            None => {}
        }
    }
    match (name, found) {
        (Some(name), None) => {
            Err(format!("says that it carries {name:?}, and has no such field with an object"))
        }
        (_, found) => Ok(found),
    }
}

fn check_key(message: &MessageDescriptor, key: &str) -> Result<(), String> {
    let mut at = message.clone();
    let parts: Vec<&str> = key.split('.').collect();
    for (index, part) in parts.iter().enumerate() {
        let field = at.get_field_by_name(part).ok_or_else(|| format!("has no key field {key:?}"))?;
        match (field.kind(), index + 1 == parts.len()) {
            (Kind::String, true) => {}
            (Kind::Message(inner), false) => at = inner,
            _ => return Err(format!("has the key {key:?}, which must lead to a string")),
        }
    }
    Ok(())
}

/// Names that would mean two things in what is made from the declarations.
fn twice(found: &Declared) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut kinds, mut snapshots, mut events) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for kind in &found.kinds {
        let message = &kind.message;
        if let Some(other) = kinds.insert(kind.kind.clone(), message.full_name()) {
            wrong.push(sentence(message, &format!("is of kind {:?}, as is {other}", kind.kind)));
        }
        if let Some(other) = snapshots.insert(message.name(), message.full_name()) {
            wrong.push(sentence(message, &format!("is an object and called as another one: {other}")));
        }
    }
    for event in found.messages.iter().filter(|message| message.kind == "Event" && message.carries.is_none())
    {
        if let Some(other) = events.insert(event.message.name(), event.message.full_name()) {
            wrong.push(sentence(&event.message, &format!("is an event and called as another one: {other}")));
        }
    }
    wrong
}

/// Whoever obeys commands or serves methods has a work queue; the bus itself and the archive only speak.
fn queues(pool: &DescriptorPool, messages: &[BusMessage]) -> Vec<String> {
    let commands = messages.iter().filter(|message| message.kind == "Command").map(|m| m.service.clone());
    let serves = pool.services().filter_map(|service| {
        let package = service.package_name().strip_prefix("berth.")?;
        Some(package.split('.').next()?.to_owned())
    });
    let mut queues: Vec<String> = commands.chain(serves).collect();
    queues.sort();
    queues.dedup();
    queues
}
