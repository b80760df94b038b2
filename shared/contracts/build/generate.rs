//! Rust out of the declarations: what each message of the bus is, and everything about kinds of objects that would
//! otherwise be kept by hand.

use super::declared::{
    BusMessage, Declared, Does, FORGOTTEN, Gone, KindOp, ObjectKind, QuestionMessage, REFUSED, Reference,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The code of `messages.rs`.
pub fn code(declared: &Declared) -> String {
    let mut code = String::new();
    for message in &declared.messages {
        code += &message_impl(message);
    }
    for question in &declared.questions {
        code += &question_impl(question);
    }
    code += &catalogue(declared);
    code += &readers(declared);
    code += &kinds(declared);
    code += &enums(declared);
    for (index, kind) in declared.kinds.iter().enumerate() {
        code += &object_impl(index, kind);
    }
    code += &kind_ops(declared);
    for (index, kind) in declared.kinds.iter().enumerate() {
        let tells: Vec<&KindOp> = tells(declared, index).collect();
        if !tells.is_empty() {
            code += &own_object(declared, kind, &tells);
        }
    }
    let queues: Vec<String> = declared.queues.iter().map(|service| format!("{service:?}")).collect();
    line(
        &mut code,
        format_args!(
            "/// Services with a work queue: those that obey commands or serve methods.\npub const QUEUES: &[&str] = &[{}];",
            queues.join(", ")
        ),
    );
    let answering: BTreeSet<String> = declared.questions.iter().map(|q| format!("{:?}", q.service)).collect();
    let answering: Vec<String> = answering.into_iter().collect();
    line(
        &mut code,
        format_args!(
            "/// Services that answer questions.\npub const ANSWERING: &[&str] = &[{}];",
            answering.join(", ")
        ),
    );
    code
}

fn line(code: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(code, "{text}").expect("a String takes everything");
}

fn path(message: &prost_reflect::MessageDescriptor) -> String {
    let module = message.package_name().strip_prefix("berth.").unwrap_or_default().replace('.', "::");
    format!("crate::{module}::{}", message.name())
}

fn message_impl(message: &BusMessage) -> String {
    let BusMessage { kind, service, version, name, .. } = message;
    let (path, key) = (path(&message.message), key_getter(&message.key));
    format!(
        "impl kernel::Message for {path} {{
    const KIND: kernel::Kind = kernel::Kind::{kind};
    const SERVICE: &'static str = {service:?};
    const NAME: &'static str = {name:?};
    const VERSION: &'static str = {version:?};
    fn key(&self) -> &str {{ {key} }}
    fn to_bytes(&self) -> Vec<u8> {{ prost::Message::encode_to_vec(self) }}
    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {{ prost::Message::decode(bytes).map_err(|e| e.to_string()) }}
}}
"
    )
}

fn question_impl(question: &QuestionMessage) -> String {
    let QuestionMessage { message, answer, service, version } = question;
    format!(
        "impl crate::Question for {} {{
    type Answer = {};
    const SERVICE: &'static str = {service:?};
    const NAME: &'static str = {:?};
    const VERSION: &'static str = {version:?};
}}
",
        path(message),
        path(answer),
        message.name()
    )
}

fn key_getter(key: &str) -> String {
    let parts: Vec<&str> = key.split('.').collect();
    match parts.as_slice() {
        [""] => "\"\"".to_owned(),
        [field] => format!("&self.{field}"),
        [outer, inner] => format!("self.{outer}.as_ref().map_or(\"\", |o| o.{inner}.as_str())"),
        [outer, middle, inner] => format!(
            "self.{outer}.as_ref().and_then(|o| o.{middle}.as_ref()).map_or(\"\", |m| m.{inner}.as_str())"
        ),
        _ => format!("compile_error!(\"key {key} is deeper than three fields\")"),
    }
}

