//! Notifications of Alertmanager as CloudEvents: one for each alert.
//!
//! The format is that of <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>, version 4.

use contracts::gateway::v1::external_event::Data;
use contracts::gateway::v1::{Alert, ExternalEvent, PublishAlertsRequest};
use gateway_api::domain::cloud_event;
use gateway_api::domain::violation::{Violation, excerpt};
use gateway_api::translate::external_events::digest;
use kernel::limits::ALERTS_AT_ONCE;
use serde_json::json;

/// "4" is Alertmanager's; Grafana says "1" to the same fields, with others beside them
/// (<https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>).
const VERSIONS: [&str; 2] = ["4", "1"];

/// One event for each alert of a notification. The id is made of what the alert is and when it began or ended, so that a
/// notification that is repeated is known again.
pub fn events(request: &PublishAlertsRequest) -> Result<Vec<ExternalEvent>, Violation> {
    if !VERSIONS.contains(&request.version.as_str()) {
        let text = format!("{:?} is not a version that is taken: \"4\"", excerpt(&request.version, 20));
        return Err(Violation::new("version", text));
    }
    if request.alerts.is_empty() || request.alerts.len() > ALERTS_AT_ONCE {
        let text = format!(
            "{} alerts are sent; write 1 to {ALERTS_AT_ONCE}: set max_alerts of the receiver",
            request.alerts.len()
        );
        return Err(Violation::new("alerts", text));
    }
    let source = source(request)?;
    let event = |(index, alert): (usize, &Alert)| {
        event(request, &source, alert).map_err(|wrong| wrong.inside(&format!("alerts[{index}]")))
    };
    request.alerts.iter().enumerate().map(event).collect()
}

/// Alertmanager's own address and the receiver.
fn source(request: &PublishAlertsRequest) -> Result<String, Violation> {
    let base = request.external_url.trim_end_matches('/');
    if !cloud_event::is_uri(base) {
        let text = format!("{:?} is no URL: where Alertmanager is reached", excerpt(base, 80));
        return Err(Violation::new("external_url", text));
    }
    let source = format!("{base}/{}", percent_encoded(&request.receiver));
    cloud_event::attribute("source", &source)
        .map_err(|wrong| Violation::new("external_url", wrong.message))?;
    Ok(source)
}

