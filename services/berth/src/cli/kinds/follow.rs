//! Waiting for objects, and watching them: the same for every kind.

use super::{Session, all, ask, methods_of, noun};
use crate::cli::arguments::duration;
use crate::cli::events;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use client::{Exit, Failure};
use contracts::common::v1::{GetRequest, ListRequest};
use contracts::{Does, Method, ObjectKind, events_of};
use prost_reflect::DynamicMessage;
use std::time::Duration;
use tokio::time::Instant;

pub(super) const WAIT: &str = "wait";
pub(super) const WATCH: &str = "watch";

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(500);

/// The verbs that every kind has beside its own.
pub(super) fn verbs(kind: &'static ObjectKind) -> [Command; 2] {
    let noun = noun(kind);
    let wait = Command::new(WAIT)
        .about("Wait until an object is as it should be, or gone")
        .arg(Arg::new("name").required(true).value_name("NAME").help("Name or id"))
        .arg(
            Arg::new("for")
                .long("for")
                .value_name("FILTER")
                .help("Until this holds of it, such as 'revision > 3'"),
        )
        .arg(Arg::new("gone").long("gone").action(ArgAction::SetTrue).help("Until it is gone"))
        .group(ArgGroup::new("until").args(["for", "gone"]).required(true))
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("TIME")
                .value_parser(duration)
                .help("Longest wait, such as 90s, 10m or 1h [default: as long as it takes]"),
        )
        .after_help(format!(
            "Examples:\n  berth {noun} wait main --for 'revision > 3'\n  berth {noun} wait main --gone"
        ));
    let watch = Command::new(WATCH)
        .about("Print what becomes of objects, as it happens")
        .arg(
            Arg::new("label")
                .long("label")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("Only objects with this label; may be repeated"),
        )
        .after_help(format!("Examples:\n  berth {noun} watch"));
    [wait, watch]
}

fn method(kind: &'static ObjectKind, does: Does) -> Result<&'static Method, Failure> {
    let found = methods_of(kind).find(|(_, op)| op.does == does);
    found.map(|(method, _)| method).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{} cannot be looked at one by one", kind.plural.replace('_', " ")))
    })
}

pub(super) async fn wait(
    kind: &'static ObjectKind,
    given: &ArgMatches,
    session: &Session,
) -> Result<(), Failure> {
    let name = given.get_one::<String>("name").cloned().unwrap_or_default();
    let (get, list) = (method(kind, Does::Get)?, method(kind, Does::List)?);
    let limit = given.get_one::<Duration>("timeout").copied();
    let end = limit.map(|limit| Instant::now() + limit);
    let until = given.get_one::<String>("for").map(|filter| filter.trim());
    if until.is_some_and(str::is_empty) {
        return Err(Failure::usage("--for wants a filter, such as 'revision > 3'"));
    }
    let object = ask(get, session, &GetRequest { name: name.clone() }).await?;
    let id = object.get_field_by_name("id").map(|id| id.into_owned());
    let id = id.as_ref().and_then(|id| id.as_str()).unwrap_or_default().to_owned();
    loop {
        let looked =
            ListRequest { filter: format!("id = {id}"), include_gone: true, ..ListRequest::default() };
        let gone = all(list, looked.clone(), session).await?.first().is_none_or(is_gone);
        let so = match until {
            None => gone,
            Some(until) => {
                let filter = format!("{} AND {until}", looked.filter);
                !all(list, ListRequest { filter, ..looked }, session).await?.is_empty()
            }
        };
        if so {
            let what = until.unwrap_or("it is gone");
            return session
                .format
                .print_value(&serde_json::json!({"id": id}), || format!("{name}: {what}\n"));
        }
        if gone {
            return Err(Failure::new(Exit::NotFound, format!("{name} was deleted meanwhile")));
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            let seconds = limit.unwrap_or_default().as_secs();
            return Err(Failure::new(Exit::Timeout, format!("{name} was not so within {seconds} s")));
        }
        let pause = end.map_or(PAUSE, |end| PAUSE.min(end.saturating_duration_since(Instant::now())));
        tokio::time::sleep(pause).await;
    }
}

/// Whether an object says of itself when it was deleted.
fn is_gone(object: &DynamicMessage) -> bool {
    let at = object.get_field_by_name("deleted_at_us").and_then(|at| at.as_i64());
    at.is_some_and(|at| at != 0)
}

pub(super) async fn watch(
    kind: &'static ObjectKind,
    given: &ArgMatches,
    session: &Session,
) -> Result<(), Failure> {
    let types = events_of(kind).map(|event| format!("{}.{}", event.service, event.name)).collect();
    let labels = given.get_many::<String>("label").into_iter().flatten().cloned().collect();
    events::watch(types, labels, session).await
}
