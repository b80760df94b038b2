//! Webhooks: what receivers get, in which order, how often, and what they do not get.

mod harness;

use bus::Cause;
use contracts::scheduler::v1 as scheduler;
use harness::receiver::{Receiver, Reply};
use harness::{Gateway, PATIENCE};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::eventually;

const A: &str = "018f0000-0000-7000-8000-0000000000a1";
const B: &str = "018f0000-0000-7000-8000-0000000000b1";

/// A gateway that may send to this machine, and tries again soon.
async fn gateway() -> Gateway {
    gateway_with(|_| {}).await
}

async fn gateway_with(change: impl FnOnce(&mut gateway::WebhookSettings)) -> Gateway {
    Gateway::start_with(|settings, _| {
        settings.webhooks.allow = vec!["127.0.0.0/8".parse().expect("a network")];
        settings.webhooks.allow_http = true;
        settings.webhooks.first_pause_ms = 50;
        settings.webhooks.longest_pause_ms = 200;
        settings.webhooks.timeout_ms = 2_000;
        change(&mut settings.webhooks);
    })
    .await
}

async fn make(gateway: &Gateway, name: &str, url: &str, filter: Value) -> Value {
    let body = json!({"name": name, "url": url, "filter": filter});
    let (status, answer) = gateway.call("POST", "/v1/webhooks", body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn of_instances() -> Value {
    json!({"types": ["scheduler"]})
}

/// Says an event about an instance of a tenant.
async fn say(gateway: &Gateway, tenant: &str, id: &str, revision: u64, labels: &[(&str, &str)]) {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let instance = scheduler::Instance {
        id: id.into(),
        tenant: tenant.into(),
        name: format!("web-{revision}"),
        revision,
        phase: scheduler::InstancePhase::Ready as i32,
        host_name: "node-of-the-platform".into(),
        spec: Some(scheduler::InstanceSpec { labels, ..scheduler::InstanceSpec::default() }),
        ..scheduler::Instance::default()
    };
    let mut work = gateway.others.begin(Cause::own("scheduler").for_tenant(tenant)).await.expect("begins");
    work.say(&scheduler::InstanceChanged { instance: Some(instance), operations: vec![] });
    work.commit().await.expect("commits");
}

async fn log(gateway: &Gateway, name: &str) -> Vec<Value> {
    let (status, answer) = gateway.call("GET", &format!("/v1/webhooks/{name}/deliveries"), Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer["deliveries"].as_array().expect("a list").clone()
}

/// Waits for a webhook to look right.
async fn shown(gateway: &Gateway, name: &str, right: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/webhooks/{name}");
    gateway.until("GET", &path, |(status, answer)| *status == 200 && right(&answer["webhook"])).await["webhook"].clone()
}

#[tokio::test]
async fn events_arrive_signed_and_during_a_rotation_with_both_secrets() {
    let (gateway, receiver) = (gateway().await, Receiver::start().await);
    let made = make(&gateway, "deploys", &receiver.url(), of_instances()).await;
    let first = made["secret"].as_str().expect("a secret").to_owned();
    assert!(first.starts_with("whsec_"), "{made}");
    say(&gateway, "default", A, 1, &[]).await;
    let got = receiver.until("the first event", |got| got.first().cloned()).await;
    assert!(got.is_signed_with(&first) && got.attempt == 1, "{got:?}");
    assert_eq!((got.kind(), got.subject()), ("io.berth.scheduler.v1.InstanceChanged", A));
    assert_eq!(got.media_type, "application/cloudevents+json");
    assert_eq!((&got.event["id"], &got.event["specversion"]), (&json!(got.id), &json!("1.0")));
    assert_eq!(got.event["berthtenant"], "default");
    assert!(!String::from_utf8_lossy(&got.body).contains("node-of-the-platform"), "no tenant sees hosts");

    let rotate = "/v1/webhooks/deploys/rotate-secret";
    let (_, turned) = gateway.keyed("POST", rotate, "k1", json!({"overlap_s": 60})).await;
    let second = turned["secret"].as_str().expect("a secret").to_owned();
    let (_, repeated) = gateway.keyed("POST", rotate, "k1", json!({"overlap_s": 60})).await;
    assert_eq!((&repeated["secret"], &repeated["webhook"]), (&json!(""), &turned["webhook"]), "shown once");
    say(&gateway, "default", A, 2, &[]).await;
    let got = receiver.until("the second event", |got| got.get(1).cloned()).await;
    assert!(got.is_signed_with(&first) && got.is_signed_with(&second) && first != second);
    let (_, turned) = gateway.call("POST", rotate, json!({"at_once": true})).await;
    let third = turned["secret"].as_str().expect("a secret");
    say(&gateway, "default", A, 3, &[]).await;
    let got = receiver.until("the third event", |got| got.get(2).cloned()).await;
    assert!(got.is_signed_with(third) && !got.is_signed_with(&second) && !got.is_signed_with(&first));

    let (status, probe) = gateway.call("POST", "/v1/webhooks/deploys/probe", json!({})).await;
    assert_eq!((status, &probe["delivered"], &probe["status"]), (200, &json!(true), &json!(204)), "{probe}");
    let got = receiver.until("the trial", |got| got.get(3).cloned()).await;
    assert!(
        got.kind() == "io.berth.webhook.probe" && got.is_signed_with(third) && probe["event_id"] == got.id
    );
    let log = eventually(PATIENCE, "the log", async || {
        let log = log(&gateway, "deploys").await;
        log.iter().all(|d| d["state"] == "DELIVERY_STATE_DELIVERED").then_some(log)
    })
    .await;
    let shown: Vec<&str> = log.iter().filter_map(|d| d["type"].as_str()).collect();
    assert_eq!(shown, ["scheduler.InstanceChanged"; 3], "the trial is none of them");
    assert_eq!(
        (&log[0]["status"], &log[0]["attempts"], &log[0]["object_id"]),
        (&json!(204), &json!(1), &json!(A))
    );
    let (_, text) = gateway.call("GET", "/v1/events?last=500", Value::Null).await;
    assert!(text.to_string().contains("WebhookCreated"));
    for secret in [first.as_str(), &second, third] {
        assert!(!text.to_string().contains(secret), "a secret in an event");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_receiver_gets_what_its_tenant_and_its_filter_let_through() {
    let gateway = gateway().await;
    let (own, other, web, whole) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await, Receiver::start().await);
    assert_eq!(gateway.call("POST", "/v1/tenants", json!({"name": "acme"})).await.0, 200);
    make(&gateway, "own", &own.url(), json!({})).await;
    make(&gateway, "web", &web.url(), json!({"types": ["scheduler"], "labels": ["team=web"]})).await;
    for (tenant, receiver) in [("acme", &other), ("platform", &whole)] {
        let body = json!({"name": "own", "url": receiver.url(), "filter": of_instances()});
        let (status, answer) = gateway.ask(&gateway.token, tenant, "POST", "/v1/webhooks", body).await;
        assert_eq!(status, 200, "{answer}");
    }
    say(&gateway, "default", A, 1, &[("team", "db")]).await;
    say(&gateway, "default", A, 2, &[("team", "web")]).await;
    say(&gateway, "acme", B, 3, &[("team", "web")]).await;
    other.until("acme's event", |got| (got.len() == 1 && got[0].subject() == B).then_some(())).await;
    whole.until("events of all", |got| (got.len() == 3).then_some(())).await;
    let text = String::from_utf8_lossy(&whole.got()[0].body).into_owned();
    assert!(text.contains("node-of-the-platform"), "the platform sees hosts: {text}");
    web.until("what carries the label", |got| (got.len() == 1 && got[0].revision() == 2).then_some(())).await;
    own.until("its events", |got| (got.iter().filter(|g| g.subject() == A).count() == 2).then_some(())).await;
    let kinds: BTreeSet<String> = own.got().iter().map(|got| got.kind().to_owned()).collect();
    assert!(kinds.contains("io.berth.gateway.v1.WebhookCreated"), "{kinds:?}");
    assert!(!kinds.contains("io.berth.gateway.v1.AuditRecorded"), "{kinds:?}");
    assert!(own.got().iter().all(|got| got.event["berthtenant"] == "default"));
    // another filter holds for what comes next
    let (status, answer) =
        gateway.call("POST", "/v1/webhooks/web", json!({"filter": {"object_id": B}})).await;
    assert_eq!((status, &answer["webhook"]["revision"]), (200, &json!(2)), "{answer}");
    say(&gateway, "default", A, 4, &[("team", "web")]).await;
    say(&gateway, "default", B, 5, &[]).await;
    web.until("the other object", |got| (got.last()?.revision() == 5).then_some(())).await;
    assert_eq!(web.got().len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn what_fails_is_sent_again_and_holds_up_its_object_alone() {
    let gateway = gateway_with(|settings| settings.longest_pause_ms = 2_000).await;
    let receiver = Receiver::with(|got| match (got.subject(), got.attempt) {
        (A, 1) => Reply { headers: vec![("retry-after", "1".into())], ..Reply::status(503) },
        (A, 2) => Reply::status(500),
        _ => Reply::status(200),
    })
    .await;
    make(&gateway, "deploys", &receiver.url(), of_instances()).await;
    for revision in 1..=3 {
        say(&gateway, "default", A, revision, &[]).await;
        say(&gateway, "default", B, revision, &[]).await;
    }
    let done = |got: &[harness::receiver::Got]| {
        (got.iter().filter(|g| g.subject() == A && g.attempt == 3).count() == 3).then_some(())
    };
    receiver.until("all of A", done).await;
    let about_a = receiver.about(A);
    let seen: Vec<(u64, u32)> = about_a.iter().map(|got| (got.revision(), got.attempt)).collect();
    assert_eq!(
        seen,
        [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3)],
        "in order, repeats marked"
    );
    for three in about_a.chunks(3) {
        assert!(three.iter().all(|got| got.id == three[0].id && got.body == three[0].body), "the same event");
    }
    let asked = about_a[1].at - about_a[0].at;
    assert!(asked >= Duration::from_millis(950), "Retry-After was not waited for: {asked:?}");
    let about_b = receiver.about(B);
    let seen: Vec<(u64, u32)> = about_b.iter().map(|got| (got.revision(), got.attempt)).collect();
    assert_eq!(seen, [(1, 1), (2, 1), (3, 1)]);
    assert!(about_b[2].at < about_a[1].at, "B waited for A");
    shown(&gateway, "deploys", |webhook| {
        webhook["progress"]["waiting"] == 0 && webhook["progress"]["failing_since_us"] == 0
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn one_slow_receiver_holds_up_no_other_and_gets_one_request_an_object() {
    let gateway = gateway_with(|settings| settings.timeout_ms = 10_000).await;
    let slow = Receiver::with(|_| Reply { delay: Duration::from_millis(1_500), ..Reply::status(200) }).await;
    let quick = Receiver::start().await;
    make(&gateway, "slow", &slow.url(), of_instances()).await;
    make(&gateway, "quick", &quick.url(), of_instances()).await;
    for revision in 1..=50 {
        say(&gateway, "default", if revision % 2 == 0 { A } else { B }, revision, &[]).await;
    }
    quick.until("all of the quick one", |got| (got.len() == 50).then_some(())).await;
    assert!(slow.got().len() < 10, "{} requests to the slow one", slow.got().len());
    slow.until("four answers", |got| {
        (got.iter().filter(|g| g.answered.is_some()).count() >= 4).then_some(())
    })
    .await;
    for object in [A, B] {
        let about = slow.about(object);
        assert!(
            about.windows(2).all(|two| two[0].answered.is_some_and(|end| end <= two[1].at)),
            "two at once"
        );
    }
    let revisions: Vec<u64> = quick.about(A).iter().map(|got| got.revision()).collect();
    assert!(revisions.is_sorted(), "{revisions:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn hostile_answers_are_failures_and_nothing_more() {
    let gateway = gateway_with(|settings| settings.timeout_ms = 700).await;
    let inside = Receiver::start().await;
    let target = inside.url();
    let receiver = Receiver::with(move |got| match got.attempt {
        1 => Reply { headers: vec![("location", target.clone())], ..Reply::status(307) },
        2 => Reply {
            headers: vec![("location", "http://169.254.169.254/latest/meta-data/".into())],
            ..Reply::status(302)
        },
        3 => Reply { delay: Duration::from_secs(3), ..Reply::status(200) },
        4 => Reply { bytes: 64 << 20, ..Reply::status(500) },
        _ => Reply { bytes: 8 << 20, ..Reply::status(200) },
    })
    .await;
    make(&gateway, "deploys", &receiver.url(), of_instances()).await;
    say(&gateway, "default", A, 1, &[]).await;
    let mut errors = BTreeSet::new();
    eventually(PATIENCE, "the fifth attempt to arrive", async || {
        let last = log(&gateway, "deploys").await.into_iter().next()?;
        errors.insert(last["error"].as_str().unwrap_or_default().to_owned());
        (last["state"] == "DELIVERY_STATE_DELIVERED" && last["attempts"] == 5).then_some(())
    })
    .await;
    assert!(inside.got().is_empty(), "a redirection was followed");
    for part in ["redirections are not followed", "no answer within 700 ms"] {
        assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_to_the_networks_of_the_platform() {
    // as it is when an operator sets nothing
    let gateway = Gateway::start().await;
    for url in [
        "http://hooks.example.com/",
        "https://127.0.0.1/",
        "https://localhost.:0x50/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fd00:ec2::254]/",
        "https://100.100.100.200/",
        "https://[fe80::1]/",
        "https://ann:secret@hooks.example.com/",
        "ftp://hooks.example.com/",
        "hooks.example.com",
    ] {
        let (status, problem) = gateway.call("POST", "/v1/webhooks", json!({"name": "x", "url": url})).await;
        assert_eq!((status, &problem["field"]), (400, &json!("url")), "{url}: {problem}");
    }
    // a name is judged by what it resolves to, each time; nothing tells to what
    let made = make(&gateway, "inside", "https://localhost:1/", json!({})).await;
    assert_eq!(made["webhook"]["state"], "WEBHOOK_STATE_ACTIVE");
    let (_, probe) = gateway.call("POST", "/v1/webhooks/inside/probe", json!({})).await;
    let error = probe["error"].as_str().expect("a sentence");
    assert!(error.contains("localhost is not in the public Internet") && !error.contains("127."), "{probe}");
    assert_eq!((&probe["delivered"], &probe["status"]), (&json!(false), &json!(0)));
    let path = "/v1/webhooks/inside";
    let (status, _) = gateway.call("POST", path, json!({"url": "https://169.254.169.254/"})).await;
    assert_eq!(status, 400);
    gateway.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_disabled_and_goes_on_where_it_was() {
    let (gateway, receiver) = (gateway().await, Receiver::start().await);
    make(&gateway, "deploys", &receiver.url(), of_instances()).await;
    receiver.behave(|_| Reply::status(410));
    say(&gateway, "default", A, 1, &[]).await;
    let failed = shown(&gateway, "deploys", |webhook| webhook["state"] == "WEBHOOK_STATE_FAILED").await;
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("410")), "{failed}");
    say(&gateway, "default", A, 2, &[]).await;
    let events = gateway
        .until("GET", "/v1/events?types=gateway.WebhookDisabled", |(_, text)| {
            text.to_string().contains("WEBHOOK_STATE_FAILED")
        })
        .await;
    assert!(events.to_string().contains("410"), "{events}");
    receiver.behave(|_| Reply::status(200));
    let (status, answer) =
        gateway.call("POST", "/v1/webhooks/deploys", json!({"state": "WEBHOOK_STATE_ACTIVE"})).await;
    assert_eq!((status, &answer["webhook"]["reason"]), (200, &json!("")), "{answer}");
    receiver.until("both events", |got| (got.last()?.revision() == 2).then_some(())).await;
    let seen: Vec<(u64, u32)> = receiver.got().iter().map(|got| (got.revision(), got.attempt)).collect();
    assert_eq!(seen, [(1, 1), (1, 2), (2, 1)]);
    let (status, _) =
        gateway.call("POST", "/v1/webhooks/deploys", json!({"state": "WEBHOOK_STATE_FAILED"})).await;
    assert_eq!(status, 400);
    gateway.stop().await;
}

#[tokio::test]
async fn after_long_failure_events_are_given_up_and_the_receiver_is_disabled() {
    let gateway = gateway_with(|settings| {
        settings.give_up_after_s = 1;
        settings.disable_after_s = 4;
    })
    .await;
    let receiver = Receiver::with(|_| Reply::status(500)).await;
    make(&gateway, "deploys", &receiver.url(), of_instances()).await;
    say(&gateway, "default", A, 1, &[]).await;
    let given_up = eventually(PATIENCE, "it to be given up", async || {
        let last = log(&gateway, "deploys").await.into_iter().next()?;
        (last["state"] == "DELIVERY_STATE_FAILED").then_some(last)
    })
    .await;
    assert!(given_up["attempts"].as_u64().is_some_and(|attempts| attempts > 2), "{given_up}");
    // by hand it is tried again, under the same id
    let id = given_up["id"].as_str().expect("an id");
    let resend = format!("/v1/webhooks/deploys/deliveries/{id}/resend");
    receiver.behave(|_| Reply::status(200));
    let before = receiver.got().len();
    let (status, answer) = gateway.keyed("POST", &resend, "again", json!({})).await;
    assert_eq!((status, &answer["delivery"]["state"]), (200, &json!("DELIVERY_STATE_WAITING")), "{answer}");
    let got = receiver.until("it again", |got| got.get(before).cloned()).await;
    assert!(got.id == id && u64::from(got.attempt) > given_up["attempts"].as_u64().unwrap_or_default());
    let missing = resend.replace(id, B);
    assert_eq!(gateway.call("POST", &missing, json!({})).await.0, 404);
    // nothing arrives for long enough
    shown(&gateway, "deploys", |webhook| webhook["progress"]["failing_since_us"] == 0).await;
    receiver.behave(|_| Reply::status(500));
    let mut revision = 1;
    eventually(PATIENCE, "the receiver to be disabled", async || {
        revision += 1;
        say(&gateway, "default", &format!("018f0000-0000-7000-8000-{revision:012}"), revision, &[]).await;
        let (_, answer) = gateway.call("GET", "/v1/webhooks/deploys", Value::Null).await;
        (answer["webhook"]["state"] == "WEBHOOK_STATE_FAILED").then_some(())
    })
    .await;
    let failed = shown(&gateway, "deploys", |webhook| webhook["state"] == "WEBHOOK_STATE_FAILED").await;
    assert!(
        failed["reason"].as_str().is_some_and(|reason| reason.contains("nothing arrived for")),
        "{failed}"
    );
    let quiet = receiver.got().len();
    say(&gateway, "default", B, 99, &[]).await;
    let path = format!("/v1/events?object_id={B}");
    gateway.until("GET", &path, |(_, events)| events.to_string().contains("InstanceChanged")).await;
    assert_eq!(receiver.got().len(), quiet, "nothing is sent to a receiver that is disabled");
    gateway.stop().await;
}

#[tokio::test]
async fn events_that_are_not_kept_are_told_of() {
    let (gateway, receiver) = (gateway().await, Receiver::start().await);
    make(&gateway, "deploys", &receiver.url(), of_instances()).await;
    say(&gateway, "default", A, 1, &[]).await;
    receiver.until("the first event", |got| (got.len() == 1).then_some(())).await;
    shown(&gateway, "deploys", |webhook| webhook["progress"]["waiting"] == 0).await;
    let path = "/v1/webhooks/deploys";
    assert_eq!(gateway.call("POST", path, json!({"state": "WEBHOOK_STATE_DISABLED"})).await.0, 200);
    // an operator restores a database of long ago: the stream has lost what the cursor asks for
    let url = format!("sqlite://{}/gateway/gateway.db", gateway.folder.path().display());
    let store =
        store::Store::open(&url, &[bus::MIGRATIONS, gateway::MIGRATIONS].concat()).await.expect("opens");
    let mut tx = store.begin().await.expect("begins");
    sqlx::query("UPDATE webhook_cursors SET incarnation = '5', after_sequence = 7")
        .execute(&mut *tx)
        .await
        .expect("written");
    tx.commit().await.expect("commits");
    assert_eq!(gateway.call("POST", path, json!({"state": "WEBHOOK_STATE_ACTIVE"})).await.0, 200);
    let gap = receiver
        .until("word of the gap", |got| got.iter().find(|g| g.kind() == "io.berth.stream.gap").cloned())
        .await;
    assert!(gap.event["data"]["reason"].as_str().is_some_and(|why| why.contains("made anew")), "{gap:?}");
    assert!(gap.event["data"]["incarnation"].as_str().is_some_and(|it| it != "5"), "{gap:?}");
    say(&gateway, "default", A, 2, &[]).await;
    receiver.until("the event behind the gap", |got| (got.last()?.revision() == 2).then_some(())).await;
    assert_eq!(receiver.about(A).len(), 2, "what is in the log is not sent again");
    // the same for a database that was made again out of the events: nobody knows any more how far it was
    assert_eq!(gateway.call("POST", path, json!({"state": "WEBHOOK_STATE_DISABLED"})).await.0, 200);
    let mut tx = store.begin().await.expect("begins");
    sqlx::query("DELETE FROM webhook_cursors").execute(&mut *tx).await.expect("written");
    sqlx::query("DELETE FROM webhook_deliveries").execute(&mut *tx).await.expect("written");
    tx.commit().await.expect("commits");
    say(&gateway, "default", A, 3, &[]).await;
    assert_eq!(gateway.call("POST", path, json!({"state": "WEBHOOK_STATE_ACTIVE"})).await.0, 200);
    let lost = |got: &[harness::receiver::Got]| {
        got.iter()
            .find(|g| g.event["data"]["reason"].as_str().is_some_and(|why| why.contains("was lost")))
            .cloned()
    };
    receiver.until("word of the loss", lost).await;
    say(&gateway, "default", A, 4, &[]).await;
    receiver.until("what comes then", |got| (got.last()?.revision() == 4).then_some(())).await;
    gateway.stop().await;
}

#[tokio::test]
async fn webhooks_are_named_counted_and_removed() {
    let (gateway, receiver) = (gateway().await, Receiver::start().await);
    let made = make(&gateway, "deploys", &receiver.url(), of_instances()).await;
    let body = json!({"name": "deploys", "url": receiver.url()});
    let (status, problem) = gateway.call("POST", "/v1/webhooks", body.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("WEBHOOK_EXISTS")), "{problem}");
    for (wrong, field) in [
        (json!({"name": "X y", "url": receiver.url()}), "name"),
        (json!({"name": "x", "url": receiver.url(), "filter": {"types": ["nobody"]}}), "filter.types[0]"),
        (json!({"name": "x", "url": receiver.url(), "filter": {"labels": ["team"]}}), "filter.labels[0]"),
    ] {
        let (status, problem) = gateway.call("POST", "/v1/webhooks", wrong).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
    }
    let (status, _) =
        gateway.call("POST", "/v1/webhooks/deploys/rotate-secret", json!({"overlap_s": 999_999})).await;
    assert_eq!(status, 400);
    let id = made["webhook"]["id"].as_str().expect("an id");
    let (_, by_id) = gateway.call("GET", &format!("/v1/webhooks/{id}"), Value::Null).await;
    assert_eq!(by_id["webhook"]["name"], "deploys");
    let (_, list) = gateway.call("GET", "/v1/webhooks", Value::Null).await;
    assert_eq!(list["webhooks"].as_array().map(Vec::len), Some(1));
    let (status, gone) = gateway.call("DELETE", "/v1/webhooks/deploys", Value::Null).await;
    assert_eq!((status, &gone["webhook"]["state"]), (200, &json!("WEBHOOK_STATE_DELETED")));
    assert_eq!(gateway.call("GET", "/v1/webhooks/deploys", Value::Null).await.0, 404);
    say(&gateway, "default", A, 1, &[]).await;
    for n in 0..50 {
        let made = make(&gateway, &format!("w-{n}"), &receiver.url(), json!({"types": ["storage"]})).await;
        assert!(made["secret"].as_str().is_some_and(|secret| !secret.is_empty()));
    }
    let (status, problem) = gateway.call("POST", "/v1/webhooks", body).await;
    assert_eq!((status, &problem["code"]), (409, &json!("TOO_MANY_WEBHOOKS")), "{problem}");
    assert!(receiver.got().is_empty(), "{:?}", receiver.got());
    gateway.stop().await;
}
