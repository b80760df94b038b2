//! What methods do with objects of a kind.

use super::fields::references;
use super::{BusMessage, Declared, FORGOTTEN, ObjectKind, REFUSED, Reference, extension, has, owner, text};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};

/// What a method does with objects of a kind.
#[derive(Debug)]
pub struct KindOp {
    /// Place among the kinds.
    pub kind: usize,
    pub does: Does,
    pub method: MethodDescriptor,
    /// What its request refers to.
    pub refers: Vec<Reference>,
    /// Kinds whose objects stand in the way as long as they refer to the object.
    pub refuse_while_referred: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Does {
    List,
    Get,
    /// By which verb: "Create".
    Tell(String),
}

const LIST_REQUEST: &str = "berth.common.v1.ListRequest";
const GET_REQUEST: &str = "berth.common.v1.GetRequest";
const OPERATION_RESPONSE: &str = "berth.common.v1.OperationResponse";

/// Reads what methods do, and the commands that follow from it, into `found`. The answer is what is wrong.
pub fn ops(pool: &DescriptorPool, found: &mut Declared) -> Vec<String> {
    let mut wrong = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let sentence = |why: String| {
            let file = method.parent_service().parent_file();
            format!("proto/{}: {} {why}", file.name(), method.name())
        };
        let Some(option) = option(pool, &method) else { continue };
        let said = ["list", "get", "tell"].into_iter().find_map(|word| Some((word, text(&option, word)?)));
        let Some((word, kind)) = said else {
            wrong.push(sentence("does nothing: say `list`, `get` or `tell` with a kind".to_owned()));
            continue;
        };
        let Some(place) = found.kinds.iter().position(|known| known.kind == kind) else {
            wrong.push(sentence(format!("is about {kind:?}, which is no kind")));
            continue;
        };
        match op(&found.kinds[place], word, &method) {
            Ok(does) => {
                if let Does::Tell(_) = does {
                    match command(&method) {
                        Ok(command) => found.messages.push(command),
                        Err(why) => wrong.push(sentence(why)),
                    }
                }
                let refers = references(pool, &method.input()).unwrap_or_default();
                let refuse_while_referred = texts(&option, "refuse_while_referred");
                for other in &refuse_while_referred {
                    if let Err(why) = can_refer(found, other, &kind) {
                        wrong.push(sentence(why));
                    }
                }
                let method = method.clone();
                found.ops.push(KindOp { kind: place, does, method, refers, refuse_while_referred });
            }
            Err(why) => wrong.push(sentence(why)),
        }
    }
    wrong.extend(incomplete(found));
    wrong
}

