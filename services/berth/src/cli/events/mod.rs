//! `berth events`.

mod catalogue;

use super::Session;
use super::audit::moment;
use super::event_text::what_happened;
use super::events_publish::{self, PublishArgs};
use crate::output::{Format, json_of, local_time, print};
use catalogue::CatalogueArgs;
use clap::{Args, Subcommand, ValueEnum};
use client::{Exit, Failure, Retries, is_transport};
use contracts::gateway::v1::{
    EventRecord, Gap, GetHostRequest, GetImageRequest, GetInstanceRequest, WatchEventsRequest,
    WatchEventsResponse, watch_events_response::Item,
};
use kernel::{Clock as _, OperationId, SystemClock};
use prost_types::{Struct, value};
use std::io::IsTerminal as _;

/// Read the event stream: everything that happened, in order
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "With -o json each event is one JSON object on a line of its own; a gap is {\"gap\": …}. With --format
cloudevents each event is a CloudEvent on a line of its own. A connection that is lost is made again, and reading
goes on behind the last event seen.

Examples:
  berth events --last 20
  berth events --follow --type scheduler.InstanceReady
  berth events --object web-1 -o json | jq .event.type
  berth events --label team=web --since 2h --until 1h
  berth events --follow --new --format cloudevents
  berth events --after 4711 --follow
  berth events catalogue scheduler.InstanceReady
  berth events publish --type com.example.deploy.done --source /ci/web --data '{\"commit\":\"4f2a\"}'"
)]
pub struct EventsArgs {
    #[command(subcommand)]
    command: Option<EventsCommand>,
    /// Stay, and print events as they happen
    #[arg(short, long)]
    follow: bool,
    /// Only events after this place: a sequence number, or a cursor "incarnation:sequence"
    #[arg(long, value_name = "CURSOR", conflicts_with = "last", value_parser = cursor)]
    after: Option<(String, u64)>,
    /// Incarnation of the stream that --after belongs to
    #[arg(long, requires = "after", default_value = "", hide_default_value = true)]
    incarnation: String,
    /// Begin with the newest N events that fit
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    /// Begin with what happens from now on
    #[arg(long, requires = "follow", conflicts_with_all = ["after", "last", "since"])]
    new: bool,
    /// Only what happened since: a time such as 2026-11-21T07:30:00Z, or how long ago: 90s, 30m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "after")]
    since: Option<i64>,
    /// Only what happened before, written likewise; with --follow the command ends then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// Only events of this type, such as scheduler.InstanceReady, or of a whole service; repeatable
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only about what carries this label; repeatable: all of them have to be there
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Only about this object: id, or name of an instance, image or host
    #[arg(long, value_name = "OBJECT")]
    object: Option<String>,
    /// Only of this operation, or other correlation
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    operation: String,
    /// How events are written; CloudEvents are JSON, one on a line
    #[arg(long, value_enum, default_value_t)]
    format: EventFormat,
}

