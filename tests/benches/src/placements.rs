//! Durable placements: from commands in the stream to decisions, reservations, events and orders that are committed and
//! acknowledged by the broker, over 10,000 hosts.

use crate::Effort;
use crate::figure::{Figure, Judged, Round, Target, Unit};
use crate::measure::per_second;
use anyhow::{Context as _, Result};
use bus::{Cause, Desk, Handle, HandleObject, Relay, Report, RetryPolicy, Runner};
use contracts::Carried;
use contracts::common::v1::{Artifact, ArtifactRole, DiskFormat, Driver, Resources};
use contracts::host_driver::v1::{DriverReport, HostReport, HostReported};
use contracts::scheduler::v1::{CreateInstance, InstanceSpec};
use contracts::storage::v1::{Image, ImagePhase};
use kernel::{HostId, ImageId, InstanceId, OperationId, SystemClock};
use scheduler::handlers::{Context, OnHostReported, OnImage};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Database, NatsServer, eventually};
use tokio_util::sync::CancellationToken;

const HOSTS: usize = 10_000;
/// Commands of a round.
const CREATES: usize = 5_000;
/// Messages in one unit of work, as the runner takes them.
const BATCH: usize = 100;
const TENANT: &str = "acme";
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures on SQLite, and on PostgreSQL where tests have one.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = vec![measured("SQLite", Database::sqlite(scheduler::MIGRATIONS).await, effort).await?];
    if std::env::var_os("BERTH_TEST_POSTGRES").is_some() {
        let database = Database::postgres(scheduler::MIGRATIONS).await;
        figures.push(measured("PostgreSQL", database, effort).await?);
    }
    Ok(figures)
}

async fn measured(name: &str, database: Database, effort: Effort) -> Result<Figure> {
    let nats = NatsServer::start().await;
    let desk = Desk::new(scheduler::SERVICE.name, database.store.clone(), Arc::new(SystemClock));
    let settings = scheduler::Settings::default();
    let meter = opentelemetry::global::meter("bench");
    let context = scheduler::context(&settings, database.store.clone(), &meter);
    let image = ground(&desk, &context, effort.amount(HOSTS)).await?;
    let gateway = Database::sqlite(&[]).await;
    let asking = Desk::new("gateway", gateway.store.clone(), Arc::new(SystemClock));
    let mut rounds = Vec::new();
    for round in 0..=effort.rounds {
        let count = effort.amount(CREATES);
        ask(&asking, &nats, image, round, count).await?;
        let rate = place(&desk, &context, &nats, count).await?;
        // the first warms up
        if round > 0 {
            rounds.push(Round { ours: rate, baseline: None });
        }
    }
    gateway.remove().await;
    database.remove().await;
    Ok(Figure {
        name: format!("durable placements, whole path, 10,000 hosts, {name}"),
        baseline: String::new(),
        unit: Unit::PerSecond,
        target: Target { judged: Judged::Ours, floor: 1_000.0, aim: 5_000.0 },
        rounds,
    })
}

/// Hosts and an image, through the scheduler's own handlers.
async fn ground(desk: &Desk, context: &Context, hosts: usize) -> Result<ImageId> {
    let id = ImageId::new();
    let cause = || Cause::own("bench").for_tenant(TENANT);
    let mut work = desk.begin(cause()).await?;
    let imported = Carried { object: image(id), bytes: Default::default(), operations: Vec::new() };
    OnImage.handle(&mut work, imported).await?;
    work.commit().await?;
    let numbers: Vec<usize> = (1..=hosts).collect();
    for batch in numbers.chunks(BATCH) {
        let mut work = desk.begin(cause()).await?;
        for number in batch {
            let reported = HostReported { report: Some(report(*number)) };
            OnHostReported(context.clone()).handle(&mut work, reported).await?;
        }
        work.commit().await?;
    }
    Ok(id)
}

