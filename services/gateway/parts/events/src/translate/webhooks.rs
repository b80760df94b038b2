//! Webhooks: what is asked for, and events as receivers get them.

use crate::domain::event_filter::{ANY, EventFilter};
use crate::store::deliveries::New;
use crate::translate::cloudevents;
use bus::Envelope;
use bus::watch::Cursor;
use contracts::gateway::v1::{EventRecord, Webhook, WebhookFilter};
use gateway_api::domain::violation::{Violation, excerpt};
use gateway_api::translate::redact;
use kernel::{Kind, PLATFORM};
use reqwest::Url;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What receivers get that stands in no stream: name, type, what it is, fields of its data.
pub const OWN: [(&str, &str, &str, &[&str]); 2] = [
    (
        "webhook.gap",
        GAP,
        "Events that cannot be sent any more: read the objects anew.",
        &["reason", "incarnation", "resync_after_sequence"],
    ),
    ("webhook.probe", PROBE, "A trial, sent when somebody asks for one.", &["webhook"]),
];
const GAP: &str = "io.berth.stream.gap";
const PROBE: &str = "io.berth.webhook.probe";

/// Longest URL, in bytes.
const URL_LIMIT: usize = 2_048;
/// The events that are sent only to those who name them.
const RECORDS: (&str, &str) = ("gateway", "AuditRecorded");

/// Reads a filter.
pub fn filter(wire: &WebhookFilter) -> Result<EventFilter, Violation> {
    EventFilter::read(&wire.types, &wire.object_id, &wire.labels, is_event).map_err(|v| v.inside("filter"))
}

/// Whether there is such an event of a service; [`ANY`] = whether there is one at all.
pub fn is_event(service: &str, event: &str) -> bool {
    let mut events = contracts::CATALOGUE.iter().filter(|e| e.kind == Kind::Event && e.service == service);
    events.any(|e| event == ANY || e.name == event)
}

/// Whether audit records are sent.
pub fn names_records(filter: &WebhookFilter) -> bool {
    filter.types.iter().any(|name| name.split_once('.') == Some(RECORDS))
}

/// Reads a URL as far as every installation agrees; where requests may go is judged apart.
pub fn url(field: &str, text: &str) -> Result<Url, Violation> {
    let wrong = |why: &str| Violation::new(field, format!("{why}: write https://hooks.example.com/berth"));
    if text.len() > URL_LIMIT {
        return Err(wrong(&format!("a URL has at most {URL_LIMIT} bytes")));
    }
    let url = Url::parse(text).map_err(|e| wrong(&format!("{:?} is no URL ({e})", excerpt(text, 80))))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("a URL is shown in events, so it holds no user and no password"));
    }
    if url.fragment().is_some() {
        return Err(wrong("what stands behind '#' is never sent"));
    }
    Ok(url)
}

/// Which tenant's events are read for a webhook; [`ANY`] = those of all.
pub fn reads(webhook: &Webhook) -> &str {
    if webhook.tenant == PLATFORM { ANY } else { &webhook.tenant }
}

/// An event for this webhook; `None`: it is not meant for it.
pub fn delivery(
    webhook: &Webhook,
    filter: &EventFilter,
    envelope: &Envelope,
    sequence: u64,
    incarnation: &str,
) -> Option<New> {
    let subject = &envelope.subject;
    let whole = webhook.tenant == PLATFORM;
    let record = (subject.service.as_str(), subject.name.as_str()) == RECORDS;
    let records = webhook.filter.as_ref().is_some_and(names_records);
    // the broker sends nothing else; this is the second lock on the same door
    if (!whole && subject.tenant != webhook.tenant)
        || (record && !records)
        || !filter.takes(&subject.service, &subject.name, &subject.key)
    {
        return None;
    }
    // an event that was in the stream before the webhook was made, and stands in a stream that was made anew
    if incarnation != webhook.from_incarnation && envelope.occurred_at.micros() < webhook.created_at_us {
        return None;
    }
    let data = contracts::entry(&subject.service, &subject.version, &subject.name)
        .and_then(|entry| redact::json(entry.full_name, &envelope.payload, &|_| whole));
    if filter.asks_for_labels() && !filter.takes_labels(&labels(data.as_ref()?)) {
        return None;
    }
    let shown = EventRecord {
        sequence,
        incarnation: incarnation.to_owned(),
        id: envelope.id.to_string(),
        r#type: format!("{}.{}", subject.service, subject.name),
        tenant: subject.tenant.clone(),
        object_id: subject.key.clone(),
        actor: envelope.cause.actor.clone(),
        correlation_id: envelope.cause.correlation.to_string(),
        causation_id: envelope.cause.causation.map(|id| id.to_string()).unwrap_or_default(),
        occurred_at_us: envelope.occurred_at.micros(),
        data: data.map(contracts::to_struct),
    };
    Some(New {
        body: cloudevents::outgoing(&shown, &envelope.payload).into_bytes(),
        event_id: shown.id,
        r#type: shown.r#type,
        object_key: format!("{}/{}", subject.tenant, subject.key),
        object_id: shown.object_id,
        occurred_at_us: shown.occurred_at_us,
    })
}

