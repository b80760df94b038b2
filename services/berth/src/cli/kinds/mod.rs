//! Verbs for objects of declared kinds, made from the declarations: `berth ssh-key list`.

mod follow;

use super::Session;
use super::arguments::{ListArgs, WaitArgs, pair};
use super::session::all_pages;
use crate::output::{Table, age, lines_of, local_time, word};
use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches, Subcommand, error::ErrorKind};
use client::{Exit, Failure};
use contracts::check::{Rules, rules};
use contracts::common::v1::{GetRequest, ListRequest, OperationOutcome, OperationResponse, OperationState};
use contracts::options::v1::Format;
use contracts::{Does, Method, ObjectKind, Op, comments, dashed};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use terminal::public_keys::keys_of;
use tonic::metadata::MetadataValue;

/// What every object has: it is shown in its own way.
const COMMON: [&str; 8] =
    ["id", "tenant", "name", "revision", "created_at_us", "updated_at_us", "deleted_at_us", "labels"];

/// One verb for one kind, and what was given with it.
#[derive(Debug, Clone)]
pub struct KindCommand {
    verb: Verb,
    given: ArgMatches,
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
enum Verb {
    /// What the declaration says.
    Declared(&'static Method, Op),
    /// Wait until an object is, or is gone.
    Wait(&'static ObjectKind),
    /// Print what becomes of objects.
    Watch(&'static ObjectKind),
}

fn kinds() -> impl Iterator<Item = &'static ObjectKind> {
    contracts::KINDS.iter().filter(|kind| kind.served)
}

fn methods_of(kind: &'static ObjectKind) -> impl Iterator<Item = (&'static Method, Op)> {
    let declared = contracts::methods().iter().filter_map(|method| Some((method, method.op?)));
    declared.filter(move |(_, op)| op.kind == kind)
}

fn noun(kind: &ObjectKind) -> String {
    kind.name.replace('_', "-")
}

fn verb(op: Op) -> String {
    match op.does {
        Does::List => "list".to_owned(),
        Does::Get => "show".to_owned(),
        Does::Tell(verb) => dashed(verb),
    }
}

impl Subcommand for KindCommand {
    fn augment_subcommands(command: Command) -> Command {
        kinds().fold(command, |command, kind| command.subcommand(noun_of(kind)))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        kinds().any(|kind| noun(kind) == name)
    }
}

impl FromArgMatches for KindCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let kind = kinds().find(|kind| noun(kind) == name).ok_or_else(missing)?;
        let (name, given) = matches.subcommand().ok_or_else(missing)?;
        let declared = methods_of(kind).find(|(_, op)| verb(*op) == name);
        let verb = match (declared, name) {
            (Some((method, op)), _) => Verb::Declared(method, op),
            (None, follow::WAIT) => Verb::Wait(kind),
            (None, follow::WATCH) => Verb::Watch(kind),
            (None, _) => return Err(missing()),
        };
        Ok(Self { verb, given: given.clone() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn noun_of(kind: &'static ObjectKind) -> Command {
    let about = contracts::pool()
        .services()
        .find(|service| {
            service.methods().any(|method| contracts::op(&method).is_some_and(|op| op.kind == kind))
        })
        .map(|service| sentence(&comments::of(&service.parent_file(), service.path())))
        .unwrap_or_default();
    let mut examples = String::from("Examples:");
    let mut command =
        Command::new(noun(kind)).about(about).subcommand_required(true).arg_required_else_help(true);
    for (method, op) in methods_of(kind) {
        let verb = verb_of(method, op);
        examples = format!("{examples}\n  {}", example(method, op));
        command = command.subcommand(verb);
    }
    for verb in follow::verbs(kind) {
        if command.find_subcommand(verb.get_name()).is_none() {
            command = command.subcommand(verb);
        }
    }
    command.after_help(examples)
}

fn verb_of(method: &'static Method, op: Op) -> Command {
    let words = comments::of(&method.descriptor.parent_file(), method.descriptor.path());
    let command = Command::new(verb(op)).after_help(format!("Examples:\n  {}", example(method, op)));
    let command = match op.does {
        Does::List => ListArgs::augment_args(command)
            .arg(
                Arg::new("order-by")
                    .long("order-by")
                    .value_name("ORDER")
                    .help("name or created_at_us, and \" desc\" after it for the last first [default: name]"),
            )
            .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Also those that are gone"))
            .arg(Arg::new("wide").long("wide").action(ArgAction::SetTrue).help("More columns")),
        Does::Get => command.arg(Arg::new("name").required(true).value_name("NAME").help("Name or id")),
        Does::Tell(_) => {
            let request = method.descriptor.input();
            let arguments = request.fields().map(|field| argument(&field));
            WaitArgs::augment_args(command.args(arguments))
        }
    };
    // last: arguments that are shared bring a sentence of their own
    command.about(sentence(&words)).long_about(sentence(&words))
}

/// The argument for a field of a request.
fn argument(field: &FieldDescriptor) -> Arg {
    let (rules, words) = (rules(field), comments::of(&field.parent_file(), field.path()));
    let name = field.name().replace('_', "-");
    let argument = Arg::new(field.name().to_owned()).help(sentence(&words));
    if field.name() == "name" {
        return argument.required(true).value_name("NAME");
    }
    if rules.format == Format::Labels {
        let help = sentence(&format!("{}; may be repeated", words.trim_end_matches('.')));
        let help = if words.is_empty() { "A label; may be repeated".to_owned() } else { help };
        return argument
            .long("label")
            .value_name("KEY=VALUE")
            .value_parser(pair)
            .action(ArgAction::Append)
            .help(help);
    }
    let argument = argument.long(name).required(rules.required);
    match field.kind() {
        Kind::Bool => argument.action(ArgAction::SetTrue).required(false),
        Kind::Uint32 | Kind::Uint64 => argument.value_name("NUMBER").value_parser(clap::value_parser!(u64)),
        _ if field.is_list() => {
            argument.long(name_of_one(field)).value_name("TEXT").action(ArgAction::Append)
        }
        _ => argument.value_name(if rules.format == Format::PublicKey { "FILE|KEY" } else { "TEXT" }),
    }
}

/// A list is given one by one: `remove_labels` is --remove-label.
fn name_of_one(field: &FieldDescriptor) -> String {
    let name = field.name().replace('_', "-");
    name.strip_suffix('s').map(str::to_owned).unwrap_or(name)
}

/// A command line that is right.
fn example(method: &Method, op: Op) -> String {
    let begin = format!("berth {} {}", noun(op.kind), verb(op));
    let Does::Tell(_) = op.does else {
        return if op.does == Does::Get { format!("{begin} main") } else { begin };
    };
    let fields = method.descriptor.input();
    let fields = fields.fields().map(|field| (field.name().replace('_', "-"), rules(&field)));
    let required =
        fields.filter(|(_, rules)| rules.required).map(|(name, rules)| match (name.as_str(), rules) {
            ("name", _) => " main".to_owned(),
            (name, Rules { format: Format::PublicKey, .. }) => format!(" --{name} ~/.ssh/id_ed25519.pub"),
            (name, _) => format!(" --{name} x"),
        });
    format!("{begin}{}", required.collect::<String>())
}

/// A comment as help: without the full stop.
fn sentence(words: &str) -> String {
    words.trim().trim_end_matches('.').to_owned()
}

pub(super) async fn run(command: &KindCommand, session: &Session) -> Result<(), Failure> {
    let KindCommand { verb, given } = command;
    match verb {
        Verb::Declared(method, op) => match op.does {
            Does::List => list(method, *op, given, session).await,
            Does::Get => show(method, given, session).await,
            Does::Tell(verb) => tell(method, *op, verb, given, session).await,
        },
        Verb::Wait(kind) => follow::wait(kind, given, session).await,
        Verb::Watch(kind) => follow::watch(kind, given, session).await,
    }
}

async fn ask(
    method: &Method,
    session: &Session,
    request: &impl prost::Message,
) -> Result<DynamicMessage, Failure> {
    let request = Bytes::from(request.encode_to_vec());
    let answer = session.gateway.read(request, async |r| session.gateway.call(method, r).await).await?;
    decoded(method, answer)
}

fn decoded(method: &Method, answer: Bytes) -> Result<DynamicMessage, Failure> {
    let unreadable =
        |error| Failure::new(Exit::Failed, format!("the answer of the gateway cannot be read: {error}"));
    DynamicMessage::decode(method.descriptor.output(), answer).map_err(unreadable)
}

async fn list(method: &Method, op: Op, given: &ArgMatches, session: &Session) -> Result<(), Failure> {
    let args = ListArgs::from_arg_matches(given).map_err(|error| Failure::usage(error.to_string()))?;
    let request = ListRequest {
        labels: args.labels()?,
        filter: args.filter,
        order_by: given.get_one::<String>("order-by").cloned().unwrap_or_default(),
        include_gone: given.get_flag("all"),
        ..ListRequest::default()
    };
    let objects = all(method, request, session).await?;
    let mut all = DynamicMessage::new(method.descriptor.output());
    all.set_field_by_number(1, Value::List(objects.iter().cloned().map(Value::Message).collect()));
    let json = contracts::json_of(&all).map_err(|error| Failure::new(Exit::Failed, error))?;
    session.format.print_value(&json, || table(op.kind, &objects, given.get_flag("wide")))
}

/// All objects of a list.
async fn all(
    method: &Method,
    mut request: ListRequest,
    session: &Session,
) -> Result<Vec<DynamicMessage>, Failure> {
    request.page_size = kernel::limits::PAGE;
    let mut objects = Vec::new();
    all_pages(async |page_token| {
        request.page_token = page_token;
        let page = ask(method, session, &request).await?;
        objects.extend(items(&page));
        let next = page.get_field_by_number(2);
        Ok(next.as_ref().and_then(|token| token.as_str()).unwrap_or_default().to_owned())
    })
    .await?;
    Ok(objects)
}

fn items(page: &DynamicMessage) -> Vec<DynamicMessage> {
    let items = page.get_field_by_number(1);
    let items = items.as_ref().and_then(|items| items.as_list()).unwrap_or_default();
    items.iter().filter_map(Value::as_message).cloned().collect()
}

async fn show(method: &Method, given: &ArgMatches, session: &Session) -> Result<(), Failure> {
    let name = given.get_one::<String>("name").cloned().unwrap_or_default();
    let object = ask(method, session, &GetRequest { name }).await?;
    let json = contracts::json_of(&object).map_err(|error| Failure::new(Exit::Failed, error))?;
    session.format.print_value(&json, || lines(&object))
}

async fn tell(
    method: &Method,
    op: Op,
    verb: &str,
    given: &ArgMatches,
    session: &Session,
) -> Result<(), Failure> {
    let request = request(method, given)?;
    let wait = WaitArgs::from_arg_matches(given).map_err(|error| Failure::usage(error.to_string()))?;
    let bytes = Bytes::from(contracts::canonical(&request));
    let call = async |mut r: tonic::Request<Bytes>| {
        // most owners have decided by then: what is refused is said at once
        r.metadata_mut().insert("prefer", MetadataValue::from_static("wait=2"));
        session.gateway.call(method, r).await
    };
    let answer = session.gateway.change(bytes, session.key(), call).await?;
    let unreadable =
        |error| Failure::new(Exit::Failed, format!("the answer of the gateway cannot be read: {error}"));
    let OperationResponse { operation_id, object_id, outcome } =
        OperationResponse::decode(answer).map_err(unreadable)?;
    if let Some(OperationOutcome { refusal: Some(refusal), .. }) = outcome {
        return Err(Failure::refused(Some(refusal), format!("{} failed", method.descriptor.name())));
    }
    let ended = outcome.as_ref().is_some_and(|outcome| outcome.state() == OperationState::Succeeded);
    let answer = contracts::gateway::v1::OperationResponse { operation_id, object_id, outcome };
    let name = given.get_one::<String>("name").map_or("", String::as_str);
    let done = format!("{} {name}: {} is done", noun(op.kind), dashed(verb));
    if ended && !wait.wait {
        return session.format.print("OperationResponse", &answer, || format!("{done}\n"));
    }
    session.accepted(&answer, &wait, &done).await
}

/// The request that was given.
fn request(method: &Method, given: &ArgMatches) -> Result<DynamicMessage, Failure> {
    let mut request = DynamicMessage::new(method.descriptor.input());
    for field in method.descriptor.input().fields() {
        let id = field.name();
        if given.value_source(id).is_none() {
            continue;
        }
        let value = if field.is_map() {
            let pairs = given.get_many::<(String, String)>(id).into_iter().flatten();
            Value::Map(
                pairs
                    .map(|(key, value)| (MapKey::String(key.clone()), Value::String(value.clone())))
                    .collect(),
            )
        } else if field.is_list() {
            let texts = given.get_many::<String>(id).into_iter().flatten();
            Value::List(texts.map(|text| Value::String(text.clone())).collect())
        } else {
            match field.kind() {
                Kind::Bool => Value::Bool(given.get_flag(id)),
                Kind::Uint64 => Value::U64(given.get_one::<u64>(id).copied().unwrap_or_default()),
                Kind::Uint32 => {
                    let number = given.get_one::<u64>(id).copied().unwrap_or_default();
                    Value::U32(
                        u32::try_from(number)
                            .map_err(|_| Failure::usage(format!("--{id} {number} is too large")))?,
                    )
                }
                _ => Value::String(text(&field, given.get_one::<String>(id).map_or("", String::as_str))?),
            }
        };
        request.set_field(&field, value);
    }
    Ok(request)
}

fn text(field: &FieldDescriptor, given: &str) -> Result<String, Failure> {
    if rules(field).format != Format::PublicKey {
        return Ok(given.to_owned());
    }
    match keys_of(given)?.as_slice() {
        [key] => Ok(key.clone()),
        keys => Err(Failure::usage(format!("{given} holds {} keys: name one", keys.len()))),
    }
}

fn table(kind: &ObjectKind, objects: &[DynamicMessage], wide: bool) -> String {
    let descriptor = contracts::pool().get_message_by_name(kind.message);
    let fields: Vec<FieldDescriptor> =
        descriptor.iter().flat_map(|d| d.fields().collect::<Vec<_>>()).collect();
    let shown = |field: &&FieldDescriptor| {
        let rules = rules(field);
        rules.listed || (wide && rules.wide)
    };
    let columns: Vec<&FieldDescriptor> = fields.iter().filter(shown).collect();
    let titles: Vec<String> = columns.iter().map(|field| field.name().replace('_', " ")).collect();
    let mut all = vec!["name"];
    all.extend(titles.iter().map(String::as_str));
    all.push("age");
    if wide {
        all.push("id");
    }
    let mut table = Table::of(&all, &format!("no {}", kind.plural.replace('_', " ")));
    for object in objects {
        let of = |name: &str| object.get_field_by_name(name).map(|value| value.into_owned());
        let text =
            |name: &str| of(name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
        let mut cells = vec![text("name")];
        cells.extend(columns.iter().map(|field| cell(field, &object.get_field(field))));
        cells.push(age(of("created_at_us").and_then(|at| at.as_i64()).unwrap_or_default()));
        if wide {
            cells.push(text("id"));
        }
        table.row_of(&cells);
    }
    table.render()
}

/// Everything about one object; what is empty is left out.
fn lines(object: &DynamicMessage) -> String {
    let descriptor = object.descriptor();
    let own = descriptor.fields().filter(|field| !COMMON.contains(&field.name()));
    let common = |names: &[&str]| {
        names.iter().filter_map(|name| descriptor.get_field_by_name(name)).collect::<Vec<_>>()
    };
    let fields = common(&["name", "id"]).into_iter().chain(own).chain(common(&[
        "labels",
        "revision",
        "created_at_us",
        "updated_at_us",
        "deleted_at_us",
    ]));
    let lines: Vec<(String, String)> = fields
        .map(|field| {
            (
                field.name().trim_end_matches("_at_us").replace('_', " "),
                cell(&field, &object.get_field(&field)),
            )
        })
        .collect();
    lines_of(&lines.iter().map(|(name, value)| (name.as_str(), value.clone())).collect::<Vec<_>>())
}

/// A value for people.
fn cell(field: &FieldDescriptor, value: &Value) -> String {
    match (value, field.kind()) {
        (Value::String(text), _) => text.clone(),
        (Value::I64(0), _) if field.name().ends_with("_us") => String::new(),
        (Value::I64(at), _) if field.name().ends_with("_us") => local_time(*at),
        (Value::EnumNumber(number), Kind::Enum(of)) => {
            let name =
                of.get_value(*number).map_or_else(|| number.to_string(), |value| value.name().to_owned());
            let prefix =
                of.values().next().map(|first| first.name().trim_end_matches("UNSPECIFIED").to_owned());
            word(&name, &prefix.unwrap_or_default())
        }
        (Value::Map(entries), _) => {
            let mut pairs: Vec<String> = entries
                .iter()
                .map(|(key, value)| {
                    format!("{}={}", key.as_str().unwrap_or_default(), value.as_str().unwrap_or_default())
                })
                .collect();
            pairs.sort();
            pairs.join("\n")
        }
        (Value::List(items), _) => items.iter().map(|item| cell(field, item)).collect::<Vec<_>>().join("\n"),
        (Value::Bool(flag), _) => flag.to_string(),
        (Value::U32(number), _) => number.to_string(),
        (Value::U64(number), _) => number.to_string(),
        (Value::I32(number), _) => number.to_string(),
        (Value::I64(number), _) => number.to_string(),
        (other, _) => other.to_string(),
    }
}