fn catalogue(declared: &Declared) -> String {
    let mut code = format!("const OWNERS_SAY: [&str; 2] = [{REFUSED:?}, {FORGOTTEN:?}];\n");
    code.push_str("/// Every message of the bus.\npub const CATALOGUE: &[Entry] = &[\n");
    for message in &declared.messages {
        let BusMessage { kind, service, version, name, .. } = message;
        let carries = message.carries.as_ref().map(|carried| {
            let (field, number, mention) = (carried.field.name(), carried.field.number(), carried.mention);
            format!(
                "Carries {{ kind: &KINDS[{}], field: {field:?}, number: {number}, mention: {mention} }}",
                carried.kind
            )
        });
        let carries = carries.map_or_else(|| "None".to_owned(), |carries| format!("Some({carries})"));
        let operations = message.operations.as_ref().map(prost_reflect::FieldDescriptor::number);
        line(
            &mut code,
            format_args!(
                "    Entry {{ kind: kernel::Kind::{kind}, service: {service:?}, version: {version:?}, name: {name:?}, \
                 full_name: {:?}, carries: {carries}, operations: {operations:?} }},",
                message.message.full_name()
            ),
        );
    }
    code + "];\n"
}

/// How each event of the catalogue is read, in the same order.
fn readers(declared: &Declared) -> String {
    let mut code = String::from("pub(crate) const READERS: &[Option<Reader>] = &[\n");
    for message in &declared.messages {
        let (name, path) = (message.message.name(), path(&message.message));
        let reader = match &message.carries {
            _ if message.kind != "Event" => "None".to_owned(),
            None => {
                let operations = message
                    .operations
                    .as_ref()
                    .map_or_else(|| "Vec::new()".to_owned(), |f| format!("it.{}.clone()", f.name()));
                let content = match name {
                    REFUSED => "Content::Refused".to_owned(),
                    FORGOTTEN => "Content::Forgotten(crate::told::Forgotten { kind: it.kind, gone_before_us: it.gone_before_us })".to_owned(),
                    name => format!("Content::Other(Statement::{name}(Box::new(it)))"),
                };
                format!(
                    "Some(|_, payload| {{ let it = <{path} as prost::Message>::decode(payload.clone())?; \
                     let operations = {operations}; \
                     Ok(Told {{ content: {content}, bytes: payload.clone(), operations }}) }})"
                )
            }
            Some(carried) => {
                let object = declared.kinds[carried.kind].message.name();
                let how = if carried.mention { "Mention" } else { "Snapshot" };
                // what stands beside the object is not looked at, and still must be what the event says it is
                let known = 1 + usize::from(message.operations.is_some());
                let beside = if message.message.fields().len() > known {
                    format!("<{path} as prost::Message>::decode(payload.clone())?; ")
                } else {
                    String::new()
                };
                format!(
                    "Some(|entry, payload| {{ {beside}let carried = Carried::read(entry, payload)?; \
                     Ok(Told {{ content: Content::{how}(Snapshot::{object}(Box::new(carried.object))), \
                     bytes: carried.bytes, operations: carried.operations }}) }})"
                )
            }
        };
        line(&mut code, format_args!("    {reader},"));
    }
    code + "];\n"
}

fn kinds(declared: &Declared) -> String {
    let mut code = String::from("/// Every kind of object.\npub const KINDS: &[ObjectKind] = &[\n");
    for (index, ObjectKind { kind, plural, scope, message, id, name, indexed, refers, .. }) in
        declared.kinds.iter().enumerate()
    {
        let served = declared.ops.iter().any(|op| op.kind == index);
        let scope = format!("{}{}", &scope[..1], scope[1..].to_lowercase());
        let refers: Vec<(&str, &str)> =
            refers.iter().map(|one| (one.field.as_str(), one.kind.as_str())).collect();
        line(
            &mut code,
            format_args!(
                "    ObjectKind {{ name: {kind:?}, plural: {plural:?}, scope: Scope::{scope}, message: {:?}, id: {id:?}, named: {}, indexed: &{indexed:?}, refers: &{refers:?}, served: {served} }},",
                message.full_name(),
                name.is_some()
            ),
        );
    }
    code + "];\n"
}

