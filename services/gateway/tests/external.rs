//! Events of other systems by every way: three modes of HTTP, gRPC, Alertmanager's webhook, subjects at the broker.

mod harness;

use bus::watch::{Item, Query, watch};
use contracts::gateway::v1::external_event_service_client::ExternalEventServiceClient;
use contracts::gateway::v1::{ExternalEvent, ExternalEventReceived, ExternalVia, PublishEventsRequest};
use harness::{Gateway, PATIENCE, answer};
use kernel::Message;
use serde_json::{Value, json};
use std::time::Duration;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "com.example.paid", "subject": "order-1"})
}

async fn post(gateway: &Gateway, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    answer(gateway.rest("POST", "/v1/events").header("content-type", content_type).body(body)).await
}

/// Every event of other systems in the stream, with the tenant whose it is.
async fn stream(gateway: &Gateway) -> Vec<(String, ExternalEventReceived)> {
    let subjects = vec!["evt.gateway.*.ExternalEventReceived.>".to_owned()];
    let mut items = watch(gateway.chassis.bus.clone(), Query { subjects, ..Query::default() });
    let mut found = Vec::new();
    while let Some(item) = items.recv().await {
        let Item::Event { envelope, .. } = item.expect("readable") else { panic!("a gap") };
        let received = ExternalEventReceived::from_bytes(&envelope.payload).expect("an event");
        assert_eq!(envelope.subject.key, received.key, "it stands under its key");
        found.push((envelope.subject.tenant.clone(), received));
    }
    found
}

/// Waits until so many are in the stream, and a little longer: one more would be one too many.
async fn settled(gateway: &Gateway, count: usize) -> Vec<ExternalEventReceived> {
    testkit::eventually(PATIENCE, "the events", async || {
        (stream(gateway).await.len() >= count).then_some(())
    })
    .await;
    testkit::eventually(PATIENCE, "an empty outbox", async || {
        let (_, diagnosis) = gateway.call("GET", "/v1/status", Value::Null).await;
        diagnosis.is_object().then_some(())
    })
    .await;
    let all = stream(gateway).await;
    assert_eq!(all.len(), count, "{all:?}");
    all.into_iter().map(|(_, received)| received).collect()
}

fn original(received: &ExternalEventReceived) -> Value {
    serde_json::from_str(&gateway::original_cloud_event(received.event.as_ref().expect("an event")))
        .expect("json")
}