fn percent_encoded(text: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if kept(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn event(request: &PublishAlertsRequest, source: &str, alert: &Alert) -> Result<ExternalEvent, Violation> {
    let (time, until) = match alert.status.as_str() {
        "firing" => (&alert.starts_at, String::new()),
        "resolved" => (&alert.ends_at, format!(".{}", alert.ends_at)),
        other => {
            let text = format!("{:?} is neither \"firing\" nor \"resolved\"", excerpt(other, 40));
            return Err(Violation::new("status", text));
        }
    };
    // older ones send none: the labels are what it is made of
    let fingerprint = match alert.fingerprint.as_str() {
        "" => digest(&json!(alert.labels).to_string())[..16].to_owned(),
        given => given.to_owned(),
    };
    for (field, value) in [("starts_at", &alert.starts_at), ("ends_at", time)] {
        if cloud_event::attribute("time", value).is_err() {
            let text = format!("{:?} is no time in RFC 3339", excerpt(value, 40));
            return Err(Violation::new(field, text));
        }
    }
    let data = json!({
        "status": alert.status,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": alert.starts_at,
        "endsAt": alert.ends_at,
        "generatorURL": alert.generator_url,
        "fingerprint": fingerprint,
        "receiver": request.receiver,
        "groupKey": request.group_key,
        "externalURL": request.external_url,
    });
    Ok(ExternalEvent {
        id: format!("{fingerprint}.{}.{}{until}", alert.status, alert.starts_at),
        source: source.to_owned(),
        specversion: cloud_event::VERSION.to_owned(),
        r#type: format!("io.prometheus.alert.{}", alert.status),
        subject: subject(alert.labels.get("alertname").map_or("", String::as_str)),
        time: time.clone(),
        datacontenttype: "application/json".to_owned(),
        data: Some(Data::Json(data.to_string())),
        ..ExternalEvent::default()
    })
}

/// Longest subject, in bytes.
const SUBJECT: usize = 1024;

/// The name of the alert, as far as an attribute holds it: it stands in the data as it is.
fn subject(name: &str) -> String {
    let mut subject: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while subject.len() > SUBJECT {
        subject.pop();
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_api::translate::external_events::{check_all, original};

    fn notification() -> PublishAlertsRequest {
        let alert = Alert {
            status: "firing".into(),
            labels: [("alertname".to_owned(), "OutboxStuck".to_owned())].into(),
            annotations: [("summary".to_owned(), "line\nline".to_owned())].into(),
            starts_at: "2026-01-31T12:00:00.5Z".into(),
            ends_at: "0001-01-01T00:00:00Z".into(),
            generator_url: "http://prometheus/graph".into(),
            fingerprint: "abc123".into(),
        };
        let resolved =
            Alert { status: "resolved".into(), ends_at: "2026-01-31T12:05:00Z".into(), ..alert.clone() };
        PublishAlertsRequest {
            version: "4".into(),
            receiver: "team a/b".into(),
            external_url: "http://alerts:9093/".into(),
            alerts: vec![alert, resolved],
            ..PublishAlertsRequest::default()
        }
    }

    #[test]
    fn each_alert_is_an_event_that_a_repeat_is_known_by() {
        let made = events(&notification()).expect("right");
        assert_eq!(check_all("events", &made, 10), Ok(()));
        let said: Vec<_> = made.iter().map(|e| (e.id.as_str(), e.r#type.as_str(), e.time.as_str())).collect();
        let wanted = [
            ("abc123.firing.2026-01-31T12:00:00.5Z", "io.prometheus.alert.firing", "2026-01-31T12:00:00.5Z"),
            (
                "abc123.resolved.2026-01-31T12:00:00.5Z.2026-01-31T12:05:00Z",
                "io.prometheus.alert.resolved",
                "2026-01-31T12:05:00Z",
            ),
        ];
        assert_eq!(said, wanted);
        assert_eq!(
            (made[0].source.as_str(), made[0].subject.as_str()),
            ("http://alerts:9093/team%20a%2Fb", "OutboxStuck")
        );
        let document: serde_json::Value = serde_json::from_str(&original(&made[0])).expect("json");
        assert_eq!(document["data"]["labels"]["alertname"], "OutboxStuck");
        assert_eq!(events(&notification()), Ok(made));
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut PublishAlertsRequest);
        let cases: [(Change, &str); 7] = [
            (|n| n.version = "3".into(), "version"),
            (|n| n.alerts.clear(), "alerts"),
            (|n| n.alerts = vec![n.alerts[0].clone(); ALERTS_AT_ONCE + 1], "alerts"),
            (|n| n.external_url = "alerts".into(), "external_url"),
            (|n| n.alerts[1].status = "odd".into(), "alerts[1].status"),
            (|n| n.alerts[0].starts_at = "now".into(), "alerts[0].starts_at"),
            (|n| n.alerts[1].ends_at.clear(), "alerts[1].ends_at"),
        ];
        for (change, field) in cases {
            let mut notification = notification();
            change(&mut notification);
            assert_eq!(events(&notification).expect_err(field).field, field);
        }
        // Grafana, and an Alertmanager that sends no fingerprints: equal labels are the same alert
        let mut other = notification();
        other.version = "1".into();
        other.alerts.iter_mut().for_each(|alert| alert.fingerprint.clear());
        let made = events(&other).expect("right");
        assert!(
            made[0].id != made[1].id && made[0].id.len() > "1234567890123456.firing.".len(),
            "{}",
            made[0].id
        );
        assert_eq!(made[0].id.get(..16), made[1].id.get(..16));
        let mut odd = notification();
        odd.alerts[0].labels.insert("alertname".into(), format!("a\n{}", "ü".repeat(600)));
        assert_eq!(check_all("events", &events(&odd).expect("right"), 10), Ok(()));
    }
}
