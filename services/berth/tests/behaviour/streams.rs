//! The event stream and the console.

use super::fake::{Answer, Fake};
use super::running::Berth;
use contracts::gateway::v1::{watch_events_response::Item, *};
use prost::Message as _;

fn event(sequence: u64) -> Answer {
    let event = EventRecord {
        sequence,
        incarnation: "one".into(),
        r#type: "scheduler.InstanceReady".into(),
        ..EventRecord::default()
    };
    Answer::Message(WatchEventsResponse { item: Some(Item::Event(event)) }.encode_to_vec())
}

fn gap(resync_after_sequence: u64) -> Answer {
    let gap =
        Gap { reason: "the stream was recreated".into(), resync_after_sequence, incarnation: "two".into() };
    Answer::Message(WatchEventsResponse { item: Some(Item::Gap(gap)) }.encode_to_vec())
}

fn end() -> Answer {
    Answer::Message(Vec::new())
}

fn cursors(fake: &Fake) -> Vec<(u64, String)> {
    let requests = fake.calls("WatchEvents").into_iter().map(|call| call.read::<WatchEventsRequest>());
    requests.map(|request| (request.after_sequence, request.incarnation)).collect()
}

#[tokio::test]
async fn a_gap_is_shown_and_reading_goes_on_from_the_resync_point() {
    let fake = Fake::start().await;
    for answer in [event(5), gap(40), end(), event(41), end()] {
        fake.say("WatchEvents", answer);
    }
    let outcome = Berth::at(&fake).run("events --after 4 --incarnation one").await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert!(
        lines[0].contains("5  scheduler.InstanceReady") && lines[2].contains("41  scheduler"),
        "{outcome:?}"
    );
    assert!(
        lines[1].starts_with("GAP: the stream was recreated") && lines[1].contains("after sequence 40"),
        "{outcome:?}"
    );
    assert_eq!(cursors(&fake), [(4, "one".into()), (40, "two".into())]);
}

#[tokio::test]
async fn a_gap_that_never_closes_ends_the_command() {
    let fake = Fake::start().await;
    for answer in [gap(40), end(), gap(40), end()] {
        fake.say("WatchEvents", answer);
    }
    let outcome = Berth::at(&fake).run("events --after 4").await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
}