/// Other things about events
#[derive(Debug, Subcommand)]
enum EventsCommand {
    Catalogue(CatalogueArgs),
    Publish(Box<PublishArgs>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum EventFormat {
    /// As the other commands write
    #[default]
    Berth,
    /// CloudEvents 1.0
    Cloudevents,
}

/// A sequence alone, or with the incarnation of its stream before it.
fn cursor(text: &str) -> Result<(String, u64), String> {
    let (incarnation, sequence) = text.rsplit_once(':').unwrap_or(("", text));
    match sequence.parse() {
        Ok(sequence) => Ok((incarnation.to_owned(), sequence)),
        Err(_) => Err("write a sequence number, or incarnation:sequence".to_owned()),
    }
}

pub(super) async fn run(args: EventsArgs, session: &Session) -> Result<(), Failure> {
    match args.command {
        Some(EventsCommand::Catalogue(args)) => return catalogue::run(args, session).await,
        Some(EventsCommand::Publish(publish)) => return events_publish::run(*publish, session).await,
        None => {}
    }
    let object_id = match &args.object {
        Some(object) => id_of(object, session).await?,
        None => String::new(),
    };
    let (incarnation, after_sequence) = args.after.unwrap_or_default();
    let request = WatchEventsRequest {
        after_sequence,
        incarnation: if incarnation.is_empty() { args.incarnation } else { incarnation },
        follow: args.follow,
        types: args.types,
        object_id,
        correlation_id: args.operation,
        last: args.last.unwrap_or(0),
        labels: args.labels,
        since_us: args.since.unwrap_or(0),
        until_us: args.until.unwrap_or(0),
        after: String::new(),
        new_only: args.new,
        format: if args.format == EventFormat::Cloudevents { "cloudevents" } else { "" }.to_owned(),
    };
    let for_people = session.format == Format::Table && args.format == EventFormat::Berth;
    read(request, for_people, session).await
}

/// Prints events of these types from now on that carry these labels.
pub(super) async fn watch(types: Vec<String>, labels: Vec<String>, session: &Session) -> Result<(), Failure> {
    let request =
        WatchEventsRequest { follow: true, new_only: true, types, labels, ..WatchEventsRequest::default() };
    read(request, session.format == Format::Table, session).await
}

async fn read(request: WatchEventsRequest, for_people: bool, session: &Session) -> Result<(), Failure> {
    // programs that read the lines need no titles, and a stream has no end to print them at
    if for_people && std::io::stdout().is_terminal() {
        print(&titles())?;
    }
    Reader { session, request, retries: Retries::new(session.gateway.attempts()), resynced_at: None }
        .run()
        .await
}

/// Reads on from the last event seen, over lost connections and gaps.
struct Reader<'a> {
    session: &'a Session,
    request: WatchEventsRequest,
    retries: Retries,
    /// The cursor that the newest gap led to, until an event follows it.
    resynced_at: Option<(u64, String)>,
}

enum Ended {
    ByServer,
    AfterGap,
}

impl Reader<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        loop {
            let status = match self.read().await {
                // after a gap the server may leave it to the reader to come back at the resync point
                Ok(Ended::AfterGap) => continue,
                Ok(Ended::ByServer) if !self.request.follow || self.is_over() => return Ok(()),
                Ok(Ended::ByServer) => tonic::Status::unavailable("the gateway ended the stream"),
                Err(Stop::Status(status)) => *status,
                Err(Stop::Failure(failure)) => return Err(failure),
            };
            match self.retries.next_pause() {
                Some(pause) if is_transport(&status) => {
                    self.session.note("connection lost, going on from the last event");
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(Failure::from_status(&status, self.session.gateway.endpoint())),
            }
        }
    }

    async fn read(&mut self) -> Result<Ended, Stop> {
        let mut stream = self.session.gateway.events().watch_events(self.request.clone()).await?.into_inner();
        let mut after_gap = false;
        while let Some(answer) = stream.message().await? {
            self.retries.reset(self.session.gateway.attempts());
            match &answer.item {
                Some(Item::Event(event)) => {
                    after_gap = false;
                    self.resynced_at = None;
                    self.move_to(event.sequence, &event.incarnation);
                }
                Some(Item::CloudEvent(event)) => {
                    after_gap = false;
                    self.resynced_at = None;
                    if let Some((incarnation, sequence)) = place_of(event) {
                        self.move_to(sequence, &incarnation);
                    }
                }
                Some(Item::Position(position)) => {
                    self.move_to(position.sequence, &position.incarnation);
                    continue;
                }
                Some(Item::Gap(gap)) => {
                    after_gap = true;
                    let place = (gap.resync_after_sequence, gap.incarnation.clone());
                    if self.resynced_at.as_ref() == Some(&place) {
                        let text =
                            format!("the gateway reports the same gap again after sequence {}", place.0);
                        return Err(Failure::new(Exit::Failed, text).into());
                    }
                    self.move_to(place.0, &place.1);
                    self.resynced_at = Some(place);
                }
                None => continue,
            }
            show(&answer, self.session.format)?;
        }
        Ok(if after_gap { Ended::AfterGap } else { Ended::ByServer })
    }

    fn move_to(&mut self, sequence: u64, incarnation: &str) {
        self.request.after_sequence = sequence;
        incarnation.clone_into(&mut self.request.incarnation);
        self.request.last = 0;
        self.request.new_only = false;
    }

    /// The time before which events were asked for is over.
    fn is_over(&self) -> bool {
        self.request.until_us != 0 && self.request.until_us <= SystemClock.now().micros()
    }
}

/// The cursor that a CloudEvent of ours carries.
fn place_of(event: &Struct) -> Option<(String, u64)> {
    match &event.fields.get("berthsequence")?.kind {
        Some(value::Kind::StringValue(word)) => cursor(word).ok(),
        _ => None,
    }
}

enum Stop {
    Status(Box<tonic::Status>),
    Failure(Failure),
}