fn option(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<DynamicMessage> {
    extension(pool, &method.options(), "op")
}

fn texts(option: &DynamicMessage, field: &str) -> Vec<String> {
    let value = option.get_field_by_name(field).map(|value| value.into_owned());
    let list = value.as_ref().and_then(Value::as_list).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether objects of a kind say in a field to which objects of another they refer.
fn can_refer(found: &Declared, other: &str, kind: &str) -> Result<(), String> {
    let package = |name: &str| {
        let kind = found.kinds.iter().find(|known| known.kind == name);
        kind.map(|known| known.message.package_name().to_owned())
    };
    if package(other).is_some_and(|other| Some(other) != package(kind)) {
        return Err(format!(
            "is refused while a {other:?} refers to it, which another service owns: what it has is not known in time"
        ));
    }
    let refers = found
        .kinds
        .iter()
        .any(|known| known.kind == other && known.refers.iter().any(|reference| reference.kind == kind));
    refers.then_some(()).ok_or_else(|| {
        format!("is refused while a {other:?} refers to it, and no field of such a one does: say `refers: {kind:?}` there")
    })
}

fn op(kind: &ObjectKind, word: &str, method: &MethodDescriptor) -> Result<Does, String> {
    let (object, input, output) = (kind.message.name(), method.input(), method.output());
    if kind.scope == "INTERNAL" {
        return Err(format!("shows {object}, which is shown to nobody: its scope is SCOPE_INTERNAL"));
    }
    if method.parent_service().package_name() != kind.message.package_name() {
        return Err(format!("stands in another package than {object}: its owner obeys and answers"));
    }
    let takes = |expected: &str| match input.full_name() {
        name if name == expected => Ok(()),
        name => Err(format!("takes {name}: it takes {expected}, as all of its kind do")),
    };
    match word {
        "list" => {
            takes(LIST_REQUEST)?;
            let page = output.get_field(1).is_some_and(|field| {
                field.is_list() && matches!(field.kind(), Kind::Message(of) if of == kind.message)
            });
            let token = output.get_field(2).is_some_and(|field| field.name() == "next_page_token");
            (page && token).then_some(Does::List).ok_or_else(|| {
                format!("answers another page than `repeated {object} … = 1; string next_page_token = 2;`")
            })
        }
        "get" => {
            takes(GET_REQUEST)?;
            let same = output == kind.message;
            same.then_some(Does::Get).ok_or_else(|| format!("answers something else than a {object}"))
        }
        _ => {
            let verb = method.name().strip_suffix(object).filter(|verb| !verb.is_empty());
            let verb = verb.ok_or_else(|| format!("is no verb with {object}: call it Attach{object}"))?;
            takes(&format!("{}.{}Request", input.package_name(), method.name()))?;
            if output.full_name() != OPERATION_RESPONSE {
                return Err(format!("answers something else than {OPERATION_RESPONSE}"));
            }
            if let Some(secret) = input.fields().find(is_secret) {
                return Err(format!(
                    "is sent to its owner as it is, and has a secret in `{}`: seal it in a field of type Sealed",
                    secret.name()
                ));
            }
            if let Some(other) = input.fields().find(|field| !is_plain(field)) {
                return Err(format!(
                    "has `{}`, which nobody could write on a command line: texts, numbers, flags, lists of texts and \
                     maps of texts, and nothing called `wait` or `timeout`",
                    other.name()
                ));
            }
            let named = has(&input, "name", &Kind::String);
            named
                .then(|| Does::Tell(verb.to_owned()))
                .ok_or("names no object: its request has no `string name`".to_owned())
        }
    }
}

/// Whether a field can be given as an argument.
fn is_plain(field: &FieldDescriptor) -> bool {
    let kind = match field.kind() {
        Kind::String => true,
        Kind::Bool | Kind::Uint32 | Kind::Uint64 => !field.is_list(),
        Kind::Message(entry) if field.is_map() => {
            let text = |field: FieldDescriptor| field.kind() == Kind::String;
            text(entry.map_entry_key_field()) && text(entry.map_entry_value_field())
        }
        _ => false,
    };
    kind && !matches!(field.name(), "wait" | "timeout")
}

fn is_secret(field: &FieldDescriptor) -> bool {
    let pool = field.parent_pool();
    let extension = pool.get_extension_by_name("berth.options.v1.secret");
    extension.is_some_and(|extension| field.options().get_extension(&extension).as_bool() == Some(true))
}

/// The request of a method as the command that it is.
fn command(method: &MethodDescriptor) -> Result<BusMessage, String> {
    let message = method.input();
    let (service, version) = owner(&message)?;
    let (name, key) = (method.name().to_owned(), String::new());
    Ok(BusMessage { message, name, kind: "Command", service, version, key, carries: None, operations: None })
}

/// What the owner of a kind that is told things has to say of it.
fn incomplete(found: &Declared) -> Vec<String> {
    let mut wrong = Vec::new();
    for (place, kind) in found.kinds.iter().enumerate() {
        if !found.ops.iter().any(|op| op.kind == place && matches!(op.does, Does::Tell(_))) {
            continue;
        }
        let object: &MessageDescriptor = &kind.message;
        let sentence =
            |why: String| format!("proto/{}: {} {why}", object.parent_file().name(), object.name());
        for word in ["Created", "Changed", "Deleted"] {
            let name = format!("{}{word}", object.name());
            let said = found.messages.iter().any(|message| {
                message.name == name
                    && message.message.package_name() == object.package_name()
                    && message.carries.as_ref().is_some_and(|carried| {
                        carried.kind == place && !carried.mention && carried.field.name() == kind.kind
                    })
                    && message.operations.is_some()
            });
            if !said {
                wrong.push(sentence(format!("is told things, and no event {name} with it in `{}` and `operations` says what came of it", kind.kind)));
            }
        }
        let said = |name: &str| {
            let ours = |message: &MessageDescriptor| message.package_name() == object.package_name();
            found.messages.iter().find(|said| said.name == name && ours(&said.message))
        };
        if said(REFUSED).is_none() {
            wrong.push(sentence(format!("is told things, and its package has no event {REFUSED}")));
        }
        let fits = |said: &BusMessage| {
            has(&said.message, "kind", &Kind::String) && has(&said.message, "gone_before_us", &Kind::Int64)
        };
        if !said(FORGOTTEN).is_some_and(fits) {
            wrong.push(sentence(format!(
                "is told things, and its package has no event {FORGOTTEN} with `string kind` and `int64 gone_before_us`"
            )));
        }
        let ours = kind.at.is_none() && kind.id == "id" && kind.name.is_some();
        let timed =
            kind.created.is_some() && kind.updated.is_some() && has(object, "deleted_at_us", &Kind::Int64);
        if !ours || !timed {
            wrong.push(sentence("is told things: it needs id, name, created_at_us, updated_at_us and deleted_at_us of its own".to_owned()));
        }
    }
    wrong
}
