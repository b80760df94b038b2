//! A connection that is made again: what was asked of the server over the one before may never be answered.

mod support;

use async_nats::jetstream::consumer::PullConsumer;
use bus::{BusSettings, Connection, Report};
use std::time::Duration;
use support::line::Line;
use support::{SOON, Service, TABLES, id};
use testkit::{Database, NatsServer, eventually};

/// What the client asks on its own when it has a connection again.
const ASKS: &str = "$JS.API.CONSUMER.INFO.";
/// Where somebody listens who says nothing.
const NOWHERE: &str = "$JS.APX.CONSUMER.INFO.";

#[tokio::test]
async fn messages_come_though_nobody_answers_how_the_reader_stands() {
    let nats = NatsServer::start().await;
    let line = Line::to(&nats.url()).await;
    let settings = BusSettings { url: line.url(), ..BusSettings::default() };
    let connection = Connection::open(&settings, "reader", Report::none()).await.expect("connected");
    let service = Service::with(Database::sqlite(TABLES).await, connection, Duration::ZERO);
    service.tell(&id()).await;
    eventually(SOON, "the first effect", async || (service.effects().await.len() == 1).then_some(())).await;

    let direct = nats.connect().await;
    let silence = direct.client().subscribe(format!("{NOWHERE}>")).await.expect("subscribed");
    line.divert(ASKS, NOWHERE);
    line.down();
    // who looks finds that nobody waits: the server forgets what was asked of it
    let stream = direct.jetstream().get_stream("CMD_SCHEDULER").await.expect("the queue");
    eventually(SOON, "the server to forget", async || {
        let mut reader: PullConsumer = stream.get_consumer("scheduler").await.expect("the reader");
        (reader.info().await.expect("told").num_waiting == 0).then_some(())
    })
    .await;
    line.up();
    service.tell(&id()).await;
    eventually(SOON, "the second effect", async || (service.effects().await.len() == 2).then_some(())).await;
    drop(silence);
    service.end().await;
}
