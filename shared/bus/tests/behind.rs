//! Readers that fell behind: what waited for them longer than the server waits comes again.

mod support;

use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{SOON, Service, id};
use testkit::{NatsServer, eventually};

#[tokio::test]
async fn what_waited_too_long_is_handled_in_batches_and_once() {
    let nats = NatsServer::start().await;
    let mut service = Service::start(&nats, Duration::ZERO).await;
    let first = id();
    service.tell(&first).await;
    eventually(SOON, "the first effect", async || (service.effects().await.len() == 1).then_some(())).await;
    service.halt().await;

    // somebody takes all of them in the reader's name, and does nothing
    let ids: Vec<String> = (0..300).map(|_| id()).collect();
    service.relay();
    service.tell_all(&ids).await;
    let stream = service.connection.jetstream().get_stream("CMD_SCHEDULER").await.expect("the queue");
    let consumer: PullConsumer = stream.get_consumer("scheduler").await.expect("the reader");
    let mut taken = 0;
    while taken < ids.len() {
        let wanted = ids.len() - taken;
        let messages = consumer.batch().max_messages(wanted).expires(SOON).messages().await.expect("asked");
        taken += messages.filter(|message| std::future::ready(message.is_ok())).count().await;
    }

    service.runner(Duration::ZERO);
    eventually(SOON, "all effects", async || (service.effects().await.len() > ids.len()).then_some(())).await;
    let (mut effects, mut told) = (service.effects().await, ids.clone());
    told.push(first);
    effects.sort_unstable();
    told.sort_unstable();
    assert_eq!(effects, told, "each once");
    let gathered = service.gathered.load(Ordering::SeqCst);
    assert!(gathered > 250, "{gathered} of {} came in batches", ids.len());
    let attempts: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM attempts")
        .fetch_one(service.desk.store().reader())
        .await
        .expect("counted");
    assert_eq!(attempts, 0, "what had its effect is no attempt");
    service.end().await;
}

#[tokio::test]
async fn what_waits_in_a_slow_process_is_given_to_nobody_else() {
    let nats = NatsServer::start().await;
    let mut service = Service::start(&nats, Duration::ZERO).await;
    service.halt().await;
    // more than one batch, and each batch takes longer than the server waits
    let ids: Vec<String> = (0..3_000).map(|_| id()).collect();
    service.relay();
    service.tell_all(&ids).await;
    service.runner(Duration::from_millis(3));
    let stream = service.connection.jetstream().get_stream("CMD_SCHEDULER").await.expect("the queue");
    let mut consumer: PullConsumer = stream.get_consumer("scheduler").await.expect("the reader");
    let mut again = 0;
    eventually(SOON * 2, "all effects", async || {
        again += consumer.info().await.expect("the reader").num_redelivered;
        (service.effects().await.len() == ids.len()).then_some(())
    })
    .await;
    assert_eq!(again, 0, "messages that waited for their turn came again");
    service.end().await;
}