#[tokio::test]
async fn following_goes_on_over_a_lost_connection_without_loss_or_repetition() {
    let fake = Fake::start().await;
    for answer in [
        event(1),
        event(2),
        Answer::Cut,
        event(3),
        Answer::Status(tonic::Status::permission_denied("that is all")),
    ] {
        fake.say("WatchEvents", answer);
    }
    let outcome = Berth::at(&fake).run("events --follow --last 2 -o json").await;
    assert_eq!(outcome.code, 4, "{outcome:?}");
    let sequences: Vec<u64> = outcome
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["event"]["sequence"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(sequences, [1, 2, 3]);
    let requests: Vec<WatchEventsRequest> =
        fake.calls("WatchEvents").iter().map(|call| call.read()).collect();
    assert_eq!((requests[0].last, requests[1].last, requests[1].after_sequence), (2, 0, 2));
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let fake = Fake::start().await;
    fake.refuse("GetInstance", tonic::Status::not_found("no"));
    let image = contracts::storage::v1::Image { id: "img-1".into(), ..Default::default() };
    fake.answer("GetImage", &GetImageResponse { image: Some(image) });
    fake.say("WatchEvents", end());
    let outcome = Berth::at(&fake).run("events --object debian-12 --type storage --operation op-1").await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let request: WatchEventsRequest = fake.calls("WatchEvents")[0].read();
    assert_eq!((request.object_id.as_str(), request.correlation_id.as_str()), ("img-1", "op-1"));
    assert_eq!(request.types, ["storage"]);
}

#[tokio::test]
async fn filters_and_the_form_of_events_go_to_the_gateway() {
    let fake = Fake::start().await;
    let position = Position { sequence: 6, incarnation: "one".into() };
    let cloud = serde_json::json!({"specversion": "1.0", "id": "e", "berthsequence": "one:7"});
    let cloud = Item::CloudEvent(contracts::to_struct(cloud));
    for item in [Item::Position(position), cloud] {
        fake.say("WatchEvents", Answer::Message(WatchEventsResponse { item: Some(item) }.encode_to_vec()));
    }
    fake.say("WatchEvents", Answer::Cut);
    fake.say("WatchEvents", Answer::Status(tonic::Status::permission_denied("that is all")));
    let line = "events --follow --new --format cloudevents --label team=web --label tier=db";
    let outcome = Berth::at(&fake).run(line).await;
    assert_eq!(outcome.code, 4, "{outcome:?}");
    let printed: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(printed, ["{\"berthsequence\":\"one:7\",\"id\":\"e\",\"specversion\":\"1.0\"}"]);
    let requests: Vec<WatchEventsRequest> =
        fake.calls("WatchEvents").iter().map(|call| call.read()).collect();
    assert_eq!((requests[0].new_only, requests[0].format.as_str()), (true, "cloudevents"));
    assert_eq!(requests[0].labels, ["team=web", "tier=db"]);
    // who comes back does so behind the last event, not at whatever now is by then
    assert_eq!((requests[1].new_only, requests[1].after_sequence), (false, 7));
    assert_eq!(requests[1].incarnation, "one");
}

#[tokio::test]
async fn a_stream_with_an_end_is_not_opened_again() {
    let fake = Fake::start().await;
    for answer in [event(5), end()] {
        fake.say("WatchEvents", answer);
    }
    let line = "events --follow --since 1970-01-01T00:00:01Z --until 2h --after one:4";
    let outcome = Berth::at(&fake).run(line).await;
    assert_eq!(outcome.code, 2, "--since and --after: {outcome:?}");
    let line = "events --follow --since 1970-01-01T00:00:01Z --until 2h";
    let outcome = Berth::at(&fake).run(line).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let request: WatchEventsRequest = fake.calls("WatchEvents")[0].read();
    assert_eq!(request.since_us, 1_000_000);
    assert!(request.until_us > 1_700_000_000_000_000, "{}", request.until_us);
    assert_eq!(fake.calls("WatchEvents").len(), 1);
}

#[tokio::test]
async fn the_catalogue_is_a_table_or_the_documents_themselves() {
    let fake = Fake::start().await;
    let ready = EventType {
        r#type: "scheduler.v1.InstanceReady".into(),
        name: "scheduler.InstanceReady".into(),
        summary: "The guest answers.".into(),
        ..EventType::default()
    };
    fake.answer("ListEventTypes", &ListEventTypesResponse { types: vec![ready] });
    let outcome = Berth::at(&fake).run("events catalogue").await;
    assert!(outcome.out.contains("scheduler.InstanceReady   The guest answers."), "{outcome:?}");
    let schema = serde_json::json!({
        "description": "The guest answers.",
        "properties": {"instance": {"type": "object", "description": "As it is. Whole."}},
    });
    let answer = GetEventSchemaResponse { schema: Some(contracts::to_struct(schema.clone())) };
    fake.answer("GetEventSchema", &answer);
    let outcome = Berth::at(&fake).run("events catalogue scheduler.InstanceReady").await;
    assert!(outcome.out.contains("instance   object   As it is"), "{outcome:?}");
    assert_eq!(
        fake.calls("GetEventSchema")[0].read::<GetEventSchemaRequest>().r#type,
        "scheduler.InstanceReady"
    );
    let outcome = Berth::at(&fake).run("events catalogue scheduler.InstanceReady -o json").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&outcome.out).unwrap(), schema);
    let document = serde_json::json!({"asyncapi": "3.0.0"});
    fake.answer("GetAsyncApi", &GetAsyncApiResponse { document: Some(contracts::to_struct(document)) });
    let outcome = Berth::at(&fake).run("events catalogue --asyncapi -o yaml").await;
    assert_eq!(outcome.out, "asyncapi: 3.0.0\n", "{outcome:?}");
}

#[tokio::test]
async fn the_console_works_in_a_pipe() {
    let fake = Fake::start().await;
    fake.answer("AttachConsole", &AttachConsoleResponse::default());
    let outcome = Berth::at(&fake).stdin(b"uptime\x1d\n").run("instance console web-1 --linger 1").await;
    assert_eq!((outcome.code, outcome.out.as_str()), (0, "UPTIME\x1d\n"), "{outcome:?}");
    assert_eq!(fake.calls("AttachConsole")[0].read::<AttachConsoleRequest>().instance, "web-1");
    fake.refuse("AttachConsole", tonic::Status::failed_precondition("it is stopped"));
    Berth::at(&fake).run("instance console web-1 --linger 1").await;
    assert_eq!(Berth::at(&fake).run("instance console web-1").await.code, 4);
}
