//! The process dies at every point it has a name for, and is started again: every effect is there once, every event is
//! in the stream once.

mod support;

use bus::fail::{FailPoint, on_reached};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use strum::IntoEnumIterator;
use support::{SOON, Service, TABLES, id};
use testkit::{Database, NatsServer, eventually};

const LATER: Duration = Duration::from_secs(60);

/// Where to die, and whether it happened.
#[derive(Clone, Default)]
struct Death {
    armed: Arc<AtomicBool>,
    fired: Arc<AtomicBool>,
    at: Arc<Mutex<Option<FailPoint>>>,
}

impl Death {
    fn new() -> Self {
        let death = Self::default();
        let hook = death.clone();
        on_reached(move |point| {
            let here = *hook.at.lock().expect("lock") == Some(point) && hook.armed.load(Ordering::SeqCst);
            if here {
                hook.fired.store(true, Ordering::SeqCst);
            }
            here
        });
        death
    }

    fn aim(&self, point: FailPoint) {
        *self.at.lock().expect("lock") = Some(point);
        self.fired.store(false, Ordering::SeqCst);
    }

    fn fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }
}

async fn settled(service: &Service) -> Option<()> {
    let told = service.told().await.len();
    let done = service.effects().await.len() == told
        && service.seen().await.len() == told
        && bus::outbox_size(service.desk.store()).await.expect("size").waiting == 0;
    if !done {
        return None;
    }
    let there: Vec<String> = service.stream().await.iter().map(|e| e.id.to_string()).collect();
    service.said().await.iter().all(|id| there.contains(id)).then_some(())
}

/// Work until everything is done; if it dies on the way, again.
async fn through(service: &mut Service, death: &Death, what: &str) {
    let before = death.fired();
    death.armed.store(!before, Ordering::SeqCst);
    service.relay();
    service.runner(Duration::ZERO);
    eventually(
        LATER,
        what,
        async || {
            if death.fired() && !before { Some(()) } else { settled(service).await }
        },
    )
    .await;
    death.armed.store(false, Ordering::SeqCst);
    if death.fired() && !before {
        service.drop_tasks().await;
        service.relay();
        service.runner(Duration::ZERO);
        eventually(LATER, &format!("{what}, after the restart"), async || settled(service).await).await;
    }
    service.halt().await;
}

fn once(what: &str, point: FailPoint, mut list: Vec<String>) {
    let length = list.len();
    list.sort();
    list.dedup();
    assert_eq!(length, list.len(), "{point}: {what}, each once");
}

async fn dies_at(point: FailPoint, death: &Death) {
    let mut nats = NatsServer::start().await;
    let mut service = Service::start(&nats, Duration::ZERO).await;
    service.halt().await;
    death.aim(point);

    // many at once, some alone, one that fails at first
    let failing = id();
    service.script.fail(&failing, 2, "transient");
    let mut ids: Vec<String> = (0..120).map(|_| id()).collect();
    ids.push(failing);
    service.tell_all(&ids).await;
    through(&mut service, death, &format!("{point}: commands")).await;
    for _ in 0..3 {
        service.tell(&id()).await;
    }
    through(&mut service, death, &format!("{point}: single commands")).await;

    // a message inside the stream goes missing, and the server forgets the ids it has seen
    let jetstream = service.connection.jetstream().clone();
    let stream = jetstream.get_stream("EVENTS").await.expect("stream");
    let mut config = stream.cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    jetstream.update_stream(&config).await.expect("a short memory");
    stream.delete_message(5).await.expect("deleted");
    nats.kill();
    nats.up().await;
    through(&mut service, death, &format!("{point}: a hole")).await;

    jetstream.delete_stream("EVENTS").await.expect("deleted");
    through(&mut service, death, &format!("{point}: a stream made anew")).await;

    assert!(death.fired(), "{point} was never reached");
    once("effects", point, service.effects().await);
    once("events handled", point, service.seen().await);
    once("events in the stream", point, service.stream().await.iter().map(|e| e.id.to_string()).collect());
    assert!(service.refills().await.len() >= 2, "{point}: both losses were told");
    service.end().await;
}

/// A third of all points each, because three processes are quicker than one.
async fn third(of: usize) {
    // the points have one hook for the whole process
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let death = Death::new();
    for point in FailPoint::iter().skip(of).step_by(3) {
        dies_at(point, &death).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_end_at_every_third_point() {
    third(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_end_at_every_third_point_from_the_second() {
    third(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_end_at_every_third_point_from_the_third() {
    third(2).await;
}

/// A process of its own, killed as by `kill -9` at some points; another goes on with its database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed() {
    if let (Ok(database), Ok(broker)) =
        (std::env::var("BERTH_CHILD_DATABASE"), std::env::var("BERTH_CHILD_BROKER"))
    {
        let database = Database::open(&database, TABLES).await;
        let settings = bus::BusSettings { url: broker, ..bus::BusSettings::default() };
        let connection =
            bus::Connection::open(&settings, "child", bus::Report::none()).await.expect("broker");
        let _service = Service::with(database, connection, Duration::ZERO);
        std::future::pending::<()>().await;
    }
    for point in [FailPoint::Handled, FailPoint::Committed, FailPoint::Published, FailPoint::MarkWritten] {
        let nats = NatsServer::start().await;
        let mut service = Service::start(&nats, Duration::ZERO).await;
        service.halt().await;
        let ids: Vec<String> = (0..60).map(|_| id()).collect();
        service.tell_all(&ids).await;
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "processes_that_are_killed", "--nocapture"])
            .env("BERTH_CHILD_DATABASE", &service.database.url)
            .env("BERTH_CHILD_BROKER", nats.url())
            .env("BERTH_FAIL_POINT", point.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let status =
            eventually(SOON, "the child to die", async || child.try_wait().expect("our own child")).await;
        assert!(!status.success(), "{point}: {status}");
        service.relay();
        service.runner(Duration::ZERO);
        eventually(LATER, &format!("{point}: all done"), async || settled(&service).await).await;
        once("effects", point, service.effects().await);
        once("events handled", point, service.seen().await);
        once("events", point, service.stream().await.iter().map(|e| e.id.to_string()).collect());
        service.end().await;
    }
}