/// What `Object` says, of whichever kind.
const ACCESSORS: [(&str, &str, &str); 9] = [
    ("See [`Object::id`].", "id", "&str"),
    ("See [`Object::tenant`].", "tenant", "&str"),
    ("See [`Object::name`].", "name", "&str"),
    ("See [`Object::state_name`].", "state_name", "&'static str"),
    ("See [`Object::revision`].", "revision", "u64"),
    ("See [`Object::created_at_us`].", "created_at_us", "i64"),
    ("See [`Object::updated_at_us`].", "updated_at_us", "i64"),
    ("See [`Object::gone_at_us`].", "gone_at_us", "i64"),
    ("See [`Object::terms`].", "terms", "Vec<(String, String)>"),
];

fn enums(declared: &Declared) -> String {
    let mut code = String::from(
        "/// An object as it is now: one variant for each kind. Who matches on it without `_` says what each kind means.
#[derive(Debug, Clone, PartialEq)]
pub enum Snapshot {\n",
    );
    for kind in &declared.kinds {
        line(
            &mut code,
            format_args!(
                "    /// A snapshot of kind `{}`.\n    {}(Box<{}>),",
                kind.kind,
                kind.message.name(),
                path(&kind.message)
            ),
        );
    }
    code += "}
impl Snapshot {
";
    for (doc, name, result) in ACCESSORS {
        line(
            &mut code,
            format_args!("    /// {doc}\n    pub fn {name}(&self) -> {result} {{\n        match self {{"),
        );
        for kind in &declared.kinds {
            line(&mut code, format_args!("            Self::{}(it) => it.{name}(),", kind.message.name()));
        }
        code += "        }\n    }\n";
    }
    code += "    /// What it is a snapshot of.
    pub fn kind(&self) -> &'static ObjectKind {
        match self {
";
    for (index, kind) in declared.kinds.iter().enumerate() {
        line(&mut code, format_args!("            Self::{}(_) => &KINDS[{index}],", kind.message.name()));
    }
    code += "        }
    }
}
/// What an event without an object says: one variant for each such event.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {\n";
    let states = |m: &&BusMessage| {
        m.kind == "Event" && m.carries.is_none() && ![REFUSED, FORGOTTEN].contains(&m.name.as_str())
    };
    for event in declared.messages.iter().filter(states) {
        let (name, path) = (event.message.name(), path(&event.message));
        line(&mut code, format_args!("    /// `{}`.\n    {name}(Box<{path}>),", event.message.full_name()));
    }
    code + "}\n"
}

fn object_impl(index: usize, kind: &ObjectKind) -> String {
    let path = path(&kind.message);
    // "" and 0 where the message that should hold them is not there
    let of = |default: &str, value: String| match &kind.at {
        None => format!("let o = self; {value}"),
        Some(at) => format!("self.{at}.as_ref().map_or({default}, |o| {value})"),
    };
    let text = |field: &Option<String>| match field {
        None => "\"\"".to_owned(),
        Some(field) => of("\"\"", format!("o.{field}.as_str()")),
    };
    let time = |field: &Option<String>| match field {
        None => "0".to_owned(),
        Some(field) => of("0", format!("o.{field}")),
    };
    let state = kind
        .state
        .as_ref()
        .map_or_else(|| "\"\"".to_owned(), |state| of("\"\"", format!("o.{state}().as_str_name()")));
    format!(
        "impl Object for {path} {{
    const KIND: &'static ObjectKind = &KINDS[{index}];
    fn id(&self) -> &str {{ {id} }}
    fn tenant(&self) -> &str {{ {tenant} }}
    fn name(&self) -> &str {{ {name} }}
    fn state_name(&self) -> &'static str {{ {state} }}
    fn revision(&self) -> u64 {{ {revision} }}
    fn created_at_us(&self) -> i64 {{ {created} }}
    fn updated_at_us(&self) -> i64 {{ {updated} }}
    fn gone_at_us(&self) -> i64 {{ {gone} }}
    fn terms(&self) -> Vec<(String, String)> {{ {terms} }}
}}
",
        id = text(&Some(kind.id.clone())),
        tenant = text(&kind.tenant),
        name = text(&kind.name),
        revision = of("0", "o.revision".to_owned()),
        created = time(&kind.created),
        updated = time(&kind.updated),
        gone = of("0", gone(kind)),
        terms = of("Vec::new()", terms(kind)),
    )
}