/// Every label that the data of an event carries, of whatever object in it.
pub fn labels(data: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    gather(data, &mut found);
    found
}

fn gather(data: &Value, found: &mut BTreeMap<String, String>) {
    match data {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Object(labels) if name == "labels" => {
                        let pairs =
                            labels.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
                        found.extend(pairs);
                    }
                    value => gather(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        _ => {}
    }
}

/// Word of events that cannot be sent any more: the receiver has to read its objects anew. `at` is where the stream
/// goes on; the id is the same whenever the same gap is met.
pub fn gap(reason: &str, at: &Cursor, now_us: i64) -> New {
    let id = format!("gap-{}-{}", at.incarnation, at.after);
    let data = json!({
        "reason": reason,
        "incarnation": at.incarnation,
        "resync_after_sequence": at.after,
    });
    let body = of_ours(&id, GAP, now_us, data);
    New {
        body: body.to_string().into_bytes(),
        event_id: id,
        r#type: "stream.gap".into(),
        object_key: "stream".into(),
        object_id: String::new(),
        occurred_at_us: now_us,
    }
}

/// A trial event.
pub fn probe(id: &str, webhook: &Webhook, now_us: i64) -> Vec<u8> {
    let data = json!({"webhook": {"id": webhook.id, "name": webhook.name}});
    of_ours(id, PROBE, now_us, data).to_string().into_bytes()
}

/// A CloudEvent that stands in no stream.
fn of_ours(id: &str, r#type: &str, now_us: i64, data: Value) -> Value {
    let bare = EventRecord {
        id: id.to_owned(),
        r#type: "gateway.".into(),
        occurred_at_us: now_us,
        ..Default::default()
    };
    let mut event = cloudevents::of(&bare);
    event["type"] = r#type.into();
    event["datacontenttype"] = "application/json".into();
    event["data"] = data;
    if let Some(fields) = event.as_object_mut() {
        fields.remove("berthsequence");
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::Cause;
    use contracts::common::v1::Sealed;
    use contracts::scheduler::v1::{Instance, InstanceReady, InstanceSpec};
    use kernel::{Message as _, MessageId, Subject, Timestamp};
    use std::collections::BTreeSet;

    fn ready(tenant: &str, labels: &[(&str, &str)]) -> Envelope {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let user_data = Some(Sealed { ciphertext: b"CIPHERTEXT".to_vec(), ..Sealed::default() });
        let instance = Instance {
            id: "i".into(),
            host_name: "HOST".into(),
            spec: Some(InstanceSpec { labels, user_data, ..InstanceSpec::default() }),
            ..Instance::default()
        };
        let event = InstanceReady { instance: Some(instance), operations: vec![] };
        Envelope {
            id: MessageId::from_u128(7),
            subject: Subject {
                kind: Kind::Event,
                service: "scheduler".into(),
                version: "v1".into(),
                name: "InstanceReady".into(),
                tenant: tenant.into(),
                key: "i".into(),
            },
            cause: Cause::own("scheduler").for_tenant(tenant),
            occurred_at: Timestamp(50),
            payload: event.to_bytes().into(),
        }
    }

    fn webhook(tenant: &str, types: &[&str], labels: &[&str]) -> Webhook {
        let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let filter = WebhookFilter { types: own(types), object_id: String::new(), labels: own(labels) };
        Webhook {
            tenant: tenant.into(),
            filter: Some(filter),
            from_incarnation: "1".into(),
            created_at_us: 100,
            ..Webhook::default()
        }
    }

    fn sent(webhook: &Webhook, envelope: &Envelope, incarnation: &str) -> Option<Value> {
        let filter = filter(webhook.filter.as_ref().expect("one")).expect("right");
        let new = delivery(webhook, &filter, envelope, 5, incarnation)?;
        Some(serde_json::from_slice(&new.body).expect("json"))
    }

    #[test]
    fn a_receiver_gets_what_its_tenant_may_see() {
        let event = ready("acme", &[("team", "web")]);
        let own = sent(&webhook("acme", &[], &[]), &event, "1").expect("its own");
        assert_eq!(
            (&own["type"], &own["subject"]),
            (&json!("io.berth.scheduler.v1.InstanceReady"), &json!("i"))
        );
        assert_eq!((&own["berthsequence"], &own["berthtenant"]), (&json!("1:5"), &json!("acme")));
        let text = own.to_string();
        assert!(
            !text.contains("HOST") && !text.contains("CIPHERTEXT") && !text.contains("Q0lQSEVS"),
            "{text}"
        );
        let whole = sent(&webhook(PLATFORM, &[], &[]), &event, "1").expect("of all tenants").to_string();
        assert!(whole.contains("HOST") && !whole.contains("CIPHERTEXT"));
        assert_eq!(sent(&webhook("other", &[], &[]), &event, "1"), None);
    }

    #[test]
    fn filters_hold() {
        let event = ready("acme", &[("team", "web")]);
        let takes =
            |types: &[&str], labels: &[&str]| sent(&webhook("acme", types, labels), &event, "1").is_some();
        assert!(takes(&["scheduler"], &["team=web"]) && takes(&["scheduler.InstanceReady"], &[]));
        assert!(!takes(&["storage"], &[]) && !takes(&[], &["team=db"]) && !takes(&[], &["team=web", "a=b"]));
        assert!(
            filter(&webhook("acme", &["nobody"], &[]).filter.expect("one")).expect_err("wrong").field
                == "filter.types[0]"
        );
    }

    #[test]
    fn audit_records_are_sent_to_those_who_name_them() {
        let mut record = ready("acme", &[]);
        (record.subject.service, record.subject.name) = ("gateway".into(), "AuditRecorded".into());
        assert_eq!(sent(&webhook("acme", &[], &[]), &record, "1"), None);
        assert_eq!(sent(&webhook("acme", &["gateway"], &[]), &record, "1"), None);
        let named = webhook("acme", &["gateway.AuditRecorded"], &[]);
        assert!(sent(&named, &record, "1").is_some());
        assert!(names_records(named.filter.as_ref().expect("one")));
    }

    #[test]
    fn a_stream_that_was_made_anew_does_not_bring_what_was_before_the_webhook() {
        let event = ready("acme", &[]);
        assert!(sent(&webhook("acme", &[], &[]), &event, "1").is_some());
        assert_eq!(sent(&webhook("acme", &[], &[]), &event, "2"), None);
        let later = Envelope { occurred_at: Timestamp(100), ..event };
        assert!(sent(&webhook("acme", &[], &[]), &later, "2").is_some());
    }

    #[test]
    fn labels_of_hosts_that_are_wished_for_are_no_labels() {
        let data = json!({"instance": {"spec": {"labels": {"a": "1"}, "require_host_labels": {"b": "2"}}}});
        assert_eq!(labels(&data), BTreeMap::from([("a".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn urls_are_whole_and_without_secrets() {
        assert!(url("url", "https://hooks.example.com/a?b=c").is_ok());
        for wrong in ["", "hooks.example.com", "https://", "https://ann:secret@example.com/", "https://a/#b"]
        {
            assert_eq!(url("url", wrong).expect_err(wrong).field, "url");
        }
        assert!(
            !url("url", "https://ann:secret@example.com/").expect_err("user").message.contains("secret@")
        );
        assert!(url("url", &format!("https://a/{}", "b".repeat(URL_LIMIT))).is_err());
    }

    #[test]
    fn a_gap_is_an_event_with_the_place_to_go_on_from() {
        let at = Cursor { incarnation: "9".into(), after: 4 };
        let (one, other) = (gap("made anew", &at, 5), gap("made anew", &at, 6));
        assert_eq!((&one.event_id, one.object_id.as_str()), (&other.event_id, ""));
        let event: Value = serde_json::from_slice(&one.body).expect("json");
        assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("io.berth.stream.gap")));
        assert_eq!(
            (&event["source"], &event["data"]["resync_after_sequence"]),
            (&json!("/berth/gateway"), &json!(4))
        );
        let event: Value = serde_json::from_slice(&probe("p", &webhook("acme", &[], &[]), 5)).expect("json");
        assert_eq!((&event["id"], &event["type"]), (&json!("p"), &json!("io.berth.webhook.probe")));
    }

    #[test]
    fn what_stands_in_no_stream_is_as_the_catalogue_says() {
        let at = Cursor { incarnation: "1".into(), after: 4 };
        for (sent, (_, r#type, _, data)) in
            [gap("made anew", &at, 5).body, probe("p", &webhook("acme", &[], &[]), 5)].iter().zip(OWN)
        {
            let event: Value = serde_json::from_slice(sent).expect("json");
            let fields: BTreeSet<&str> =
                event["data"].as_object().expect("data").keys().map(String::as_str).collect();
            assert_eq!(event["type"], r#type);
            assert_eq!(fields, data.iter().copied().collect());
        }
    }
}
