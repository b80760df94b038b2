//! A small service on the bus: a command becomes a row and an event. Beside it the same server, bare.

use anyhow::{Context, Result};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use async_trait::async_trait;
use bus::{
    Cause, Connection, Desk, Failure, Handle, Relay, Report, RetryPolicy, Runner, Subscriptions, Work,
};
use contracts::scheduler::v1::{Instance, InstanceChanged, StartInstance};
use futures::StreamExt;
use kernel::{InstanceId, SystemClock};
use std::sync::Arc;
use std::time::Duration;
use store::MigrationFile;
use testkit::{Database, NatsServer, eventually};
use tokio_util::sync::CancellationToken;

const TABLES: &[MigrationFile] = &[MigrationFile {
    version: 1000,
    name: "instances",
    sql: "CREATE TABLE instances (id TEXT PRIMARY KEY, revision BIGINT NOT NULL)",
}];

/// Commands and events written in one transaction when they are prepared.
const PREPARED: usize = 1_000;

async fn keep(work: &mut Work, id: &str) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO instances (id, revision) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET revision = instances.revision + 1",
    )
    .bind(id)
    .execute(work.tx())
    .await?;
    Ok(())
}

fn changed(id: String) -> InstanceChanged {
    InstanceChanged { instance: Some(Instance { id, ..Instance::default() }), operations: vec![] }
}

struct OnStart;

#[async_trait]
impl Handle<StartInstance> for OnStart {
    async fn handle(&self, work: &mut Work, message: StartInstance) -> Result<(), Failure> {
        keep(work, &message.instance_id).await?;
        work.say(&changed(message.instance_id));
        Ok(())
    }
}

/// The service, with a database of its own.
pub struct Service {
    /// Its broker.
    pub connection: Connection,
    /// Its way in and out.
    pub desk: Desk,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _database: Database,
}

impl Service {
    /// On a server, doing nothing yet.
    pub async fn on(nats: &NatsServer) -> Self {
        let database = Database::sqlite(TABLES).await;
        let desk = Desk::new("scheduler", database.store.clone(), Arc::new(SystemClock));
        let connection = nats.connect().await;
        Self { connection, desk, stop: CancellationToken::new(), tasks: Vec::new(), _database: database }
    }

    /// Publishes what it says.
    pub fn relay(&mut self) {
        let relay = Relay::new(self.desk.clone(), self.connection.clone(), Report::none());
        self.tasks.push(tokio::spawn(relay.run(self.stop.clone())));
    }

    /// Obeys.
    pub fn runner(&mut self) {
        let subscriptions = Subscriptions::new("scheduler").on::<StartInstance>(OnStart);
        let retry = RetryPolicy::default();
        let runner =
            Runner::new(self.desk.clone(), self.connection.clone(), subscriptions, retry, Report::none());
        self.tasks.push(tokio::spawn(runner.run(self.stop.clone())));
    }

    /// Commands into the outbox.
    pub async fn tell(&self, count: usize) -> Result<()> {
        self.prepare(count, |work, instance_id| {
            work.tell(&StartInstance { instance_id, ..StartInstance::default() });
        })
        .await
    }

    /// Events into the outbox.
    pub async fn say(&self, count: usize) -> Result<()> {
        self.prepare(count, |work, id| work.say(&changed(id))).await
    }

    async fn prepare(&self, count: usize, each: impl Fn(&mut Work, String)) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let mut work = self.desk.begin(Cause::own("bench").for_tenant("acme")).await?;
            for _ in 0..left.min(PREPARED) {
                each(&mut work, InstanceId::new().to_string());
            }
            work.commit().await?;
            left = left.saturating_sub(PREPARED);
        }
        Ok(())
    }

    /// Waits until as many of its events as this are in the stream and acknowledged.
    pub async fn until_said(&self, count: usize) -> Result<()> {
        let acknowledged = "SELECT COUNT(*) FROM outbox WHERE stream = 'EVENTS' AND stream_sequence > 0";
        eventually(Duration::from_secs(600), "events acknowledged", async || {
            let size = bus::outbox_size(self.desk.store()).await.ok()?;
            if size.waiting > 0 || size.rows < count as i64 {
                return None;
            }
            let said: i64 =
                sqlx::query_scalar(acknowledged).fetch_one(self.desk.store().reader()).await.ok()?;
            (said >= count as i64).then_some(())
        })
        .await;
        Ok(())
    }

    /// Ends in order.
    pub async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// A bare message of the size that an event of ours has.
pub fn bare_message() -> (String, PublishMessage) {
    let id = InstanceId::new().to_string();
    let event = changed(id.clone());
    let cause = Cause::own("bench").for_tenant("acme");
    let message = PublishMessage::build()
        .message_id(kernel::MessageId::new().to_string())
        .header("Correlation-Id", cause.correlation.to_string().as_str())
        .header("Actor", "bench")
        .header("Tenant", "acme")
        .header("Occurred-At", "2026-01-01T00:00:00.000000Z")
        .payload(kernel::Message::to_bytes(&event).into());
    (format!("evt.scheduler.v1.InstanceChanged.acme.{id}"), message)
}

/// Publishes bare messages, at most so many unacknowledged at once.
pub async fn publish_bare(connection: &Connection, count: usize, in_flight: usize) -> Result<()> {
    let mut acks = std::collections::VecDeque::with_capacity(in_flight);
    for _ in 0..count {
        if acks.len() >= in_flight {
            let ack: async_nats::jetstream::context::PublishAckFuture = acks.pop_front().context("an ack")?;
            ack.await?;
        }
        let (subject, message) = bare_message();
        acks.push_back(connection.jetstream().send_publish(subject, message).await?);
    }
    for ack in acks {
        ack.await?;
    }
    Ok(())
}

/// Reads the log from its beginning, in order, as fast as it comes. Answers how many messages there were.
pub async fn read_bare(connection: &Connection) -> Result<usize> {
    let stream = connection.jetstream().get_stream_no_info("EVENTS").await?;
    let config = pull::OrderedConfig { deliver_policy: DeliverPolicy::All, ..pull::OrderedConfig::default() };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    let mut read = 0;
    while let Some(message) = messages.next().await {
        read += 1;
        if message?.info().map_err(|e| anyhow::anyhow!(e.to_string()))?.pending == 0 {
            break;
        }
    }
    Ok(read)
}
