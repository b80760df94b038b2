//! Every message has its effect exactly once, whatever breaks on the way.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{SOON, Service, TABLES, id};
use testkit::{Database, NatsServer, eventually};

async fn settled(service: &Service, count: usize) {
    eventually(SOON, "all effects and events", async || {
        (service.effects().await.len() >= count && service.events().await.len() >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_command_becomes_a_row_and_an_event_on_both_databases() {
    for database in [Database::sqlite(TABLES).await, Database::postgres(TABLES).await] {
        let nats = NatsServer::start().await;
        let service = Service::on(database, &nats, Duration::ZERO).await;
        let ids: Vec<String> = (0..50).map(|_| id()).collect();
        for id in &ids {
            service.tell(id).await;
        }
        settled(&service, 50).await;
        assert_eq!(service.effects().await, ids, "in the order they were sent, each once");
        assert_eq!(service.events().await, ids);
        service.end().await;
    }
}

#[tokio::test]
async fn a_message_published_twice_has_one_effect() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let (first, last) = (id(), id());
    service.tell(&first).await;
    settled(&service, 1).await;
    // as after a crash between the acknowledgement and the mark, with the server's memory of ids gone
    let stream = service.connection.jetstream().get_stream("CMD_SCHEDULER").await.expect("stream");
    let mut config = stream.cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    service.connection.jetstream().update_stream(&config).await.expect("a short memory");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut tx = service.desk.store().begin().await.expect("tx");
    sqlx::query("UPDATE outbox SET stream_sequence = 0 WHERE stream = 'CMD_SCHEDULER'")
        .execute(&mut *tx)
        .await
        .expect("unmark");
    tx.commit().await.expect("commit");
    service.tell(&last).await;
    settled(&service, 2).await;
    testkit::eventually(
        Duration::from_secs(10),
        "the first command in the stream a second time",
        async || {
            let stream = service.connection.jetstream().get_stream("CMD_SCHEDULER").await.expect("stream");
            (stream.cached_info().state.last_sequence == 3).then_some(())
        },
    )
    .await;
    settled(&service, 2).await;
    assert_eq!(service.effects().await, [first, last]);
    service.end().await;
}

#[tokio::test]
async fn many_rows_leave_in_one_batch_also_when_some_are_there_already() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let ids: Vec<String> = (0..300).map(|_| id()).collect();
    let mut work = service.desk.begin(bus::Cause::own("test")).await.expect("begin");
    for id in &ids {
        work.tell(&contracts::scheduler::v1::StartInstance { instance_id: id.clone(), ..Default::default() });
    }
    work.commit().await.expect("commit");
    settled(&service, 300).await;
    assert_eq!(service.effects().await, ids);
    let places = async || -> Vec<(i64, i64)> {
        sqlx::query_as("SELECT seq, stream_sequence FROM outbox WHERE stream = 'EVENTS' ORDER BY seq")
            .fetch_all(service.desk.store().reader())
            .await
            .expect("outbox")
    };
    let before =
        eventually(SOON, "marks", async || Some(places().await).filter(|p| p.iter().all(|(_, s)| *s > 0)))
            .await;
    // every second one is published again: the server knows them, and tells where they are
    let mut tx = service.desk.store().begin().await.expect("tx");
    sqlx::query("UPDATE outbox SET stream_sequence = 0 WHERE stream = 'EVENTS' AND seq % 2 = 0")
        .execute(&mut *tx)
        .await
        .expect("unmark");
    tx.commit().await.expect("commit");
    eventually(SOON, "the same marks", async || (places().await == before).then_some(())).await;
    assert_eq!(service.events().await, ids, "each event is in the stream once");
    service.end().await;
}

#[tokio::test]
async fn a_broker_that_is_killed_and_comes_back_loses_nothing() {
    let mut nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let ids: Vec<String> = (0..30).map(|_| id()).collect();
    for (index, id) in ids.iter().enumerate() {
        if index == 10 {
            nats.kill();
        }
        service.tell(id).await;
    }
    nats.up().await;
    settled(&service, 30).await;
    let mut effects = service.effects().await;
    effects.sort();
    let mut expected = ids.clone();
    expected.sort();
    assert_eq!(effects, expected);
    service.end().await;
}

/// The relay has to have seen the stream once to know it again.
async fn known(service: &Service) {
    eventually(SOON, "the relay to remember the stream", async || {
        let known: Option<String> =
            sqlx::query_scalar("SELECT incarnation FROM relay_stream WHERE stream = 'EVENTS'")
                .fetch_optional(service.desk.store().reader())
                .await
                .expect("query");
        known.filter(|incarnation| !incarnation.is_empty())
    })
    .await;
}

#[tokio::test]
async fn a_tail_that_was_lost_is_refilled_also_when_others_made_the_stream_longer_first() {
    let mut nats = NatsServer::start().await;
    let mut service = Service::start(&nats, Duration::ZERO).await;
    let ids: Vec<String> = (0..12).map(|_| id()).collect();
    for id in &ids[..5] {
        service.tell(id).await;
    }
    settled(&service, 5).await;
    known(&service).await;
    nats.kill();
    nats.back_up();
    nats.up().await;
    for id in &ids[5..] {
        service.tell(id).await;
    }
    settled(&service, 12).await;
    service.halt().await;

    nats.kill();
    nats.roll_back();
    nats.up().await;
    let other = nats.connect().await;
    for n in 0..30 {
        let subject = format!("evt.other.v1.Noise.tenant.{n}");
        other.jetstream().publish(subject, "x".into()).await.expect("sent").await.expect("stored");
    }
    service.relay();
    service.runner(Duration::ZERO);
    eventually(SOON, "every event to be in the stream again", async || {
        let there = service.events().await;
        ids.iter().all(|id| there.contains(id)).then_some(())
    })
    .await;
    assert_eq!(service.effects().await, ids, "and nothing was done twice");
    service.end().await;
}

#[tokio::test]
async fn a_broker_that_lost_everything_is_refilled() {
    let mut nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let ids: Vec<String> = (0..20).map(|_| id()).collect();
    for id in &ids {
        service.tell(id).await;
    }
    settled(&service, 20).await;
    known(&service).await;
    nats.kill();
    nats.wipe();
    nats.up().await;
    settled(&service, 20).await;
    let mut events = service.events().await;
    events.dedup();
    assert_eq!(events, ids, "the stream holds all events again");
    assert_eq!(service.effects().await, ids, "and nothing was done twice");
    service.end().await;
}

#[tokio::test]
async fn a_slow_handler_keeps_its_message() {
    let nats = NatsServer::start().await;
    // longer than the acknowledgement time of two seconds
    let service = Service::start(&nats, Duration::from_secs(5)).await;
    service.tell(&id()).await;
    settled(&service, 1).await;
    assert_eq!(service.runs.load(Ordering::SeqCst), 1, "the server was told that work goes on");
    service.end().await;
}

#[tokio::test]
async fn two_processes_on_one_database_share_the_work() {
    let nats = NatsServer::start().await;
    let database = Database::postgres(TABLES).await;
    let again = database.again(TABLES).await;
    let first = Service::on(database, &nats, Duration::ZERO).await;
    let second = Service::on(again, &nats, Duration::ZERO).await;
    let ids: Vec<String> = (0..100).map(|_| id()).collect();
    for (index, id) in ids.iter().enumerate() {
        if index % 2 == 0 { first.tell(id).await } else { second.tell(id).await }
    }
    settled(&first, 100).await;
    let mut effects = first.effects().await;
    effects.sort();
    let mut expected = ids;
    expected.sort();
    assert_eq!(effects, expected);
    first.end().await;
    second.end().await;
}
