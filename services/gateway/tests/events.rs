//! The event stream from outside: where it begins and ends, what it leaves out, and each way to read it.

mod harness;

use bus::Cause;
use chassis::{Telemetry, TelemetrySettings};
use contracts::scheduler::v1 as scheduler;
use harness::readers::{Frame, Socket, Sse, lines};
use harness::{Gateway, PATIENCE, answer};
use kernel::{Clock as _, Message, SystemClock};
use serde_json::{Value, json};
use std::time::Duration;

/// Says an event in a tenant.
async fn say<M: Message>(gateway: &Gateway, tenant: &str, event: &M) {
    let mut work = gateway.others.begin(Cause::own("scheduler").for_tenant(tenant)).await.expect("begins");
    work.say(event);
    work.commit().await.expect("commits");
}

/// An instance with a label, as it is at a revision.
fn instance(tenant: &str, id: &str, revision: u64, team: &str) -> scheduler::InstanceChanged {
    let spec = scheduler::InstanceSpec {
        labels: [("team".to_owned(), team.to_owned())].into(),
        ..scheduler::InstanceSpec::default()
    };
    let instance = scheduler::Instance {
        id: id.into(),
        tenant: tenant.into(),
        name: format!("{tenant}-{id}"),
        revision,
        spec: Some(spec),
        ..scheduler::Instance::default()
    };
    scheduler::InstanceChanged { instance: Some(instance), operations: vec![] }
}

/// Revisions of the instances in JSON lines, in order.
fn revisions(lines: &[Value]) -> Vec<u64> {
    let revision = |line: &Value| line["event"]["data"]["instance"]["revision"].as_u64();
    lines.iter().filter_map(revision).collect()
}

/// Waits until so many events of instances are in the stream.
async fn until_there(gateway: &Gateway, count: usize) {
    testkit::eventually(PATIENCE, "events in the stream", async || {
        let lines = lines(gateway, &gateway.token, "types=scheduler.InstanceChanged").await;
        (lines.len() == count).then_some(())
    })
    .await;
}

fn now_us() -> i64 {
    SystemClock.now().micros()
}

fn rfc3339(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).expect("a time").to_string()
}

/// Whose token it is: a member of a tenant of that name, which is made.
async fn member(gateway: &Gateway, tenant: &str, role: &str) -> String {
    let (status, answer) = gateway.call("POST", "/v1/tenants", json!({"name": tenant})).await;
    assert_eq!(status, 200, "{answer}");
    let user = json!({"name": "ann", "roles": [role]});
    let (status, answer) = gateway.ask(&gateway.token, tenant, "POST", "/v1/users", user).await;
    assert_eq!(status, 200, "{answer}");
    let token = json!({"name": "test", "user": "ann"});
    let (status, answer) = gateway.ask(&gateway.token, tenant, "POST", "/v1/tokens", token).await;
    assert_eq!(status, 200, "{answer}");
    answer["secret"].as_str().expect("a secret").to_owned()
}

