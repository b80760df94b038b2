//! Messages that cannot be handled: retried, given up, kept, sent again.

mod support;

use bus::{Cause, dead};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{SOON, Service, id};
use testkit::{NatsServer, eventually};

async fn letters(service: &Service, count: usize) -> Vec<dead::DeadLetter> {
    eventually(SOON, "dead letters", async || {
        let found = dead::list(&service.connection, 0, 100).await.expect("list");
        (found.len() >= count).then_some(found)
    })
    .await
}

#[tokio::test]
async fn what_fails_for_a_while_succeeds_later_and_leaves_no_trace_of_the_failures() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let id = id();
    service.script.fail(&id, 2, "transient");
    service.tell(&id).await;
    eventually(SOON, "the effect", async || (service.effects().await.len() == 1).then_some(())).await;
    assert_eq!(service.runs.load(Ordering::SeqCst), 3);
    assert_eq!(service.effects().await, std::slice::from_ref(&id));
    eventually(SOON, "one event", async || (service.events().await == [id.clone()]).then_some(())).await;
    let attempts: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM attempts")
        .fetch_one(service.desk.store().reader())
        .await
        .expect("count");
    assert_eq!(attempts, 0);
    service.end().await;
}

#[tokio::test]
async fn what_never_succeeds_is_kept_with_bytes_reason_and_attempts() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let id = id();
    service.script.fail(&id, 100, "transient");
    service.tell(&id).await;
    let letter = letters(&service, 1).await.remove(0);
    assert_eq!((letter.attempts, letter.consumer.as_str()), (5, "scheduler"));
    assert!(letter.reason.contains("given up after 4 attempts: not yet"), "{}", letter.reason);
    assert_eq!(letter.decode().expect("decoded")["instance_id"], id);
    assert_eq!(
        service.runs.load(Ordering::SeqCst),
        4,
        "the fifth delivery was buried without running the handler"
    );
    assert!(service.effects().await.is_empty() && service.events().await.is_empty());

    // the cause is mended: the letter is sent again, once, even when asked twice
    service.script.fail(&id, 0, "");
    for _ in 0..2 {
        let mut work = service.desk.begin(Cause::own("test")).await.expect("begin");
        dead::replay(&mut work, &letter).expect("can be sent");
        work.commit().await.expect("asking twice is no error");
    }
    eventually(SOON, "the effect", async || (service.effects().await.len() == 1).then_some(())).await;
    assert!(dead::remove(&service.connection, letter.sequence).await.expect("remove"));
    assert!(!dead::remove(&service.connection, letter.sequence).await.expect("remove again"));
    assert_eq!(service.effects().await.len(), 1);
    service.end().await;
}

#[tokio::test]
async fn poison_dies_at_once_and_its_neighbours_in_the_batch_live() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let ids: Vec<String> = (0..20).map(|_| id()).collect();
    service.script.fail(&ids[7], 100, "poison");
    let mut work = service.desk.begin(Cause::own("test")).await.expect("begin");
    for id in &ids {
        work.tell(&contracts::scheduler::v1::StartInstance { instance_id: id.clone(), ..Default::default() });
    }
    work.commit().await.expect("commit");
    let letter = letters(&service, 1).await.remove(0);
    assert_eq!((letter.attempts, letter.reason.as_str()), (1, "cannot be"));
    eventually(SOON, "the others", async || (service.effects().await.len() == 19).then_some(())).await;
    assert!(!service.effects().await.contains(&ids[7]));
    service.end().await;
}

#[tokio::test]
async fn a_handler_that_panics_ends_nothing_but_its_attempt() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let (bad, good) = (id(), id());
    service.script.fail(&bad, 100, "panic");
    service.tell(&bad).await;
    service.tell(&good).await;
    let letter = letters(&service, 1).await.remove(0);
    assert!(letter.reason.contains("panicked: as the script says"), "{}", letter.reason);
    eventually(SOON, "the other message", async || (service.effects().await == [good.clone()]).then_some(()))
        .await;
    service.end().await;
}

#[tokio::test]
async fn garbage_on_a_work_queue_becomes_a_dead_letter() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let jetstream = service.connection.jetstream();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "not-a-uuid");
    for (subject, headers) in [
        ("cmd.scheduler.v1.StartInstance.x", async_nats::HeaderMap::new()),
        ("cmd.scheduler.v1.StartInstance.x", headers),
        ("cmd.scheduler.v9.Nonsense.x.y.z", async_nats::HeaderMap::new()),
    ] {
        let ack =
            jetstream.publish_with_headers(subject, headers, "\u{0}garbage".into()).await.expect("send");
        ack.await.expect("stored");
    }
    let found = letters(&service, 3).await;
    assert!(found[0].reason.contains("Nats-Msg-Id is missing"), "{}", found[0].reason);
    assert!(found[1].reason.contains("expected a UUID"), "{}", found[1].reason);
    assert_eq!(&found[2].payload[..], b"\0garbage");
    // and the service goes on
    let id = id();
    service.tell(&id).await;
    eventually(SOON, "the effect", async || (service.effects().await == [id.clone()]).then_some(())).await;
    let nonsense = dead::replay(&mut service.desk.begin(Cause::own("test")).await.expect("begin"), &found[0]);
    assert!(nonsense.expect_err("has no id").contains("only be dropped"));
    service.end().await;
}
