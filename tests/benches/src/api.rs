//! Instances created through the API of a whole node with simulated hosts: how many a second come to run, and how long a
//! call takes under that load.

use crate::Effort;
use crate::figure::{Figure, Judged, Round, Target, Unit};
use crate::measure::{at_rate, per_second, percentile};
use anyhow::{Context, Result};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use client::{Connect, Gateway, IdempotencyKey};
use contracts::gateway::v1::CreateInstanceRequest;
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};
use stories::node::Node;

/// Instances created in one round as fast as they are taken.
const INSTANCES: usize = 4_000;
/// Calls under way at once.
const IN_FLIGHT: usize = 64;
/// Instances created at a steady rate, each call at its time whether the one before is answered or not.
const STEADY: usize = 2_500;
/// Calls a second then: what must hold.
const RATE: f64 = 500.0;
/// Together they have room for all instances.
const HOSTS: usize = 300;
/// The image that instances boot from.
pub const IMAGE: &str = "berth-small";

/// What one round showed.
struct Load {
    running_per_second: f64,
    p99: Duration,
}

/// Measures creates through the API.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let (mut rates, mut latencies) = (Vec::new(), Vec::new());
    // the first round warms up the machine, not the node: each has a new one
    for number in 0..=effort.rounds {
        let load = round(effort.amount(INSTANCES), effort.amount(STEADY)).await?;
        if number > 0 {
            rates.push(Round { ours: load.running_per_second, baseline: None });
            latencies.push(Round { ours: load.p99.as_secs_f64() * 1000.0, baseline: None });
        }
    }
    let figure = |name: &str, unit, floor, aim, rounds| Figure {
        name: name.into(),
        baseline: String::new(),
        unit,
        target: Target { judged: Judged::Ours, floor, aim },
        rounds,
    };
    Ok(vec![
        figure("create to running through the API", Unit::PerSecond, 500.0, 2000.0, rates),
        figure("p99 of the API at 500 creates a second", Unit::Milliseconds, 50.0, 20.0, latencies),
    ])
}

async fn round(count: usize, steady: usize) -> Result<Load> {
    let cloud = Cloud::start(HOSTS).await?;
    let (began, last) = (Instant::now(), cloud.until_running(count).await?);
    let mut latencies = cloud.create(0..count).await?;
    let accepted = began.elapsed();
    let all = last.await??.duration_since(began);
    eprintln!(
        "{count} instances: accepted at {:.0}/s, running at {:.0}/s; calls p50 {:.1} ms, p99 {:.1} ms",
        per_second(count, accepted),
        per_second(count, all),
        percentile(&mut latencies, 0.5).as_secs_f64() * 1000.0,
        percentile(&mut latencies, 0.99).as_secs_f64() * 1000.0
    );
    let last = cloud.until_running(steady).await?;
    let began = Instant::now();
    let mut latencies = cloud.create_steadily(count..count + steady, RATE).await?;
    let (p50, p99) = (percentile(&mut latencies, 0.5), percentile(&mut latencies, 0.99));
    let behind = last.await??.duration_since(began).as_secs_f64() - steady as f64 / RATE;
    eprintln!(
        "{steady} more at {RATE:.0}/s: calls p50 {:.1} ms, p99 {:.1} ms; the last ran {behind:.1} s after it was due",
        p50.as_secs_f64() * 1000.0,
        p99.as_secs_f64() * 1000.0
    );
    Ok(Load { running_per_second: per_second(count, all), p99 })
}

/// A node with simulated hosts and an image.
pub struct Cloud {
    /// The node.
    pub node: Node,
    /// The way to it.
    pub gateway: Gateway,
}

impl Cloud {
    /// Starts it and waits until all its hosts are up.
    pub async fn start(hosts: usize) -> Result<Self> {
        let node = Node::start(&["--simulated-hosts", &hosts.to_string(), "--log-level", "warn"]).await;
        let image = std::env::var("BERTH_TEST_IMAGE")
            .context("BERTH_TEST_IMAGE names the manifest of the small image")?;
        node.cli().ok(&["image", "import", IMAGE, "--manifest", &image, "--if-absent"]);
        let gateway = gateway_of(&node, "")?;
        wait_for_hosts(&node, hosts).await?;
        Ok(Self { node, gateway })
    }

