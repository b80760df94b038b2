//! The process dies at every point it has a name for, and is started again: every effect is there once, every event is
//! in the stream once.

mod support;

use bus::fail::FailPoint;
use std::process::{Command, Stdio};
use std::time::Duration;
use strum::IntoEnumIterator;
use support::scenario::{ALONE, Trap, lead, once, settled};
use support::{SOON, Service, TABLES, id};
use testkit::{Database, NatsServer, eventually};

const LATER: Duration = Duration::from_secs(60);

/// Work until everything is done; if it dies on the way, again.
async fn through(service: &mut Service, death: &Trap, what: &str, last: bool) {
    let before = death.fired();
    death.arm(!before);
    service.relay();
    service.runner(Duration::ZERO);
    eventually(LATER, what, async || {
        if death.fired() && !before {
            return Some(());
        }
        settled(service).await.filter(|()| !last)
    })
    .await;
    death.arm(false);
    if death.fired() && !before {
        service.drop_tasks().await;
        service.relay();
        service.runner(Duration::ZERO);
        eventually(LATER, &format!("{what}, after the restart"), async || settled(service).await).await;
    }
    service.halt().await;
}

/// A third of all points each, because three processes are quicker than one.
async fn third(of: usize) {
    let _alone = ALONE.lock().await;
    let death = Trap::new(false);
    for point in FailPoint::iter().skip(of).step_by(3) {
        lead(point, &death, bus::watchdog::PATIENCE, through).await;
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
