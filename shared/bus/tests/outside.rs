//! What other systems send is taken once, wherever the process dies, and what cannot be taken is kept with its reason.

use async_trait::async_trait;
use bus::fail::{FailPoint, on_reached};
use bus::{Connection, Desk, Failure, FromOutside, Outside, Report, Sent, Work, dead};
use contracts::gateway::v1::ExternalEventReceived;
use kernel::SystemClock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{MigrationFile, StoreError};
use testkit::{Database, NatsServer, eventually};
use tokio_util::sync::CancellationToken;

const TABLES: &[MigrationFile] =
    &[MigrationFile { version: 1000, name: "taken", sql: "CREATE TABLE taken (what TEXT PRIMARY KEY);" }];
const SOON: Duration = Duration::from_secs(20);

/// Takes each text once; cannot take "bad".
struct Taker;

#[async_trait]
impl FromOutside for Taker {
    async fn take(&self, work: &mut Work, sent: &Sent) -> Result<(), Failure> {
        let what = String::from_utf8_lossy(&sent.payload).into_owned();
        let done = sqlx::query("INSERT INTO taken (what) VALUES ($1) ON CONFLICT (what) DO NOTHING")
            .bind(&what)
            .execute(work.tx())
            .await?;
        if what == "bad" {
            return Err(Failure::Poison("bad is not taken".into()));
        }
        if done.rows_affected() > 0 {
            work.say(&ExternalEventReceived { key: what, ..ExternalEventReceived::default() });
        }
        Ok(())
    }

    async fn refuse(&self, work: &mut Work, sent: &Sent, _: &str) -> Result<(), StoreError> {
        let what = format!("refused {}", sent.tenant());
        sqlx::query("INSERT INTO taken (what) VALUES ($1) ON CONFLICT (what) DO NOTHING")
            .bind(what)
            .execute(work.tx())
            .await?;
        Ok(())
    }
}

struct Running {
    /// What it said of itself when it was not well.
    unwell: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn run(desk: &Desk, connection: &Connection) -> Running {
    let stop = CancellationToken::new();
    let unwell: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = unwell.clone();
    let report = Report::new(move |outcome, detail| {
        if outcome.is_err() {
            heard.lock().expect("lock").push(detail);
        }
    });
    let outside = Outside::new(desk.clone(), connection.clone(), Taker, report)
        .coming_again_after(Duration::from_secs(1))
        .with_patience(Duration::from_secs(2));
    let task = tokio::spawn(outside.run(stop.clone()));
    Running { unwell, stop, task }
}

async fn taken(desk: &Desk) -> Vec<String> {
    sqlx::query_scalar("SELECT what FROM taken ORDER BY what")
        .fetch_all(desk.store().reader())
        .await
        .expect("rows")
}

async fn said(desk: &Desk) -> i64 {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM outbox WHERE subject LIKE 'evt.gateway.v1.ExternalEventReceived.acme.%'",
    )
    .fetch_one(desk.store().reader())
    .await
    .expect("a count")
}

async fn left(connection: &Connection) -> u64 {
    let stream = connection.jetstream().get_stream(bus::topology::OUTSIDE).await.expect("the stream");
    stream.cached_info().state.messages
}

async fn send(connection: &Connection, subject: &str, what: &str) {
    let sent =
        connection.jetstream().publish(subject.to_owned(), what.to_owned().into()).await.expect("sent");
    sent.await.expect("kept");
}