impl From<tonic::Status> for Stop {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

fn show(answer: &WatchEventsResponse, format: Format) -> Result<(), Failure> {
    let json = || {
        let mut json = json_of("berth.gateway.v1.WatchEventsResponse", answer)?;
        // a CloudEvent stands by itself
        Ok::<_, Failure>(json.get_mut("cloud_event").map(serde_json::Value::take).unwrap_or(json))
    };
    match (format, &answer.item) {
        (Format::Table, Some(Item::CloudEvent(_))) => print(&format!("{}\n", json()?)),
        (Format::Json, _) => print(&format!("{}\n", json()?)),
        (Format::Yaml, _) => print("---\n").and_then(|()| format.print_value(&json()?, String::new)),
        (Format::Table, Some(Item::Event(event))) => print(&event_line(event)),
        (Format::Table, Some(Item::Gap(gap))) => print(&gap_line(gap)),
        (Format::Table, Some(Item::Position(_)) | None) => Ok(()),
    }
}

/// Above what [`event_line`] writes.
fn titles() -> String {
    format!("{:<25}  {:>8}  {:<32}  {:<36}  WHAT HAPPENED\n", "TIME", "SEQUENCE", "TYPE", "OBJECT")
}

fn event_line(event: &EventRecord) -> String {
    let (time, type_) = (local_time(event.occurred_at_us), &event.r#type);
    let mut line = format!("{time}  {:>8}  {type_:<32}  {}", event.sequence, event.object_id);
    if !event.correlation_id.is_empty() {
        line += &format!("  op={}", event.correlation_id);
    }
    if !event.actor.is_empty() {
        line += &format!("  by={}", event.actor);
    }
    let what = what_happened(event);
    if !what.is_empty() {
        line += &format!("  {what}");
    }
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>() + "\n"
}

fn gap_line(gap: &Gap) -> String {
    format!(
        "GAP: {}; events are missing here. Read the objects anew; going on after sequence {} of stream {}\n",
        gap.reason, gap.resync_after_sequence, gap.incarnation
    )
}

/// An id stays as it is; a name is looked up among instances, images and hosts.
async fn id_of(object: &str, session: &Session) -> Result<String, Failure> {
    if object.parse::<OperationId>().is_ok() {
        return Ok(object.to_owned());
    }
    let gateway = &session.gateway;
    let (instance, image, host) = (object.to_owned(), object.to_owned(), object.to_owned());
    let found = gateway
        .read(GetInstanceRequest { instance }, async |r| gateway.instances().get_instance(r).await)
        .await;
    if let Some(found) = unless_absent(found)?.and_then(|answer| answer.instance) {
        return Ok(found.id);
    }
    let found = gateway.read(GetImageRequest { image }, async |r| gateway.images().get_image(r).await).await;
    if let Some(found) = unless_absent(found)?.and_then(|answer| answer.image) {
        return Ok(found.id);
    }
    let found = gateway.read(GetHostRequest { host }, async |r| gateway.hosts().get_host(r).await).await;
    if let Some(found) = unless_absent(found)?.and_then(|answer| answer.host).and_then(|entry| entry.host) {
        return Ok(found.id);
    }
    Err(Failure::new(Exit::NotFound, format!("no instance, image or host is called {object:?}")))
}

fn unless_absent<T>(found: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_sequence_with_or_without_its_stream() {
        assert_eq!(cursor("17"), Ok((String::new(), 17)));
        assert_eq!(cursor("1700:17"), Ok(("1700".to_owned(), 17)));
        assert!(cursor("yesterday").is_err() && cursor("1700:").is_err());
    }

    #[test]
    fn a_cloud_event_says_where_it_is() {
        let event = contracts::to_struct(serde_json::json!({"id": "x", "berthsequence": "1700:17"}));
        assert_eq!(place_of(&event), Some(("1700".to_owned(), 17)));
        assert_eq!(place_of(&Struct::default()), None);
    }

    #[test]
    fn one_line_an_event() {
        let event = EventRecord {
            sequence: 7,
            r#type: "scheduler.InstanceReady".into(),
            object_id: "i-1".into(),
            correlation_id: "op-1".into(),
            actor: "evil\nname".into(),
            occurred_at_us: 1_700_000_000_000_000,
            ..EventRecord::default()
        };
        let line = event_line(&event);
        assert_eq!(line.lines().count(), 1, "{line:?}");
        assert!(line.contains("       7  scheduler.InstanceReady           i-1  op=op-1"), "{line}");
        assert_eq!(titles().find("TYPE"), line.find("scheduler."), "titles stand above their columns");
    }
}