/// When it went: the time where one is kept, otherwise that of the last change, at least 1.
fn gone(kind: &ObjectKind) -> String {
    let changed = kind.updated.as_ref().map_or_else(|| "1".to_owned(), |field| format!("o.{field}.max(1)"));
    let mut code = String::new();
    for gone in &kind.gone {
        let (test, at) = match gone {
            Gone::State(value) => {
                let state = kind.state.as_deref().unwrap_or_default();
                (format!("o.{state}().as_str_name() == {value:?}"), changed.clone())
            }
            Gone::Flag(flag) => (format!("o.{flag}"), changed.clone()),
            Gone::Time(time) => (format!("o.{time} != 0"), format!("o.{time}")),
        };
        write!(code, "if {test} {{ {at} }} else ").expect("a String takes everything");
    }
    if code.is_empty() { "{ let _ = o; 0 }".to_owned() } else { code + "{ 0 }" }
}

/// Everything by which objects of the kind are found, beside id, name and state.
fn terms(kind: &ObjectKind) -> String {
    if !kind.labels && kind.indexed.is_empty() && kind.refers.is_empty() {
        return "{ let _ = o; Vec::new() }".to_owned();
    }
    let mut code = String::from("{ let mut terms: Vec<(String, String)> = Vec::new(); ");
    if kind.labels {
        code +=
            "terms.extend(o.labels.iter().map(|(key, value)| (format!(\"labels.{key}\"), value.clone()))); ";
    }
    for field in &kind.indexed {
        write!(code, "terms.push(({field:?}.to_owned(), o.{field}.clone())); ")
            .expect("a String takes everything");
    }
    for Reference { field, list, .. } in &kind.refers {
        let term = if *list {
            format!("terms.extend(o.{field}.iter().map(|id| ({field:?}.to_owned(), id.clone()))); ")
        } else {
            format!("terms.push(({field:?}.to_owned(), o.{field}.clone())); ")
        };
        code += &term;
    }
    code + "terms }"
}

fn tells(declared: &Declared, kind: usize) -> impl Iterator<Item = &KindOp> {
    declared.ops.iter().filter(move |op| op.kind == kind && matches!(op.does, Does::Tell(_)))
}

/// What methods do with kinds.
fn kind_ops(declared: &Declared) -> String {
    let mut code = String::from("pub(crate) const OPS: &[(&str, Does, usize)] = &[\n");
    for KindOp { kind, does, method, .. } in &declared.ops {
        let does = match does {
            Does::List => "Does::List".to_owned(),
            Does::Get => "Does::Get".to_owned(),
            Does::Tell(verb) => format!("Does::Tell({verb:?})"),
        };
        line(&mut code, format_args!("    ({:?}, {does}, {kind}),", method.full_name()));
    }
    code + "];\n"
}

fn place(declared: &Declared, kind: &str) -> usize {
    declared.kinds.iter().position(|known| known.kind == kind).unwrap_or_default()
}

/// Field, kind and id of everything that a request refers to.
fn in_request(declared: &Declared, refers: &[Reference]) -> String {
    if refers.is_empty() {
        return "{ let _ = it; Vec::new() }".to_owned();
    }
    let mut code =
        String::from("{ let mut all: Vec<(&'static str, &'static ObjectKind, &str)> = Vec::new(); ");
    for Reference { field, list, kind } in refers {
        let kind = format!("&KINDS[{}]", place(declared, kind));
        code += &if *list {
            format!("all.extend(it.{field}.iter().map(|id| ({field:?}, {kind}, id.as_str()))); ")
        } else {
            format!("all.push(({field:?}, {kind}, it.{field}.as_str())); ")
        };
    }
    code + "all.retain(|(_, _, id)| !id.is_empty()); all }"
}