/// Commands into the stream, as the gateway sends them.
async fn ask(desk: &Desk, nats: &NatsServer, image: ImageId, round: usize, count: usize) -> Result<()> {
    let stop = CancellationToken::new();
    let relay = Relay::new(desk.clone(), nats.connect().await, Report::none());
    let relay = tokio::spawn(relay.run(stop.clone()));
    let numbers: Vec<usize> = (0..count).collect();
    for batch in numbers.chunks(BATCH) {
        let mut work = desk.begin(Cause::own("gateway").for_tenant(TENANT)).await?;
        for number in batch {
            work.tell(&create(image, format!("i-{round}-{number}")));
        }
        work.commit().await?;
    }
    empty(desk).await;
    stop.cancel();
    relay.await.context("the relay")
}

/// Nothing waits in the outbox any more: all of it was acknowledged.
async fn empty(desk: &Desk) {
    eventually(PATIENCE, "an empty outbox", async || {
        (bus::outbox_size(desk.store()).await.ok()?.waiting == 0).then_some(())
    })
    .await;
}

/// Placements per second until all of `count` are placed and said.
async fn place(desk: &Desk, context: &Context, nats: &NatsServer, count: usize) -> Result<f64> {
    let placed = async || -> Result<i64> {
        let sql = "SELECT COUNT(*) FROM instances WHERE reserved = 1";
        Ok(sqlx::query_scalar(sql).fetch_one(desk.store().reader()).await?)
    };
    let before = placed().await?;
    let (stop, connection) = (CancellationToken::new(), nats.connect().await);
    let subscriptions = scheduler::subscriptions(context);
    let runner =
        Runner::new(desk.clone(), connection.clone(), subscriptions, RetryPolicy::default(), Report::none());
    let relay = Relay::new(desk.clone(), connection, Report::none());
    let began = Instant::now();
    let tasks = [tokio::spawn(runner.run(stop.clone())), tokio::spawn(relay.run(stop.clone()))];
    let all = before + i64::try_from(count)?;
    eventually(PATIENCE, "all instances to be placed", async || (placed().await.ok()? >= all).then_some(()))
        .await;
    empty(desk).await;
    let took = began.elapsed();
    stop.cancel();
    for task in tasks {
        task.await.context("a task of the service")?;
    }
    Ok(per_second(count, took))
}

fn report(number: usize) -> HostReport {
    HostReport {
        host_id: HostId::from_u128(number as u128).to_string(),
        name: format!("host-{number:05}"),
        agent_id: format!("agent-{number:05}"),
        revision: 1,
        capacity: Some(Resources { vcpus_milli: 64_000, memory_bytes: 256 << 30, disk_bytes: 4 << 40 }),
        labels: [("zone".to_owned(), format!("z{}", number % 3))].into(),
        drivers: vec![DriverReport {
            driver: Driver::Simulated.into(),
            version: "1".into(),
            acceleration: "none".into(),
            direct_kernel_boot: true,
            disk_boot: true,
            guest_agent: true,
            console: true,
            pause: true,
        }],
        architecture: "x86_64".into(),
        ..HostReport::default()
    }
}

fn image(id: ImageId) -> Image {
    Image {
        id: id.to_string(),
        tenant: TENANT.into(),
        name: "debian".into(),
        revision: 1,
        phase: ImagePhase::Ready.into(),
        artifacts: vec![Artifact {
            role: ArtifactRole::Disk.into(),
            sha256: "ab".repeat(32),
            size_bytes: 1 << 30,
            format: DiskFormat::Qcow2.into(),
            virtual_size_bytes: 2 << 30,
        }],
        architecture: "x86_64".into(),
        guest_agent: true,
        min_disk_bytes: 2 << 30,
        ..Image::default()
    }
}

fn create(image: ImageId, name: String) -> CreateInstance {
    CreateInstance {
        instance_id: InstanceId::new().to_string(),
        operation_id: OperationId::new().to_string(),
        tenant: TENANT.into(),
        name,
        spec: Some(InstanceSpec {
            image_id: image.to_string(),
            image_name: "debian".into(),
            resources: Some(Resources { vcpus_milli: 2000, memory_bytes: 4 << 30, disk_bytes: 10 << 30 }),
            ..InstanceSpec::default()
        }),
    }
}
