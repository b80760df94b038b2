//! Nobody waits for answers that do not come any more.

mod support;

use bus::fail::{FailPoint, on_reached};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use support::line::Line;
use support::{SOON, Service, TABLES, id};
use testkit::{Database, NatsServer, eventually};

/// A service that reaches its broker over a line.
async fn over(line: &Line) -> Service {
    let settings = bus::BusSettings { url: line.url(), ..bus::BusSettings::default() };
    let connection = bus::Connection::open(&settings, "test", bus::Report::none()).await.expect("a broker");
    Service::with(Database::sqlite(TABLES).await, connection, Duration::ZERO)
}

async fn all_said_once(service: &Service, ids: &[String]) {
    eventually(SOON, "every event to be in the stream", async || {
        let waiting = bus::outbox_size(service.desk.store()).await.expect("size").waiting;
        (waiting == 0).then_some(())
    })
    .await;
    // what the client had not sent yet leaves before what has to be published again
    let (mut said, mut ids) = (service.events().await, ids.to_vec());
    said.sort();
    ids.sort();
    assert_eq!(said, ids, "each once");
}

/// The points have one hook for the whole process.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Fewer rows than make a batch, and more than can wait one after another.
const ROWS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_in_flight_when_the_connection_breaks_are_published_soon_after() {
    let _alone = ALONE.lock().await;
    let nats = NatsServer::start().await;
    let line = Line::to(&nats.url()).await;
    let mut service = over(&line).await;
    // streams are looked at before anything is published
    service.say_big(&[id()]).await;
    eventually(SOON, "the first event", async || (service.events().await.len() == 1).then_some(())).await;
    let first = service.events().await;
    let (breaking, once) = (line.breaking(), AtomicBool::new(false));
    on_reached(move |point| {
        if point == FailPoint::OutboxRead && !once.swap(true, Ordering::SeqCst) {
            breaking();
        }
        false
    });
    let ids: Vec<String> = (0..ROWS).map(|_| id()).collect();
    service.say_big(&ids).await;
    all_said_once(&service, &[first, ids].concat()).await;
    assert!(!line.is_tight(), "the line broke under the rows");
    service.halt().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stops_answering_is_noticed_however_many_rows_wait() {
    let _alone = ALONE.lock().await;
    let nats = Arc::new(NatsServer::start().await);
    let mut service = Service::start(&nats, Duration::ZERO).await;
    service.halt().await;
    let unwell = Arc::new(AtomicU32::new(0));
    let told = unwell.clone();
    let report = bus::Report::new(move |outcome, _| {
        told.fetch_add(u32::from(outcome.is_err()), Ordering::SeqCst);
    });
    let relay = bus::Relay::new(service.desk.clone(), service.connection.clone(), report);
    let relay = tokio::spawn(relay.run(service.stop.clone()));
    let ids: Vec<String> = (0..ROWS).map(|_| id()).collect();
    service.say_big(&ids[..1]).await;
    eventually(SOON, "the first event", async || (service.events().await.len() == 1).then_some(())).await;
    let (broker, stopped) = (nats.clone(), AtomicBool::new(false));
    on_reached(move |point| {
        if point == FailPoint::OutboxRead && !stopped.swap(true, Ordering::SeqCst) {
            broker.pause(true);
        }
        false
    });
    service.say_big(&ids[1..]).await;
    eventually(SOON, "the relay to say so", async || (unwell.load(Ordering::SeqCst) > 0).then_some(())).await;
    nats.pause(false);
    all_said_once(&service, &ids).await;
    service.stop.cancel();
    relay.await.expect("ends");
}