#[tokio::test]
async fn three_modes_and_grpc_end_in_the_same_stream_once() {
    let gateway = Gateway::start().await;
    let mut one = event("1");
    one["data"] = json!({"amount": 12.5});
    let (status, taken) =
        post(&gateway, "application/cloudevents+json; charset=utf-8", one.to_string()).await;
    assert_eq!(status, 202, "{taken}");
    assert_eq!((&taken["events"][0]["id"], &taken["events"][0]["duplicate"]), (&json!("1"), &json!(false)));
    // again, by another mode: known by source and id
    let binary = |id: &'static str| {
        gateway
            .rest("POST", "/v1/events")
            .header("ce-specversion", "1.0")
            .header("ce-id", id)
            .header("ce-source", "/shop")
            .header("ce-type", "com.example.paid")
            .header("ce-subject", "order%20%E2%82%AC")
            .header("content-type", "application/json")
            .body("{\"amount\": 12345678901234567890123}")
    };
    let (status, again) = answer(binary("1")).await;
    assert_eq!((status, &again["events"][0]["duplicate"]), (202, &json!(true)), "{again}");
    let (status, taken) = answer(binary("2")).await;
    assert_eq!((status, &taken["events"][0]["duplicate"]), (202, &json!(false)), "{taken}");
    // a batch with an old one, a new one, and the new one again
    let batch = json!([event("1"), event("3"), event("3")]);
    let (status, taken) = post(&gateway, BATCH, batch.to_string()).await;
    let duplicates: Vec<bool> =
        taken["events"].as_array().expect("a list").iter().filter_map(|e| e["duplicate"].as_bool()).collect();
    assert_eq!((status, duplicates), (202, vec![true, false, true]), "{taken}");
    let (channel, bearer) = gateway.signed_in().await;
    let mut grpc = ExternalEventServiceClient::with_interceptor(channel, bearer);
    let sent = ExternalEvent {
        specversion: "1.0".into(),
        id: "4".into(),
        source: "/shop".into(),
        r#type: "com.example.paid".into(),
        ..ExternalEvent::default()
    };
    let request = PublishEventsRequest { events: vec![sent.clone()] };
    assert!(!grpc.publish_events(request.clone()).await.expect("taken").into_inner().events[0].duplicate);
    assert!(grpc.publish_events(request).await.expect("known").into_inner().events[0].duplicate);

    let all = settled(&gateway, 4).await;
    assert_eq!(original(&all[0]), one);
    let text = gateway::original_cloud_event(all[1].event.as_ref().expect("an event"));
    assert!(text.contains("12345678901234567890123") && text.contains("order €"), "{text}");
    assert!(all.iter().all(|r| r.via() == ExternalVia::Api && r.actor == "admin" && r.received_at_us > 0));
    // seen by whoever watches, under the object that the answer named
    let key = taken["events"][1]["key"].as_str().expect("a key");
    let shown =
        gateway.rest("GET", &format!("/v1/events?object_id={key}&types=gateway.ExternalEventReceived"));
    let shown = shown.send().await.expect("an answer").text().await.expect("a body");
    assert_eq!(shown.matches("event: gateway.ExternalEventReceived").count(), 2, "{shown}");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_named_and_a_batch_is_taken_whole_or_not_at_all() {
    let gateway = Gateway::start().await;
    let wrong = |change: fn(&mut Value)| {
        let mut body = event("1");
        change(&mut body);
        body.to_string()
    };
    let deep = "[".repeat(33) + &"]".repeat(33);
    let long = "x".repeat(64 << 10);
    let many = Value::from(vec![event("1"); 101]).to_string();
    let half =
        json!([event("1"), {"specversion": "1.0", "id": "2", "source": "a b", "type": "t"}]).to_string();
    for (content_type, body, status, field) in [
        (STRUCTURED, "{garbage".to_owned(), 400, Value::Null),
        (STRUCTURED, "\u{0}".to_owned(), 400, Value::Null),
        (STRUCTURED, "[]".to_owned(), 400, Value::Null),
        (STRUCTURED, String::new(), 400, Value::Null),
        (STRUCTURED, wrong(|e| e["source"] = json!("a b")), 400, json!("source")),
        (STRUCTURED, wrong(|e| e["specversion"] = json!("0.3")), 400, json!("specversion")),
        (STRUCTURED, wrong(|e| e["time"] = json!("now")), 400, json!("time")),
        (STRUCTURED, wrong(|e| e["Upper"] = json!("x")), 400, json!("Upper")),
        (STRUCTURED, wrong(|e| e["id"] = json!(7)), 400, json!("id")),
        (STRUCTURED, format!("{{\"data\":{deep},{}", &event("1").to_string()[1..]), 400, json!("data")),
        (STRUCTURED, format!("{{\"data\":\"{long}\",{}", &event("1").to_string()[1..]), 400, json!("data")),
        (STRUCTURED, "x".repeat((1 << 20) + 1), 413, Value::Null),
        (BATCH, many, 400, Value::Null),
        (BATCH, half, 400, json!("[1].source")),
        (BATCH, event("1").to_string(), 400, Value::Null),
        ("application/cloudevents+xml", "<event/>".to_owned(), 415, Value::Null),
        ("application/json", event("1").to_string(), 400, json!("ce-specversion")),
    ] {
        let (found, problem) = post(&gateway, content_type, body.clone()).await;
        let shown: String = body.chars().take(60).collect();
        assert_eq!((found, &problem["field"]), (status, &field), "{content_type} {shown}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| text.len() > 5), "{problem}");
    }
    let (status, problem) =
        answer(gateway.rest("POST", "/v1/events?id=1").header("content-type", STRUCTURED).body("{}")).await;
    assert_eq!((status, &problem["field"]), (400, &json!("id")));
    assert!(stream(&gateway).await.is_empty(), "nothing of all this was taken");
    // an empty batch is one, and is taken
    assert_eq!(post(&gateway, BATCH, "[]".to_owned()).await, (202, json!({"events": []})));
    // the events of the refused batch are new
    let (status, taken) = post(&gateway, STRUCTURED, event("1").to_string()).await;
    assert_eq!((status, &taken["events"][0]["duplicate"]), (202, &json!(false)));
    gateway.stop().await;
}

/// What the specification allows is taken, however unusual, and known again.
#[tokio::test]
async fn what_cloudevents_allow_is_taken() {
    let gateway = Gateway::start().await;
    let (id, source) = ("i".repeat(5_000), format!("/{}", "s".repeat(5_000)));
    let long = json!({
        "specversion": "1.0", "id": id, "source": source, "type": "t".repeat(600),
        "averylongnameofanextensionattribute": "x", "data": null, "data_base64": "AAH/", "subject": null,
    });
    for duplicate in [false, true] {
        let (status, taken) = post(&gateway, STRUCTURED, long.to_string()).await;
        assert_eq!((status, &taken["events"][0]["duplicate"]), (202, &json!(duplicate)), "{taken}");
        assert_eq!(taken["events"][0]["id"], json!(id));
    }
    let binary = gateway.rest("POST", "/v1/events").header("content-type", "text/plain");
    let binary = binary.header("ce-specversion", "1.0").header("ce-id", "100%").header("ce-source", "/s");
    let (status, taken) = answer(binary.header("ce-type", "t").body("a\0b")).await;
    assert_eq!((status, &taken["events"][0]["id"]), (202, &json!("100%")), "{taken}");
    // the handshake of senders that ask first whether they may
    let options = async |token: &str| {
        let request = gateway.request(token, "", "OPTIONS", "/v1/events");
        let sent = request.header("webhook-request-origin", "events.example.com").send().await;
        let sent = sent.expect("an answer");
        (sent.status().as_u16(), sent.headers().get("webhook-allowed-origin").cloned())
    };
    let (status, origin) = options(&gateway.token).await;
    assert_eq!((status, origin.expect("allowed").as_bytes()), (200, &b"events.example.com"[..]));
    assert_eq!(options("nobody").await, (401, None));
    let all = settled(&gateway, 2).await;
    let shown = original(&all[0]);
    assert_eq!((&shown["data_base64"], shown.get("data")), (&json!("AAH/"), None));
    gateway.stop().await;
}

#[tokio::test]
async fn events_belong_to_their_tenant_and_auditors_send_none() {
    let gateway = Gateway::start().await;
    let mut tokens = Vec::new();
    for (tenant, role) in [("alpha", "developer"), ("bravo", "developer"), ("alpha", "auditor")] {
        let _ = gateway.call("POST", "/v1/tenants", json!({"name": tenant})).await;
        let name = format!("{role}-1");
        let user = json!({"name": name, "roles": [role]});
        assert_eq!(gateway.ask(&gateway.token, tenant, "POST", "/v1/users", user).await.0, 200);
        let body = json!({"name": "t", "user": name});
        let (_, token) = gateway.ask(&gateway.token, tenant, "POST", "/v1/tokens", body).await;
        tokens.push(token["secret"].as_str().expect("a secret").to_owned());
    }
    let send = async |token: &str| {
        let request = gateway.request(token, "", "POST", "/v1/events").header("content-type", STRUCTURED);
        answer(request.body(event("same").to_string())).await
    };
    for token in &tokens[..2] {
        let (status, taken) = send(token).await;
        assert_eq!(
            (status, &taken["events"][0]["duplicate"]),
            (202, &json!(false)),
            "ids are each tenant's own"
        );
    }
    assert_eq!(send(&tokens[2]).await.0, 403);
    assert_eq!(send("nobody").await.0, 401);
    testkit::eventually(PATIENCE, "both", async || (stream(&gateway).await.len() == 2).then_some(())).await;
    let shown = gateway.request(&tokens[0], "", "GET", "/v1/events?types=gateway.ExternalEventReceived");
    let shown = shown.send().await.expect("an answer").text().await.expect("a body");
    assert_eq!(shown.matches("event: gateway.ExternalEventReceived").count(), 1, "{shown}");
    // a disabled tenant takes nothing
    assert_eq!(gateway.call("POST", "/v1/tenants/alpha/disable", json!({})).await.0, 200);
    let (status, problem) = send(&tokens[0]).await;
    assert_eq!((status, &problem["code"]), (409, &json!("TENANT_DISABLED")));
    gateway.stop().await;
}

#[tokio::test]
async fn a_notification_of_alertmanager_is_one_event_an_alert_and_repeats_are_known() {
    let gateway = Gateway::start().await;
    let alert = |status: &str, ends: &str| {
        json!({
            "status": status, "labels": {"alertname": "OutboxStuck", "severity": "page"},
            "annotations": {"summary": "it waits"}, "startsAt": "2026-01-31T12:00:00Z", "endsAt": ends,
            "generatorURL": "http://prometheus:9090/graph", "fingerprint": "c0ffee", "addedLater": 1,
        })
    };
    let notification = |alerts: Value| {
        json!({
            "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "berth",
            "groupLabels": {"alertname": "OutboxStuck"}, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "http://alerts:9093", "alerts": alerts, "addedLater": {},
        })
    };
    let send = async |body: Value| gateway.call("POST", "/v1/events/alertmanager", body).await;
    let firing = alert("firing", "0001-01-01T00:00:00Z");
    let (status, taken) = send(notification(json!([firing]))).await;
    assert_eq!((status, &taken["events"][0]["duplicate"]), (202, &json!(false)), "{taken}");
    let resolved = alert("resolved", "2026-01-31T12:05:00Z");
    let (_, taken) = send(notification(json!([firing, resolved]))).await;
    assert_eq!(
        (&taken["events"][0]["duplicate"], &taken["events"][1]["duplicate"]),
        (&json!(true), &json!(false))
    );
    let all = settled(&gateway, 2).await;
    let shown = original(&all[1]);
    assert_eq!(shown["type"], "io.prometheus.alert.resolved");
    assert_eq!(
        (&shown["source"], &shown["subject"]),
        (&json!("http://alerts:9093/berth"), &json!("OutboxStuck"))
    );
    assert_eq!(shown["data"]["annotations"]["summary"], "it waits");
    assert_eq!(all[0].key, all[1].key, "firing and resolved keep their order");
    assert!(all.iter().all(|r| r.via() == ExternalVia::Alertmanager));
    for (change, field) in [
        (json!({"version": "3"}), "version"),
        (json!({"alerts": [{"status": "odd"}]}), "alerts[0].status"),
        (json!({"alerts": "none"}), "alerts"),
    ] {
        let mut body = notification(json!([firing]));
        body.as_object_mut().expect("fields").extend(change.as_object().expect("fields").clone());
        let (status, problem) = send(body).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
    }
    gateway.stop().await;
}

async fn send_by_nats(gateway: &Gateway, subject: &str, payload: String) {
    let context = gateway.chassis.bus.jetstream();
    let sent = context.publish(subject.to_owned(), payload.into()).await.expect("sent");
    sent.await.expect("kept");
}

#[tokio::test]
async fn subjects_at_the_broker_lead_into_the_same_stream_and_garbage_is_kept_with_its_reason() {
    let gateway = Gateway::start().await;
    send_by_nats(&gateway, "ext.default.orders.paid", event("n1").to_string()).await;
    // the same once more, from anywhere
    send_by_nats(&gateway, "ext.default.orders", event("n1").to_string()).await;
    let (status, again) = testkit::eventually(PATIENCE, "a duplicate", async || {
        let (status, taken) = post(&gateway, STRUCTURED, event("n1").to_string()).await;
        (stream(&gateway).await.len() == 1).then_some((status, taken))
    })
    .await;
    assert_eq!((status, &again["events"][0]["duplicate"]), (202, &json!(true)));
    let garbage = [
        ("ext.default.x", "no json".to_owned(), "not JSON"),
        ("ext.default.x", event("n2").to_string().replace("/shop", "a b"), "source"),
        ("ext.nobody.x", event("n3").to_string(), "no tenant is called"),
        ("ext.platform.x", event("n4").to_string(), "no tenant is called"),
    ];
    for (subject, payload, _) in &garbage {
        send_by_nats(&gateway, subject, payload.clone()).await;
    }
    let letters = gateway
        .until("GET", "/v1/dead-letters", |(_, page)| {
            page["dead_letters"].as_array().is_some_and(|letters| letters.len() == 4)
        })
        .await;
    for (letter, (subject, _, reason)) in
        letters["dead_letters"].as_array().expect("letters").iter().zip(&garbage)
    {
        assert_eq!((&letter["subject"], &letter["consumer"]), (&json!(subject), &json!("gateway")));
        assert!(letter["reason"].as_str().is_some_and(|text| text.contains(reason)), "{letter}");
    }
    let all = settled(&gateway, 1).await;
    assert_eq!((all[0].via(), all[0].channel.as_str()), (ExternalVia::Nats, "ext.default.orders.paid"));
    assert_eq!(all[0].actor, "nats");
    let page = gateway
        .until("GET", "/v1/audit?operation=PublishEvents&user=nats", |(_, page)| {
            page["records"].as_array().is_some_and(|records| records.len() == 6)
        })
        .await;
    let refused = page["records"]
        .as_array()
        .expect("records")
        .iter()
        .filter(|r| r["outcome"] == "AUDIT_OUTCOME_REFUSED");
    assert_eq!(refused.count(), 4, "{page}");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_sent_while_no_gateway_runs_is_taken_afterwards_in_order() {
    let mut gateway = Gateway::start().await;
    gateway.chassis.stop().await;
    let connection = gateway.nats.connect().await;
    for n in 0..50 {
        let context = connection.jetstream();
        let sent =
            context.publish("ext.default.orders", event(&format!("away-{n}")).to_string().into()).await;
        sent.expect("sent").await.expect("kept while nobody listens");
    }
    gateway.again().await;
    let all = settled(&gateway, 50).await;
    let ids: Vec<String> = all.iter().map(|r| r.event.as_ref().expect("an event").id.clone()).collect();
    let sent: Vec<String> = (0..50).map(|n| format!("away-{n}")).collect();
    assert_eq!(ids, sent, "events about one object keep their order");
    gateway.stop().await;
}

#[tokio::test]
async fn the_table_of_known_events_is_made_again_and_old_rows_are_forgotten() {
    let mut gateway = Gateway::start().await;
    assert_eq!(post(&gateway, STRUCTURED, event("kept").to_string()).await.0, 202);
    settled(&gateway, 1).await;
    gateway.chassis.stop().await;
    let folder = gateway.folder.path().join("gateway");
    for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    gateway.again().await;
    let (status, taken) = post(&gateway, STRUCTURED, event("kept").to_string()).await;
    assert_eq!((status, &taken["events"][0]["duplicate"]), (202, &json!(true)), "{taken}");
    assert_eq!(stream(&gateway).await.len(), 1);
    gateway.stop().await;
}

mod door {
    //! The answers to the broker, asked as a server asks.

    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use nkeys::KeyPair;

    async fn ask(gateway: &Gateway, server: &KeyPair, options: Value) -> Value {
        let claims = json!({
            "iss": server.public_key(),
            "nats": {"user_nkey": "UABC", "client_info": {"host": "203.0.113.7"}, "connect_opts": options},
        });
        let text =
            format!("{}.{}", BASE64.encode("{\"alg\":\"ed25519-nkey\"}"), BASE64.encode(claims.to_string()));
        let question = format!("{text}.{}", BASE64.encode(server.sign(text.as_bytes()).expect("signed")));
        let client = gateway.chassis.bus.client();
        let asked = client.request("$SYS.REQ.USER.AUTH", question.into());
        let answer =
            tokio::time::timeout(Duration::from_secs(5), asked).await.expect("in time").expect("an answer");
        claims_of(std::str::from_utf8(&answer.payload).expect("text"))
    }

    fn claims_of(token: &str) -> Value {
        let part = token.split('.').nth(1).expect("three parts");
        serde_json::from_slice(&BASE64.decode(part).expect("base64")).expect("json")
    }

    #[tokio::test]
    async fn a_token_opens_the_subjects_of_its_tenant_and_who_is_denied_is_recorded() {
        let gateway = Gateway::start().await;
        let server = KeyPair::new_server();
        let body = json!({"name": "reader", "permissions": ["event.read"]});
        let (_, narrow) = gateway.call("POST", "/v1/tokens", body).await;
        let narrow = narrow["secret"].as_str().expect("a secret").to_owned();
        let admitted = ask(&gateway, &server, json!({"auth_token": gateway.token})).await;
        let user = claims_of(admitted["nats"]["jwt"].as_str().expect("let in"));
        assert_eq!(user["nats"]["pub"]["allow"], json!(["ext.default.>"]));
        assert!(user["exp"].as_i64().expect("an end") > user["iat"].as_i64().expect("a beginning"));
        let as_password = ask(&gateway, &server, json!({"user": "default", "pass": gateway.token})).await;
        assert!(as_password["nats"]["jwt"].is_string());
        for options in [
            json!({}),
            json!({"auth_token": "f".repeat(64)}),
            json!({"auth_token": "line\nbreak"}),
            json!({"user": "nowhere", "pass": gateway.token}),
            json!({"user": "platform", "pass": gateway.token}),
            json!({"auth_token": narrow}),
        ] {
            let refused = ask(&gateway, &server, options.clone()).await;
            assert!(refused["nats"]["jwt"].is_null(), "{options}: {refused}");
            assert!(refused["nats"]["error"].as_str().is_some_and(|text| !text.is_empty()), "{options}");
        }
        let page = gateway
            .until("GET", "/v1/audit?operation=PublishEvents", |(_, page)| {
                let records = page["records"].as_array().cloned().unwrap_or_default();
                records.iter().filter_map(|r| r["count"].as_u64()).sum::<u64>() >= 3
            })
            .await;
        let records = page["records"].as_array().expect("records");
        assert!(records.iter().all(|r| r["door"] == "nats" && r["address"] == "203.0.113.7"), "{page}");
        gateway.stop().await;
    }
}