/// What the owner of a kind is told, and says of it.
fn own_object(declared: &Declared, kind: &ObjectKind, tells: &[&KindOp]) -> String {
    let (object, path) = (kind.message.name(), path(&kind.message));
    let module = path.strip_suffix(object).unwrap_or_default();
    let (mut variants, mut names, mut reads) = (String::new(), String::new(), String::new());
    let (mut verbs, mut named, mut revisions) = (String::new(), String::new(), String::new());
    let (mut referring, mut referred) = (String::new(), String::new());
    for KindOp { does, method, refers, refuse_while_referred, .. } in tells {
        let (Does::Tell(verb), input, rpc) = (does, method.input(), method.name()) else { continue };
        let (request, version) =
            (super::generate::path(&input), input.package_name().rsplit('.').next().unwrap_or_default());
        line(&mut variants, format_args!("    /// `{}`.\n    {verb}(Box<{request}>),", method.full_name()));
        let service = input.package_name().split('.').nth(1).unwrap_or_default();
        write!(names, "({service:?}, {version:?}, {rpc:?}), ").expect("a String takes everything");
        line(
            &mut reads,
            format_args!(
                "            {rpc:?} => Self::{verb}(prost::Message::decode(bytes).map_err(|e| e.to_string())?),"
            ),
        );
        line(&mut verbs, format_args!("            Self::{verb}(_) => {verb:?},"));
        line(&mut named, format_args!("            Self::{verb}(it) => &it.name,"));
        let revision = if input.get_field_by_name("if_revision").is_some() {
            "it.if_revision"
        } else {
            "{ let _ = it; 0 }"
        };
        line(&mut revisions, format_args!("            Self::{verb}(it) => {revision},"));
        line(
            &mut referring,
            format_args!("            Self::{verb}(it) => {},", in_request(declared, refers)),
        );
        let others: Vec<String> =
            refuse_while_referred.iter().map(|other| format!("&KINDS[{}]", place(declared, other))).collect();
        line(&mut referred, format_args!("            Self::{verb}(_) => &[{}],", others.join(", ")));
    }
    format!(
        "/// What can be done with a `{kind}`.
#[derive(Debug, Clone, PartialEq)]
pub enum {object}Command {{
{variants}}}
impl crate::Command for {object}Command {{
    const NAMES: &'static [(&'static str, &'static str, &'static str)] = &[{names}];
    fn read(name: &str, bytes: &[u8]) -> Result<Self, String> {{
        Ok(match name {{
{reads}            other => return Err(format!(\"{{other}} is nothing that can be done with a {kind}\")),
        }})
    }}
    fn verb(&self) -> &'static str {{
        match self {{
{verbs}        }}
    }}
    fn name(&self) -> &str {{
        match self {{
{named}        }}
    }}
    fn if_revision(&self) -> u64 {{
        match self {{
{revisions}        }}
    }}
    fn references(&self) -> Vec<(&'static str, &'static ObjectKind, &str)> {{
        match self {{
{referring}        }}
    }}
    fn refuse_while_referred(&self) -> &'static [&'static ObjectKind] {{
        match self {{
{referred}        }}
    }}
}}
impl crate::OwnObject for {path} {{
    type Command = {object}Command;
    type Created = {module}{object}Created;
    type Changed = {module}{object}Changed;
    type Deleted = {module}{object}Deleted;
    type Refused = {module}{REFUSED};
    type Forgotten = {module}{FORGOTTEN};
    fn created(self, operations: Vec<crate::common::v1::OperationProgress>) -> Self::Created {{
        Self::Created {{ {field}: Some(self), operations }}
    }}
    fn changed(self, operations: Vec<crate::common::v1::OperationProgress>) -> Self::Changed {{
        Self::Changed {{ {field}: Some(self), operations }}
    }}
    fn deleted(self, operations: Vec<crate::common::v1::OperationProgress>) -> Self::Deleted {{
        Self::Deleted {{ {field}: Some(self), operations }}
    }}
    fn refused(object_id: String, operations: Vec<crate::common::v1::OperationProgress>) -> Self::Refused {{
        Self::Refused {{ object_id, operations }}
    }}
    fn forgotten(gone_before_us: i64) -> Self::Forgotten {{
        Self::Forgotten {{ kind: {kind:?}.to_owned(), gone_before_us }}
    }}
    fn stamp(&mut self, stamp: crate::Stamp) {{
        self.id = stamp.id;
        self.tenant = stamp.tenant;
        self.revision = stamp.revision;
        self.created_at_us = stamp.created_at_us;
        self.updated_at_us = stamp.updated_at_us;
        self.deleted_at_us = stamp.deleted_at_us;
    }}
}}
",
        kind = kind.kind,
        field = kind.kind,
    )
}
