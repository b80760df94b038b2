//! Commands that their queue lost are sent again until somebody answers.

mod harness;

use contracts::common::v1::{OperationProgress, OperationState};
use contracts::scheduler::v1 as scheduler;
use harness::{Gateway, PATIENCE};
use kernel::Message;
use serde_json::json;
use std::time::Duration;
use testkit::eventually;

const QUEUE: &str = "CMD_SCHEDULER";
const HOST: &str = "018f0000-0000-7000-8000-0000000000aa";

/// The server takes a second copy for a duplicate for two minutes; here for as short a time as it can.
async fn forgets_at_once(gateway: &Gateway) {
    let context = gateway.chassis.bus.jetstream();
    let stream = context.get_stream(QUEUE).await.expect("the queue");
    let mut config = stream.cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    context.update_stream(config).await.expect("updated");
}

/// Ids and reasons of the cordons in the queue.
async fn waiting(gateway: &Gateway) -> Vec<(u64, String, String)> {
    let stream = gateway.chassis.bus.jetstream().get_stream_no_info(QUEUE).await.expect("the queue");
    let (mut found, mut next) = (Vec::new(), 1);
    while let Ok(message) = stream.direct_get_next_for_subject("cmd.scheduler.>", Some(next)).await {
        next = message.sequence + 1;
        let id = message.headers.get("Nats-Msg-Id").expect("an id").to_string();
        let reason = scheduler::CordonHost::from_bytes(&message.payload).expect("a command").reason;
        found.push((message.sequence, id, reason));
    }
    found
}

#[tokio::test]
async fn a_command_that_its_queue_lost_is_sent_again_until_somebody_answers() {
    let gateway = Gateway::start_with(|settings, _| settings.unanswered_after_s = 1).await;
    gateway.host(HOST, "node-1", "agent-1").await;
    forgets_at_once(&gateway).await;
    let mut operations = Vec::new();
    for reason in ["first", "second", "third"] {
        let path = format!("/v1/hosts/{HOST}/cordon");
        let (status, accepted) = gateway.call("POST", &path, json!({"reason": reason})).await;
        assert_eq!(status, 202, "{accepted}");
        operations.push(accepted["operation_id"].as_str().expect("an id").to_owned());
    }
    let sent = eventually(PATIENCE, "three commands", async || {
        let sent = waiting(&gateway).await;
        (sent.len() == 3).then_some(sent)
    })
    .await;
    let ids: Vec<&str> = sent.iter().map(|(_, id, _)| id.as_str()).collect();
    assert_eq!(ids, operations, "a command has its operation's id");

    // the first is answered; then it and the second leave the queue; the third waits: nobody has come for it yet
    let progress = OperationProgress {
        operation_id: operations[0].clone(),
        state: OperationState::Running as i32,
        step: "accepted".into(),
        refusal: None,
    };
    gateway.say(&scheduler::RequestRefused { object_id: HOST.into(), operations: vec![progress] }).await;
    let answered = format!("/v1/operations/{}", operations[0]);
    gateway.until("GET", &answered, |(_, o)| o["operation"]["state"] == "OPERATION_STATE_RUNNING").await;
    let stream = gateway.chassis.bus.jetstream().get_stream(QUEUE).await.expect("the queue");
    for (place, ..) in &sent[..2] {
        stream.delete_message(*place).await.expect("deleted");
    }
    let again = eventually(PATIENCE, "the second command to be sent again", async || {
        let waiting = waiting(&gateway).await;
        (waiting.len() > 1).then_some(waiting)
    })
    .await;
    let again: Vec<(&str, &str)> =
        again.iter().map(|(_, id, reason)| (id.as_str(), reason.as_str())).collect();
    assert_eq!(again, [(operations[2].as_str(), "third"), (operations[1].as_str(), "second")]);
    // while it waits there it is not sent a third time, and what was answered is let be: a whole further look shows it
    gateway.call("POST", &format!("/v1/hosts/{HOST}/cordon"), json!({"reason": "fourth"})).await;
    let fourth = eventually(PATIENCE, "a fourth command", async || {
        waiting(&gateway).await.into_iter().find(|(_, _, reason)| reason == "fourth")
    })
    .await;
    stream.delete_message(fourth.0).await.expect("deleted");
    let last = eventually(PATIENCE, "the fourth command to be sent again", async || {
        let waiting = waiting(&gateway).await;
        waiting.iter().any(|(place, ..)| *place > fourth.0).then_some(waiting)
    })
    .await;
    assert_eq!(last.len(), 3, "each once: {last:?}");
    gateway.stop().await;
}