#[tokio::test]
async fn events_are_chosen_by_label_and_time() {
    let gateway = Gateway::start().await;
    let token = gateway.token.clone();
    say(&gateway, "default", &instance("default", "a", 1, "web")).await;
    say(&gateway, "default", &instance("default", "b", 2, "db")).await;
    until_there(&gateway, 2).await;
    let middle = now_us();
    for (revision, team) in [(3, "web"), (4, "db"), (5, "db")] {
        say(&gateway, "default", &instance("default", "c", revision, team)).await;
    }
    until_there(&gateway, 5).await;
    let of = async |query: &str| {
        revisions(&lines(&gateway, &token, &format!("types=scheduler.InstanceChanged&{query}")).await)
    };
    assert_eq!(of("labels=team%3Dweb").await, [1, 3]);
    assert_eq!(of("labels=team%3Dweb&labels=team%3Dweb").await, [1, 3]);
    assert_eq!(of("labels=team%3Dnobody").await, Vec::<u64>::new());
    assert_eq!(of(&format!("since_us={middle}")).await, [3, 4, 5]);
    assert_eq!(of(&format!("until_us={middle}")).await, [1, 2]);
    assert_eq!(of(&format!("since_us={}", rfc3339(middle))).await, [3, 4, 5]);
    assert_eq!(of(&format!("since_us={}", now_us())).await, Vec::<u64>::new());
    assert_eq!(of(&format!("since_us=1&until_us={middle}&labels=team%3Ddb")).await, [2]);
    // the newest that fit, not those of the newest that fit
    assert_eq!(of("last=1&labels=team%3Dweb").await, [3]);
    assert_eq!(of(&format!("last=1&until_us={middle}")).await, [2]);
    assert_eq!(of("last=2").await, [4, 5]);
    assert_eq!(of("last=100&labels=team%3Dweb").await, [1, 3]);
    for (query, field) in [
        ("labels=team", "labels[0]"),
        ("since_us=yesterday", "since_us"),
        ("since_us=5&until_us=5", "until_us"),
        ("format=xml", "format"),
        ("new_only=true", "new_only"),
        ("after=yesterday", "after"),
        ("after=1:2&after_sequence=3", "after"),
    ] {
        let (status, problem) = gateway.call("GET", &format!("/v1/events?{query}"), Value::Null).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{query}: {problem}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_with_an_end_ends_then_and_one_from_now_on_says_where_it_stands() {
    let gateway = Gateway::start().await;
    let token = gateway.token.clone();
    say(&gateway, "default", &instance("default", "a", 1, "web")).await;
    until_there(&gateway, 1).await;
    let query = "types=scheduler.InstanceChanged&follow=true";
    let end = now_us() + 2_000_000;
    let mut ending = Sse::open(&gateway, &token, &format!("{query}&until_us={end}"), "").await;
    let mut new = Sse::open(&gateway, &token, &format!("{query}&new_only=true"), "").await;
    let position = new.next().await.expect("a position");
    assert_eq!(position.event, "position");
    say(&gateway, "default", &instance("default", "a", 2, "web")).await;
    let first = new.next().await.expect("an event");
    assert_eq!(first.data["data"]["instance"]["revision"], 2, "nothing of before");
    // whoever is cut off before the first event loses nothing
    let again = Sse::open(&gateway, &token, "types=scheduler.InstanceChanged", &position.id).await;
    assert_eq!(again.rest().await, [first]);
    for revision in [1, 2] {
        let event = ending.next().await.expect("an event");
        assert_eq!(event.data["data"]["instance"]["revision"], revision);
    }
    assert_eq!(ending.next().await, None, "it ends by itself");
    assert!(now_us() >= end);
    gateway.stop().await;
}

#[tokio::test]
async fn the_same_events_by_every_way_and_on_from_a_cursor() {
    let gateway = Gateway::start().await;
    let token = gateway.token.clone();
    for revision in 1..=3 {
        say(&gateway, "default", &instance("default", "a", revision, "web")).await;
    }
    until_there(&gateway, 3).await;
    let query = "types=scheduler.InstanceChanged";
    let sse = Sse::open(&gateway, &token, query, "").await.rest().await;
    let records: Vec<Value> =
        lines(&gateway, &token, query).await.iter().map(|l| l["event"].clone()).collect();
    assert_eq!(sse.iter().map(|sent| sent.data.clone()).collect::<Vec<_>>(), records);
    assert_eq!(sse[0].event, "scheduler.InstanceChanged");

    let mut socket = Socket::open(&gateway, &token, query).await.expect("opens");
    for record in &records {
        assert_eq!(socket.text().await, json!({"event": record}));
    }
    let last = &sse[2].id;
    assert_eq!(socket.next().await, Frame::Closed(1000, format!("after={last}")));

    // from the middle, by each way
    let cursor = &sse[0].id;
    let by_id = Sse::open(&gateway, &token, &format!("{query}&last=1&afterSequence=9"), cursor).await;
    assert_eq!(by_id.rest().await, sse[1..], "the header goes before what stands in the query");
    let behind = format!("{query}&after={cursor}&follow=true");
    let mut socket = Socket::open(&gateway, &token, &behind).await.expect("opens");
    assert_eq!(socket.text().await["event"]["sequence"], records[1]["sequence"]);
    socket.ping().await;
    socket.close().await;
    let foreign = lines(&gateway, &token, &format!("{query}&after=1:2")).await;
    assert!(
        foreign[0]["gap"]["reason"].as_str().is_some_and(|words| words.contains("made anew")),
        "{foreign:?}"
    );
    assert_eq!(revisions(&foreign), [1, 2, 3], "a gap, and then what is there");

    // as CloudEvents
    let format = format!("{query}&format=cloudevents");
    let clouds = lines(&gateway, &token, &format).await;
    let cloud = &clouds[0];
    assert_eq!(cloud["specversion"], "1.0");
    assert_eq!(cloud["type"], "io.berth.scheduler.v1.InstanceChanged");
    assert_eq!((&cloud["id"], &cloud["data"]), (&records[0]["id"], &records[0]["data"]));
    assert_eq!(cloud["berthsequence"], json!(sse[0].id));
    let events = Sse::open(&gateway, &token, &format, "").await.rest().await;
    assert_eq!(events.iter().map(|sent| sent.data.clone()).collect::<Vec<_>>(), clouds);
    assert_eq!(
        (&events[0].id, events[0].event.as_str()),
        (&sse[0].id, "io.berth.scheduler.v1.InstanceChanged")
    );
    let mut socket = Socket::open(&gateway, &token, &format).await.expect("opens");
    assert_eq!(&socket.text().await, cloud);

    assert_eq!(Socket::open(&gateway, "", query).await.err(), Some(401));
    assert_eq!(Socket::open(&gateway, &token, "types=nobody").await.err(), Some(400));
    let plain = answer(gateway.rest("GET", "/v1/events/ws")).await;
    assert_eq!((plain.0, &plain.1["code"]), (426, &json!("UPGRADE_REQUIRED")), "{}", plain.1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_that_stops_says_goodbye_with_the_cursor() {
    let gateway = Gateway::start().await;
    let token = gateway.token.clone();
    say(&gateway, "default", &instance("default", "a", 1, "web")).await;
    until_there(&gateway, 1).await;
    let query = "types=scheduler.InstanceChanged&follow=true";
    let mut socket = Socket::open(&gateway, &token, query).await.expect("opens");
    let mut sse = Sse::open(&gateway, &token, query, "").await;
    socket.text().await;
    let seen = sse.next().await.expect("an event").id;
    gateway.stop().await;
    let said = socket.text().await;
    assert_eq!(said["error"]["code"], "GATEWAY_STOPPING", "{said}");
    assert_eq!(socket.next().await, Frame::Closed(1001, format!("after={seen}")));
    let last = sse.next().await.expect("a last word");
    assert_eq!((last.event.as_str(), &last.data["code"]), ("error", &json!("GATEWAY_STOPPING")));
    assert_eq!(sse.next().await, None);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_up_nobody_and_loses_nothing() {
    const EVENTS: u64 = 160;
    let _metrics = Telemetry::start("gateway", &TelemetrySettings::default()).expect("starts");
    let gateway = Gateway::start_with(|settings, _| settings.event_reader_patience_s = 1).await;
    let token = gateway.token.clone();
    let query = "types=scheduler.InstanceChanged&follow=true";
    // it is opened and not read: what the kernel and the connection take is full soon
    let mut slow = Socket::open_narrow(&gateway, &token, query).await.expect("opens");
    let mut fast = Sse::open(&gateway, &token, query, "").await;
    let fat = "x".repeat(256 << 10);
    let began = tokio::time::Instant::now();
    for revision in 1..=EVENTS {
        let mut event = instance("default", "a", revision, "web");
        if let Some(instance) = &mut event.instance {
            let message = fat.clone();
            instance.refusal =
                Some(contracts::common::v1::Refusal { code: "FAT".into(), message, reasons: vec![] });
        }
        say(&gateway, "default", &event).await;
    }
    for revision in 1..=EVENTS {
        let sent = fast.next().await.expect("an event");
        assert_eq!(sent.data["data"]["instance"]["revision"], revision);
    }
    eprintln!("{EVENTS} fat events in {:?} beside a reader that sleeps", began.elapsed());
    testkit::eventually(PATIENCE, "the sleeper's stream to be ended", async || {
        let metrics = gateway.http.get(gateway.ops_url("/metrics")).send().await.ok()?.text().await.ok()?;
        let line = |l: &&str| {
            l.starts_with("berth_gateway_event_streams_ended_total{") && l.contains("READER_TOO_SLOW")
        };
        metrics.lines().find(line).map(|_| ())
    })
    .await;
    let mut seen = 0;
    let why = loop {
        let mut text = slow.text().await;
        if !text["error"].is_null() {
            break text["error"].take();
        }
        seen += 1;
        assert_eq!(text["event"]["data"]["instance"]["revision"], seen);
    };
    assert_eq!(why["code"], "READER_TOO_SLOW", "{why}");
    let Frame::Closed(1013, reason) = slow.next().await else { panic!("it says why") };
    let cursor = reason.strip_prefix("after=").expect("a cursor");
    assert!(seen < EVENTS, "it was not slow: {seen}");
    let rest = Sse::open(&gateway, &token, "types=scheduler.InstanceChanged", cursor).await.rest().await;
    let rest: Vec<_> = rest.iter().filter_map(|s| s.data["data"]["instance"]["revision"].as_u64()).collect();
    assert_eq!(rest, (seen + 1..=EVENTS).collect::<Vec<_>>(), "exactly what it did not get");
    gateway.stop().await;
}

#[tokio::test]
async fn a_tenant_opens_so_many_streams_and_takes_nobody_elses() {
    let gateway = Gateway::start_with(|settings, _| settings.event_streams_per_tenant = 2).await;
    let ann = member(&gateway, "alpha", "developer").await;
    let first = Sse::open(&gateway, &ann, "follow=true", "").await;
    let second = Socket::open(&gateway, &ann, "follow=true").await.expect("opens");
    let full = gateway.request(&ann, "", "GET", "/v1/events?follow=true").send().await.expect("an answer");
    assert!(full.headers().contains_key("retry-after"));
    let (status, text) = (full.status(), full.text().await.expect("a body"));
    assert!(status == 429 && text.contains("TOO_MANY_EVENT_STREAMS"), "{status} {text}");
    assert_eq!(Socket::open(&gateway, &ann, "").await.err(), Some(429));
    let other = Sse::open(&gateway, &gateway.token, "follow=true", "").await;
    drop((first, other));
    second.close().await;
    testkit::eventually(PATIENCE, "a place", async || Socket::open(&gateway, &ann, "").await.ok().map(drop))
        .await;
    gateway.stop().await;
}

#[tokio::test]
async fn no_filter_tells_a_tenant_of_another() {
    let gateway = Gateway::start().await;
    let (ann, bob) =
        (member(&gateway, "alpha", "developer").await, member(&gateway, "bravo", "auditor").await);
    for revision in 1..=3 {
        say(&gateway, "alpha", &instance("alpha", "a", revision, "web")).await;
    }
    let begun = now_us();
    let queries = [
        String::new(),
        "types=scheduler.InstanceChanged".into(),
        "types=scheduler".into(),
        "types=gateway".into(),
        "object_id=a".into(),
        "object_id=b".into(),
        "labels=team%3Dweb".into(),
        "labels=team%3Ddb".into(),
        "last=1".into(),
        "last=2&types=scheduler".into(),
        "last=1000&labels=team%3Dweb".into(),
        format!("since_us={}", begun - 3_600_000_000),
        format!("since_us={}&last=1", begun - 3_600_000_000),
        format!("until_us={}", begun + 3_600_000_000),
        "after_sequence=1".into(),
        "format=cloudevents".into(),
        "format=cloudevents&last=3".into(),
    ];
    let all = async |token: &str| {
        let mut answers = Vec::new();
        for query in &queries {
            answers.push((query.clone(), lines(&gateway, token, query).await));
        }
        answers
    };
    until_there(&gateway, 3).await;
    let before = all(&ann).await;
    assert_eq!(revisions(&before[6].1), [1, 2, 3], "it sees its own: {:?}", before[6]);
    assert_eq!(revisions(&before[8].1), [3]);
    for revision in 1..=7 {
        say(&gateway, "bravo", &instance("bravo", "b", revision, "web")).await;
        say(&gateway, "bravo", &instance("bravo", "c", revision, "db")).await;
    }
    until_there(&gateway, 17).await;
    let after = all(&ann).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after, "another tenant's events change the answer");
    }
    // somebody who reads records is counted for by the broker, and sees no more either
    let before = all(&bob).await;
    assert_eq!(revisions(&before[8].1).len(), 1, "the newest of its own: {:?}", before[8]);
    for revision in 4..=6 {
        say(&gateway, "alpha", &instance("alpha", "a", revision, "web")).await;
    }
    until_there(&gateway, 20).await;
    assert_eq!(before, all(&bob).await, "another tenant's events change the answer");
    for (query, answers) in all(&ann).await.iter().chain(&before) {
        let tenants: Vec<&Value> = answers
            .iter()
            .flat_map(|line| [&line["event"]["tenant"], &line["berthtenant"]])
            .filter(|tenant| !tenant.is_null())
            .collect();
        assert_eq!(tenants.len(), answers.len(), "{query}: {answers:?}");
        assert!(tenants.iter().all(|tenant| *tenant == tenants[0]), "{query}: {tenants:?}");
    }
    // nor does a stream that follows
    let mut follows = Sse::open(&gateway, &ann, "follow=true&new_only=true&labels=team%3Dweb", "").await;
    assert_eq!(follows.next().await.expect("a position").event, "position");
    say(&gateway, "bravo", &instance("bravo", "b", 8, "web")).await;
    say(&gateway, "alpha", &instance("alpha", "a", 7, "web")).await;
    assert_eq!(follows.next().await.expect("its own").data["tenant"], "alpha");
    tokio::time::timeout(Duration::from_millis(300), follows.next()).await.expect_err("nothing more");
    gateway.stop().await;
}
