//! Events of other systems: each is taken once, in the transaction that remembers it and says it.

use crate::store::external_events;
use crate::translate::alertmanager;
use bus::{Desk, Work};
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::external_event_service_server::ExternalEventService;
use contracts::gateway::v1::{ExternalEvent, ExternalEventReceived, ExternalVia, PublishedEvent};
use gateway_api::api::accept::{Asked, Requests};
use gateway_api::domain::violation::Violation;
use gateway_api::translate::{external_events as translate, status};
use kernel::OperationId;
use kernel::limits::{ALERTS_AT_ONCE, EVENTS_AT_ONCE};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use std::collections::BTreeSet;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

type Answer<T> = Result<Response<T>, Status>;

/// Takes events of other systems, whatever way they come. Cheap to clone.
#[derive(Clone)]
pub struct ExternalEvents {
    taken: Counter<u64>,
}

/// Where events come from.
pub struct Origin<'a> {
    /// Whose they are.
    pub tenant: &'a str,
    /// Who sent them.
    pub actor: &'a str,
    /// By which way.
    pub via: ExternalVia,
    /// The subject at the broker; "" = another way.
    pub channel: &'a str,
}

fn via_name(via: ExternalVia) -> &'static str {
    match via {
        ExternalVia::Nats => "nats",
        ExternalVia::Alertmanager => "alertmanager",
        ExternalVia::Api | ExternalVia::Unspecified => "api",
    }
}

impl ExternalEvents {
    /// Counts what is taken.
    pub fn new(meter: &Meter) -> Self {
        let taken = meter
            .u64_counter("berth_gateway_external_events")
            .with_description("Events of other systems, by the way they came and what became of them.")
            .build();
        Self { taken }
    }

    /// Counts events that were refused.
    pub fn refused(&self, via: ExternalVia, events: usize) {
        self.count(via, "refused", events);
    }

    fn count(&self, via: ExternalVia, outcome: &'static str, events: usize) {
        if events > 0 {
            let labels = [KeyValue::new("via", via_name(via)), KeyValue::new("outcome", outcome)];
            self.taken.add(events as u64, &labels);
        }
    }

    /// Takes events that were checked, within `work`, whose cause is the sender's.
    pub async fn take(
        &self,
        work: &mut Work,
        events: Vec<ExternalEvent>,
        origin: &Origin<'_>,
    ) -> Result<Vec<PublishedEvent>, sqlx::Error> {
        let now_us = work.now().micros();
        // in the same order in every transaction: two batches wait for each other and never both
        let names: BTreeSet<(&str, &str)> =
            events.iter().map(|event| (event.source.as_str(), event.id.as_str())).collect();
        let mut fresh = BTreeSet::new();
        for (source, id) in names {
            if external_events::claim(work.tx(), origin.tenant, source, id, now_us).await? {
                fresh.insert((source.to_owned(), id.to_owned()));
            }
        }
        let mut published = Vec::with_capacity(events.len());
        for event in events {
            let key = translate::key(&event);
            let (source, id) = (event.source.clone(), event.id.clone());
            // the second of two equal ones finds its claim taken
            let new = fresh.remove(&(source.clone(), id.clone()));
            if new {
                work.say_for(
                    origin.tenant,
                    &ExternalEventReceived {
                        key: key.clone(),
                        event: Some(event),
                        via: origin.via as i32,
                        actor: origin.actor.to_owned(),
                        received_at_us: now_us,
                        channel: origin.channel.to_owned(),
                    },
                );
            }
            published.push(PublishedEvent { source, id, duplicate: !new, key });
        }
        let new = published.iter().filter(|event| !event.duplicate).count();
        let (counts, via, repeats) = (self.clone(), origin.via, published.len() - new);
        work.after_commit(move || {
            counts.count(via, "accepted", new);
            counts.count(via, "duplicate", repeats);
        });
        Ok(published)
    }
}

/// Takes events by the public interface. Cheap to clone, because taking them goes on when the caller is gone.
#[derive(Clone)]
pub struct Publisher {
    /// Tables, clock and way out.
    pub desk: Desk,
    /// Tells requests apart.
    pub requests: Requests,
    /// Takes the events.
    pub external: ExternalEvents,
}

impl Publisher {
    async fn publish(
        &self,
        asked: Asked,
        events: Vec<ExternalEvent>,
        via: ExternalVia,
    ) -> Result<Vec<PublishedEvent>, Status> {
        let publisher = self.clone();
        let take = async move {
            let cause = asked.cause(OperationId::new());
            let correlation = cause.correlation;
            let mut work = publisher.desk.begin(cause).await.map_err(status::broken)?;
            let caller = &asked.caller;
            let origin = Origin { tenant: &caller.tenant, actor: &caller.actor, via, channel: "" };
            let published =
                publisher.external.take(&mut work, events, &origin).await.map_err(status::broken)?;
            if let Some(record) = asked.audit_done(correlation) {
                work.say(&record);
            }
            work.commit().await.map_err(|error| {
                asked.undone();
                status::broken(error)
            })?;
            Ok(published)
        };
        // a caller that goes away does not end it half-way
        tokio::spawn(take.in_current_span()).await.map_err(status::broken)?
    }

    fn unfit(&self, via: ExternalVia, events: usize, wrong: Violation) -> Status {
        self.external.refused(via, events.max(1));
        status::invalid(wrong)
    }
}

#[tonic::async_trait]
impl ExternalEventService for Publisher {
    async fn publish_events(
        &self,
        request: Request<wire::PublishEventsRequest>,
    ) -> Answer<wire::PublishEventsResponse> {
        let asked = self.requests.asked(&request, "PublishEvents")?;
        let events = request.into_inner().events;
        let via = ExternalVia::Api;
        translate::check_all("events", &events, EVENTS_AT_ONCE)
            .map_err(|wrong| self.unfit(via, events.len(), wrong))?;
        let events = self.publish(asked, events, via).await?;
        Ok(Response::new(wire::PublishEventsResponse { events }))
    }

    async fn publish_alerts(
        &self,
        request: Request<wire::PublishAlertsRequest>,
    ) -> Answer<wire::PublishAlertsResponse> {
        let asked = self.requests.asked(&request, "PublishAlerts")?;
        let request = request.into_inner();
        let via = ExternalVia::Alertmanager;
        let events = alertmanager::events(&request)
            .and_then(|events| translate::check_all("alerts", &events, ALERTS_AT_ONCE).map(|()| events))
            .map_err(|wrong| self.unfit(via, request.alerts.len(), wrong))?;
        let events = self.publish(asked, events, via).await?;
        Ok(Response::new(wire::PublishAlertsResponse { events }))
    }
}
