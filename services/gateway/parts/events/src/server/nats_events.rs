//! CloudEvents from the tenants' subjects at the broker: `ext.<tenant>.>`.

use crate::api::external_events::{ExternalEvents, Origin};
use async_trait::async_trait;
use bus::{Failure, FromOutside, Sent, Work};
use contracts::gateway::v1::{
    AuditObject, AuditRecord, AuditRecorded, ExternalEvent, ExternalVia, PublishedEvent,
};
use gateway_access::store::tenants;
use gateway_access::translate::access;
use gateway_api::domain::audit::Outcome;
use gateway_api::domain::violation::{Violation, excerpt};
use gateway_api::translate::{audit, external_events as translate};
use kernel::{AuditId, PLATFORM};
use serde_json::json;
use store::StoreError;

/// The actor of what comes by the broker: it does not say who of the tenant sent a message.
const ACTOR: &str = "nats";
/// Longest text of a stranger in a record, in characters.
const SHOWN: usize = 200;

/// Takes what is sent to the subjects.
pub struct NatsEvents {
    events: ExternalEvents,
}

impl NatsEvents {
    /// Takes events as all other doors do.
    pub fn new(events: ExternalEvents) -> Self {
        Self { events }
    }
}

#[async_trait]
impl FromOutside for NatsEvents {
    async fn take(&self, work: &mut Work, sent: &Sent) -> Result<(), Failure> {
        let tenant = sent.tenant();
        match tenants::get(work.tx(), tenant).await?.filter(access::is_there) {
            None => return Err(Failure::Poison(format!("no tenant is called {:?}", excerpt(tenant, 80)))),
            Some(found) if !access::is_active(&found) => {
                return Err(Failure::Poison(format!("the tenant {tenant} is disabled")));
            }
            Some(_) => {}
        }
        let event = read(sent).map_err(|wrong| Failure::Poison(wrong.to_string()))?;
        let mut cause = work.cause().clone();
        ACTOR.clone_into(&mut cause.actor);
        work.set_cause(cause);
        let origin = Origin { tenant, actor: ACTOR, via: ExternalVia::Nats, channel: &sent.subject };
        let published = self.events.take(work, vec![event], &origin).await?;
        let record = record(work, sent, published.first(), "OK");
        work.say(&record);
        Ok(())
    }

    async fn refuse(&self, work: &mut Work, sent: &Sent, _: &str) -> Result<(), StoreError> {
        let known = tenants::get(work.tx(), sent.tenant()).await?.is_some();
        let mut cause = work.cause().clone();
        ACTOR.clone_into(&mut cause.actor);
        // what names no tenant is nobody's but the platform's to know
        work.set_cause(if known { cause } else { cause.for_tenant(PLATFORM) });
        let record = record(work, sent, None, "INVALID_ARGUMENT");
        work.say(&record);
        let counts = self.events.clone();
        work.after_commit(move || counts.refused(ExternalVia::Nats, 1));
        Ok(())
    }
}

/// One event: a document, or its attributes in headers.
fn read(sent: &Sent) -> Result<ExternalEvent, Violation> {
    let headers: Vec<(String, &str)> =
        sent.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect();
    let event = if headers.iter().any(|(name, _)| name == "ce-specversion") {
        translate::binary(headers.iter().map(|(name, value)| (name.as_str(), *value)), &sent.payload)?
    } else {
        let text = std::str::from_utf8(&sent.payload)
            .map_err(|_| Violation::new("", "the message is not UTF-8: send a CloudEvent as JSON"))?;
        translate::structured(text)?
    };
    translate::check(&event)?;
    Ok(event)
}

/// The record of one message.
fn record(work: &Work, sent: &Sent, published: Option<&PublishedEvent>, code: &str) -> AuditRecorded {
    let at_us = work.now().micros();
    let request = json!({
        "subject": excerpt(&sent.subject, SHOWN),
        "bytes": sent.payload.len(),
        "source": published.map(|event| audit::name(&event.source)),
        "id": published.map(|event| audit::name(&event.id)),
        "duplicate": published.is_some_and(|event| event.duplicate),
    });
    let object = published.map(|event| AuditObject {
        kind: "externalevent".to_owned(),
        id: event.key.clone(),
        name: audit::name(&event.id),
        as_sent: false,
    });
    let record = AuditRecord {
        id: AuditId::new().to_string(),
        at_us,
        last_at_us: at_us,
        count: 1,
        actor: ACTOR.to_owned(),
        tenant: work.cause().tenant.clone(),
        door: "nats".to_owned(),
        method: audit::PUBLISH.to_owned(),
        objects: object.into_iter().collect(),
        request: request.to_string(),
        outcome: Outcome::of(code).number(),
        code: code.to_owned(),
        refusal: if code == "OK" { String::new() } else { code.to_owned() },
        correlation_id: work.cause().correlation.to_string(),
        ..AuditRecord::default()
    };
    AuditRecorded { record: Some(record) }
}
