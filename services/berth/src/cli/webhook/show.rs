//! Webhooks and deliveries for people.

use crate::output::{Table, age, fields, local_time, milliseconds, word};
use contracts::gateway::v1::{Delivery, ProbeWebhookResponse, Webhook, WebhookFilter};

pub(super) fn webhooks(webhooks: &[Webhook]) -> String {
    let mut table = Table::new(["name", "state", "events", "url", "age"], "no webhooks");
    for webhook in webhooks {
        table.row([
            webhook.name.clone(),
            word(webhook.state().as_str_name(), "WEBHOOK_STATE_"),
            events(webhook.filter.as_ref()),
            webhook.url.clone(),
            age(webhook.created_at_us),
        ]);
    }
    table.render()
}

fn events(filter: Option<&WebhookFilter>) -> String {
    let Some(filter) = filter else { return "all".to_owned() };
    let mut parts = filter.types.clone();
    if !filter.object_id.is_empty() {
        parts.push(format!("object {}", filter.object_id));
    }
    parts.extend(filter.labels.iter().cloned());
    if parts.is_empty() { "all".to_owned() } else { parts.join(", ") }
}

pub(super) fn webhook(webhook: &Webhook) -> String {
    let progress = webhook.progress.clone().unwrap_or_default();
    let when = |at_us: i64| if at_us == 0 { String::new() } else { local_time(at_us) };
    let waiting = match progress.waiting {
        0 => "nothing".to_owned(),
        count => format!("{count}, the oldest since {}", age(progress.oldest_us)),
    };
    fields([
        ("id", webhook.id.clone()),
        ("name", webhook.name.clone()),
        ("tenant", webhook.tenant.clone()),
        ("url", webhook.url.clone()),
        ("events", events(webhook.filter.as_ref())),
        ("state", word(webhook.state().as_str_name(), "WEBHOOK_STATE_")),
        ("reason", webhook.reason.clone()),
        ("old secret", when(webhook.previous_secret_until_us)),
        ("waiting", waiting),
        ("failing since", when(progress.failing_since_us)),
        ("delivered", when(progress.delivered_at_us)),
        ("cursor", format!("{}:{}", progress.incarnation, progress.sequence)),
        ("since", local_time(webhook.created_at_us)),
        ("changed", local_time(webhook.updated_at_us)),
    ])
}

pub(super) fn deliveries(deliveries: &[Delivery]) -> String {
    let titles = ["id", "type", "object", "state", "attempts", "status", "took", "event", "next", "error"];
    let mut table = Table::new(titles, "no deliveries");
    for delivery in deliveries {
        let took = i64::try_from(delivery.duration_us).unwrap_or(i64::MAX);
        table.row([
            delivery.id.clone(),
            delivery.r#type.clone(),
            delivery.object_id.clone(),
            word(delivery.state().as_str_name(), "DELIVERY_STATE_"),
            delivery.attempts.to_string(),
            if delivery.status == 0 { String::new() } else { delivery.status.to_string() },
            if took == 0 { String::new() } else { milliseconds(0, took) },
            age(delivery.occurred_at_us),
            if delivery.next_at_us == 0 { String::new() } else { local_time(delivery.next_at_us) },
            delivery.error.clone(),
        ]);
    }
    table.render()
}

pub(super) fn probe(answer: &ProbeWebhookResponse) -> String {
    let took = milliseconds(0, i64::try_from(answer.duration_us).unwrap_or(i64::MAX));
    match answer.delivered {
        true => format!("the receiver took it: {} in {took}\n", answer.status),
        false => format!("{} ({took})\n", answer.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_and_its_deliveries_are_shown() {
        let filter = WebhookFilter {
            types: vec!["scheduler".into()],
            object_id: "018f".into(),
            labels: vec!["team=web".into()],
        };
        let hook = Webhook {
            name: "deploys".into(),
            url: "https://example.com/".into(),
            filter: Some(filter),
            state: 3,
            reason: "nothing arrived".into(),
            ..Webhook::default()
        };
        for text in [webhooks(std::slice::from_ref(&hook)), webhook(&hook)] {
            for part in ["deploys", "failed", "scheduler, object 018f, team=web", "https://example.com/"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        assert!(webhook(&hook).contains("nothing arrived") && webhooks(&[]).contains("no webhooks"));
        assert_eq!(events(Some(&WebhookFilter::default())), "all");
        let delivery = Delivery {
            r#type: "scheduler.InstanceReady".into(),
            state: 1,
            attempts: 3,
            status: 500,
            error: "the receiver answered 500".into(),
            ..Delivery::default()
        };
        let text = deliveries(&[delivery]);
        for part in ["scheduler.InstanceReady", "waiting", "500", "the receiver answered 500"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_trial_says_what_came_of_it() {
        let answer =
            ProbeWebhookResponse { delivered: true, status: 204, duration_us: 5_000, ..Default::default() };
        assert_eq!(probe(&answer), "the receiver took it: 204 in 5 ms\n");
        let answer = ProbeWebhookResponse { error: "no connection: refused".into(), ..answer };
        assert!(probe(&ProbeWebhookResponse { delivered: false, ..answer }).contains("refused"));
    }
}