#[tokio::test]
async fn wherever_the_process_dies_or_hangs_each_message_has_its_effect_once() {
    let aim: Arc<Mutex<Option<FailPoint>>> = Arc::default();
    let fired = Arc::new(AtomicBool::new(false));
    let (at, hit) = (aim.clone(), fired.clone());
    on_reached(move |point| {
        let here = *at.lock().expect("lock") == Some(point) && !hit.load(Ordering::SeqCst);
        if here {
            hit.store(true, Ordering::SeqCst);
        }
        here
    });
    let nats = NatsServer::start().await;
    let connection = nats.connect().await;
    let points = [
        FailPoint::Received,
        FailPoint::Handled,
        FailPoint::OutboxWritten,
        FailPoint::Committed,
        FailPoint::Acknowledged,
    ];
    let ways = points.into_iter().flat_map(|point| [(point, true), (point, false)]);
    for (point, dies) in ways {
        let database = Database::sqlite(TABLES).await;
        let desk = Desk::new("gateway", database.store.clone(), Arc::new(SystemClock));
        // sent while nobody listens
        for n in 0..20 {
            send(&connection, "ext.acme.orders", &format!("{point} {n}")).await;
        }
        fired.store(false, Ordering::SeqCst);
        *aim.lock().expect("lock") = Some(point);
        let first = run(&desk, &connection);
        eventually(SOON, &format!("{point} to be reached"), async || {
            fired.load(Ordering::SeqCst).then_some(())
        })
        .await;
        let second = if dies {
            first.task.abort();
            let _ = first.task.await;
            run(&desk, &connection)
        } else {
            first
        };
        eventually(SOON, &format!("everything after {point}"), async || {
            (taken(&desk).await.len() == 20 && left(&connection).await == 0).then_some(())
        })
        .await;
        assert_eq!(said(&desk).await, 20, "{point}: each is said once");
        let unwell = second.unwell.lock().expect("lock").clone();
        let named = unwell.iter().any(|detail| detail.contains("hung for") && detail.contains("ext.acme."));
        assert_eq!(named, !dies, "{point}: {unwell:?}");
        let subjects: Vec<String> = sqlx::query_scalar("SELECT subject FROM outbox ORDER BY seq")
            .fetch_all(desk.store().reader())
            .await
            .expect("rows");
        let sent: Vec<String> =
            (0..20).map(|n| format!("evt.gateway.v1.ExternalEventReceived.acme.{point}_{n}")).collect();
        assert_eq!(subjects, sent, "{point}: in the order in which they were sent");
        second.stop.cancel();
        second.task.await.expect("it ends in order");
    }
}

#[tokio::test]
async fn what_cannot_be_taken_is_a_dead_letter_without_its_headers() {
    let nats = NatsServer::start().await;
    let connection = nats.connect().await;
    let database = Database::sqlite(TABLES).await;
    let desk = Desk::new("gateway", database.store.clone(), Arc::new(SystemClock));
    send(&connection, "ext.acme.orders", "good").await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Dead-Reason", "none");
    headers.insert("X-Other", "1");
    let context = connection.jetstream();
    let sent = context.publish_with_headers("ext.acme.orders", headers, "bad".into()).await.expect("sent");
    sent.await.expect("kept");
    send(&connection, "ext.acme.orders", "good too").await;
    let running = run(&desk, &connection);
    let relay = bus::Relay::new(desk.clone(), connection.clone(), Report::none());
    let relaying = tokio::spawn(relay.run(running.stop.clone()));
    let letters = eventually(SOON, "a dead letter", async || {
        Some(dead::list(&connection, 0, 10).await.expect("a list")).filter(|letters| !letters.is_empty())
    })
    .await;
    let letter = &letters[0];
    assert_eq!((letter.subject.as_str(), letter.reason.as_str()), ("ext.acme.orders", "bad is not taken"));
    assert_eq!((letter.payload.as_ref(), letter.consumer.as_str()), (&b"bad"[..], "gateway"));
    assert_eq!(
        taken(&desk).await,
        ["good", "good too", "refused acme"],
        "what the refused one wrote is undone"
    );
    eventually(SOON, "an empty stream", async || (left(&connection).await == 0).then_some(())).await;
    running.stop.cancel();
    running.task.await.expect("it ends in order");
    relaying.await.expect("it ends in order");
}

#[tokio::test]
async fn a_full_stream_says_no_to_the_sender() {
    let nats = NatsServer::start().await;
    let limits = bus::StreamLimits { outside_bytes: 64 << 10, ..bus::StreamLimits::default() };
    let settings = bus::BusSettings { limits, ..nats.settings() };
    let connection = Connection::open(&settings, "test", Report::none()).await.expect("our own server");
    let mut refused = None;
    for _ in 0..20 {
        let sent =
            connection.jetstream().publish("ext.acme.a", vec![b'x'; 8 << 10].into()).await.expect("sent");
        if let Err(error) = sent.await {
            refused = Some(error.to_string());
            break;
        }
    }
    assert!(refused.expect("refused at last").contains("maximum bytes exceeded"));
    assert!(left(&connection).await > 0, "what was taken is kept");
}
