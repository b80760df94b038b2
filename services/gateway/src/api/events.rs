//! The event stream, as a caller may see it.

use super::{Api, caller};
use crate::domain::caller::Caller;
use crate::domain::violation::{Violation, excerpt};
use crate::translate::{redact, status};
use bus::watch::{Cursor, Item, Query};
use contracts::gateway::v1::event_service_server::EventService;
use contracts::gateway::v1::{
    EventRecord, Gap, WatchEventsRequest, WatchEventsResponse, watch_events_response,
};
use futures::Stream;
use kernel::Kind;
use std::collections::BTreeSet;
use std::pin::Pin;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Events that may wait for a slow reader; beyond it reading from the broker waits, for this reader alone.
const WAITING: usize = 64;
/// Most types in one request.
const TYPES_LIMIT: usize = 32;

#[tonic::async_trait]
impl EventService for Api {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        // the broker leaves out what is another tenant's: nobody can count it either
        let own = if caller.may("platform.read") { "*" } else { caller.tenant.as_str() };
        let query = Query {
            cursor: Cursor { incarnation: request.incarnation.clone(), after: request.after_sequence },
            last: request.last,
            follow: request.follow,
            subjects: subjects(&request.types, &request.object_id, own).map_err(status::invalid)?,
        };
        let mut items = bus::watch::watch(self.bus.clone(), query);
        let (out, output) = mpsc::channel(WAITING);
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            loop {
                let item = tokio::select! {
                    () = stopping.cancelled() => {
                        let _ = out.try_send(Err(Status::unavailable("the gateway is stopping; go on from your cursor")));
                        return;
                    }
                    () = out.closed() => return,
                    item = items.recv() => item,
                };
                let shown = match item {
                    None => return,
                    Some(Err(error)) => Some(Err(status::broken(error))),
                    Some(Ok(item)) => shown(item, &caller, &request.correlation_id).map(Ok),
                };
                if let Some(shown) = shown
                    && out.send(shown).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(output))))
    }
}

/// Subjects with wildcards for the types and the object asked for, of one tenant ("*" = of all). They never overlap:
/// the broker refuses that.
fn subjects(types: &[String], object_id: &str, tenant: &str) -> Result<Vec<String>, Violation> {
    let token = |text: &str| {
        !text.is_empty()
            && text.len() <= 128
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    if !object_id.is_empty() && !token(object_id) {
        return Err(Violation::new("object_id", "an object is named by its id"));
    }
    if types.len() > TYPES_LIMIT {
        return Err(Violation::new(
            "types",
            format!("{} types are too many: at most {TYPES_LIMIT}", types.len()),
        ));
    }
    let rest = match object_id {
        "" if tenant == "*" => ">".to_owned(),
        "" => format!("{tenant}.>"),
        object => format!("{tenant}.{object}"),
    };
    if types.is_empty() {
        return Ok(if rest == ">" { Vec::new() } else { vec![format!("evt.*.*.*.{rest}")] });
    }
    let mut wanted = BTreeSet::new();
    for (index, name) in types.iter().enumerate() {
        let (service, event) = name.split_once('.').unwrap_or((name, "*"));
        let mut events =
            contracts::CATALOGUE.iter().filter(|e| e.kind == Kind::Event && e.service == service);
        if !events.any(|e| event == "*" || e.name == event) {
            let text =
                format!("{:?} is no event: write scheduler or scheduler.InstanceReady", excerpt(name, 80));
            return Err(Violation::new(format!("types[{index}]"), text));
        }
        wanted.insert((service, event));
    }
    let all: BTreeSet<&str> =
        wanted.iter().filter(|(_, event)| *event == "*").map(|(service, _)| *service).collect();
    wanted.retain(|(service, event)| *event == "*" || !all.contains(service));
    Ok(wanted.iter().map(|(service, event)| format!("evt.{service}.*.{event}.{rest}")).collect())
}

/// What the caller gets of an item; `None` when it is not for them.
fn shown(item: Item, caller: &Caller, correlation: &str) -> Option<WatchEventsResponse> {
    let item = match item {
        Item::Gap { reason, resync, .. } => watch_events_response::Item::Gap(Gap {
            reason,
            resync_after_sequence: resync.after,
            incarnation: resync.incarnation,
        }),
        Item::Event { sequence, incarnation, envelope } => {
            let correlation_id = envelope.cause.correlation.to_string();
            let record = envelope.subject.service == "gateway" && envelope.subject.name == "AuditRecorded";
            if !caller.sees(&envelope.subject.tenant)
                || (record && !caller.may("audit.read"))
                || (!correlation.is_empty() && correlation != correlation_id)
            {
                return None;
            }
            let subject = &envelope.subject;
            let data = contracts::entry(&subject.service, &subject.version, &subject.name)
                .and_then(|entry| redact::json(entry.full_name, &envelope.payload, caller.sees_hosts()));
            watch_events_response::Item::Event(EventRecord {
                sequence,
                incarnation,
                id: envelope.id.to_string(),
                r#type: format!("{}.{}", subject.service, subject.name),
                tenant: subject.tenant.clone(),
                object_id: subject.key.clone(),
                actor: envelope.cause.actor.clone(),
                correlation_id,
                causation_id: envelope.cause.causation.map(|id| id.to_string()).unwrap_or_default(),
                occurred_at_us: envelope.occurred_at.micros(),
                data: data.map(contracts::to_struct),
            })
        }
    };
    Some(WatchEventsResponse { item: Some(item) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(types: &[&str], object: &str) -> Result<Vec<String>, String> {
        let types: Vec<String> = types.iter().map(|t| (*t).to_owned()).collect();
        subjects(&types, object, "*").map_err(|v| v.field)
    }

    #[test]
    fn a_tenant_is_sent_its_own_events_alone() {
        let of = |types: &[&str], object: &str| {
            let types: Vec<String> = types.iter().map(|t| (*t).to_owned()).collect();
            subjects(&types, object, "acme").map_err(|v| v.field)
        };
        assert_eq!(of(&[], ""), Ok(vec!["evt.*.*.*.acme.>".to_owned()]));
        assert_eq!(of(&[], "018f"), Ok(vec!["evt.*.*.*.acme.018f".to_owned()]));
        assert_eq!(of(&["scheduler"], ""), Ok(vec!["evt.scheduler.*.*.acme.>".to_owned()]));
    }

    #[test]
    fn types_become_subjects_that_do_not_overlap() {
        assert_eq!(of(&[], ""), Ok(vec![]));
        assert_eq!(of(&[], "018f"), Ok(vec!["evt.*.*.*.*.018f".to_owned()]));
        assert_eq!(
            of(&["scheduler.InstanceReady"], ""),
            Ok(vec!["evt.scheduler.*.InstanceReady.>".to_owned()])
        );
        assert_eq!(
            of(&["scheduler.InstanceReady", "scheduler", "scheduler", "storage.ImageImported"], "x"),
            Ok(vec!["evt.scheduler.*.*.*.x".to_owned(), "evt.storage.*.ImageImported.*.x".to_owned()])
        );
    }

    #[test]
    fn what_is_no_event_is_named() {
        assert_eq!(of(&["scheduler", "scheduler.>"], ""), Err("types[1]".to_owned()));
        assert_eq!(of(&["nobody"], ""), Err("types[0]".to_owned()));
        assert_eq!(of(&["scheduler.CreateInstance"], ""), Err("types[0]".to_owned()));
        assert_eq!(of(&[], "a.>"), Err("object_id".to_owned()));
    }
}