    /// Creates instances, many at once. How long each call took.
    pub async fn create(&self, numbers: Range<usize>) -> Result<Vec<Duration>> {
        futures::stream::iter(numbers)
            .map(|number| create(&self.gateway, number))
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await
    }

    /// Creates instances at a rate, in calls a second. How long each call took, from when it was due.
    async fn create_steadily(&self, numbers: Range<usize>, rate: f64) -> Result<Vec<Duration>> {
        at_rate(rate, numbers, |number| async move { create(&self.gateway, number).await.map(drop) }).await
    }

    /// From now on: when the last of `count` instances was said to run.
    pub async fn until_running(&self, count: usize) -> Result<tokio::task::JoinHandle<Result<Instant>>> {
        let events = started(self.node.data_dir()).await?;
        // so many a second have to come at least
        let patience = Duration::from_secs(60 + count as u64 / 100);
        Ok(tokio::spawn(async move {
            let all = tokio::time::timeout(patience, all_running(events, count)).await;
            all.context("not all instances came to run")?
        }))
    }
}

/// The way to a node, as its administrator, in a tenant ("" = the usual one).
pub fn gateway_of(node: &Node, tenant: &str) -> Result<Gateway> {
    let folder = node.data_dir();
    let token = std::fs::read_to_string(folder.join("gateway/admin.token"))?;
    let connect = Connect {
        endpoint: format!("https://{}", node.address()),
        token: token.trim().to_owned(),
        tenant: tenant.to_owned(),
        ca_file: Some(folder.join("pki/ca.pem")),
        allow_plain_http: false,
        request_timeout: Duration::from_secs(60),
        attempts: 1,
    };
    Gateway::new(&connect).map_err(|failure| anyhow::anyhow!("{failure}"))
}

async fn wait_for_hosts(node: &Node, wanted: usize) -> Result<()> {
    testkit::eventually(Duration::from_secs(300), "every host to be up", async || {
        let hosts = node.cli().json(&["host", "list"]);
        let up = |host: &&serde_json::Value| host["host"]["state"] == "HOST_STATE_UP";
        (hosts["hosts"].as_array()?.iter().filter(up).count() == wanted).then_some(())
    })
    .await;
    Ok(())
}

/// One create, as a client sends it. How long its answer took.
async fn create(gateway: &Gateway, number: usize) -> Result<Duration> {
    let request = CreateInstanceRequest {
        name: format!("load-{number}"),
        image: IMAGE.into(),
        flavor: "micro".into(),
        ..CreateInstanceRequest::default()
    };
    let began = Instant::now();
    let key = IdempotencyKey::random();
    let answer = gateway.change(request, &key, async |r| gateway.instances().create_instance(r).await).await;
    answer.map_err(|failure| anyhow::anyhow!("{failure}"))?;
    Ok(began.elapsed())
}

/// What is said of instances that begin to run, heard on the broker itself: asking the API would be load as well.
async fn started(folder: std::path::PathBuf) -> Result<pull::Ordered> {
    let settings = node::settings_in_force(&folder).context("the node has settings")?;
    let broker = node::broker_settings(&settings)?;
    let connection = bus::Connection::open(&broker, "load", bus::Report::none()).await?;
    let stream = connection.jetstream().get_stream(bus::topology::EVENTS).await?;
    let config = pull::OrderedConfig {
        // the operator may not ask for one without a name
        name: Some("load".to_owned()),
        filter_subjects: vec!["evt.scheduler.v1.InstanceStarted.>".into()],
        headers_only: true,
        deliver_policy: DeliverPolicy::New,
        ..pull::OrderedConfig::default()
    };
    Ok(stream.create_consumer(config).await?.messages().await?)
}

/// When the last of `count` instances was said to run.
async fn all_running(mut events: pull::Ordered, count: usize) -> Result<Instant> {
    let mut running = HashSet::new();
    while running.len() < count {
        let event = events.next().await.context("the stream of events ended")??;
        running.insert(event.subject.to_string());
    }
    Ok(Instant::now())
}
