//! Work that leads through every step there is, with everything that may get lost on the way.

use super::{Service, id};
use bus::fail::{FailPoint, on_reached};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::NatsServer;

/// The points have one hook for the whole process.
pub static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Where a task is to stop, and whether it did.
#[derive(Clone, Default)]
pub struct Trap {
    armed: Arc<AtomicBool>,
    fired: Arc<AtomicBool>,
    at: Arc<Mutex<Option<FailPoint>>>,
    only_once: bool,
}

impl Trap {
    /// Every task that gets there stops, as when a process dies; or only the first.
    pub fn new(only_once: bool) -> Self {
        let trap = Self { only_once, ..Self::default() };
        let hook = trap.clone();
        on_reached(move |point| {
            let here = *hook.at.lock().expect("lock") == Some(point) && hook.armed.load(Ordering::SeqCst);
            here && (!hook.fired.swap(true, Ordering::SeqCst) || !hook.only_once)
        });
        trap
    }

    pub fn aim(&self, point: FailPoint) {
        *self.at.lock().expect("lock") = Some(point);
        self.fired.store(false, Ordering::SeqCst);
    }

    pub fn arm(&self, armed: bool) {
        self.armed.store(armed, Ordering::SeqCst);
    }

    pub fn fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }
}

/// Everything that was told is done, and all that was said is in the stream.
pub async fn settled(service: &Service) -> Option<()> {
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

pub fn once(what: &str, point: FailPoint, mut list: Vec<String>) {
    let length = list.len();
    list.sort();
    list.dedup();
    assert_eq!(length, list.len(), "{point}: {what}, each once");
}

/// Leads a service past every point; `go` makes it work until everything is done, or, the last time, until the trap has
/// fired.
pub async fn lead(
    point: FailPoint,
    trap: &Trap,
    patience: Duration,
    go: impl AsyncFn(&mut Service, &Trap, &str, bool),
) {
    let mut nats = NatsServer::start().await;
    let mut service = Service::start(&nats, Duration::ZERO).await;
    service.halt().await;
    service.times = (patience, Duration::from_millis(300));
    trap.aim(point);

    // many at once, some alone, one that fails at first
    let failing = id();
    service.script.fail(&failing, 2, "transient");
    let mut ids: Vec<String> = (0..120).map(|_| id()).collect();
    ids.push(failing);
    service.tell_all(&ids).await;
    go(&mut service, trap, &format!("{point}: commands"), false).await;

    // the newest event is in the stream, and nobody marked it
    let mut tx = service.desk.store().begin().await.expect("tx");
    for statement in [
        "UPDATE relay_stream SET last_sequence = last_sequence - 1 WHERE stream = 'EVENTS'",
        "UPDATE outbox SET stream_sequence = 0 WHERE stream = 'EVENTS' AND stream_sequence =
         (SELECT MAX(stream_sequence) FROM outbox WHERE stream = 'EVENTS')",
    ] {
        sqlx::query(statement).execute(&mut *tx).await.expect("unmark");
    }
    tx.commit().await.expect("commit");
    for _ in 0..3 {
        service.tell(&id()).await;
    }
    go(&mut service, trap, &format!("{point}: single commands"), false).await;

    // a message inside the stream goes missing, and the server forgets the ids it has seen
    let jetstream = service.connection.jetstream().clone();
    let stream = jetstream.get_stream("EVENTS").await.expect("stream");
    let mut config = stream.cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    jetstream.update_stream(&config).await.expect("a short memory");
    stream.delete_message(5).await.expect("deleted");
    nats.kill();
    nats.up().await;
    go(&mut service, trap, &format!("{point}: a hole"), false).await;

    jetstream.delete_stream("EVENTS").await.expect("deleted");
    go(&mut service, trap, &format!("{point}: a stream made anew"), false).await;

    // what is done now and then
    if !trap.fired() {
        service.tell(&id()).await;
        go(&mut service, trap, &format!("{point}: quiet"), true).await;
    }

    assert!(trap.fired(), "{point} was never reached");
    once("effects", point, service.effects().await);
    once("events handled", point, service.seen().await);
    once("events in the stream", point, service.stream().await.iter().map(|e| e.id.to_string()).collect());
    assert!(service.refills().await.len() >= 2, "{point}: both losses were told");
    let counted: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM attempts")
        .fetch_one(service.desk.store().reader())
        .await
        .expect("counted");
    assert_eq!(counted, 0, "{point}: what had its effect is no attempt, however often it comes");
    service.end().await;
}
