//! Instances created through the API of a whole node with simulated hosts: how many a second come to run, and how long a
//! call takes under that load.

use crate::Effort;
use crate::figure::{Figure, Judged, Round, Target, Unit};
use crate::measure::{per_second, percentile};
use anyhow::{Context, Result};
use async_nats::jetstream::consumer::pull;
use berth::client::{Connect, Gateway, IdempotencyKey};
use contracts::gateway::v1::CreateInstanceRequest;
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use stories::node::Node;

/// Instances created in one round.
const INSTANCES: usize = 4_000;
/// Calls under way at once.
const IN_FLIGHT: usize = 64;
/// Hosts; together they have room for all instances.
const HOSTS: &str = "200";
const IMAGE: &str = "berth-small";
/// How long a round may take in all.
const PATIENCE: Duration = Duration::from_secs(300);

/// What one round showed.
struct Load {
    running_per_second: f64,
    p99: Duration,
}

/// Measures creates through the API.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let count = effort.amount(INSTANCES);
    let (mut rates, mut latencies) = (Vec::new(), Vec::new());
    // the first round warms up the machine, not the node: each has a new one
    for number in 0..=effort.rounds {
        let load = round(count).await?;
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
        figure("p99 of the API while instances are created", Unit::Milliseconds, 50.0, 20.0, latencies),
    ])
}

async fn round(count: usize) -> Result<Load> {
    let node = Node::start(&["--simulated-hosts", HOSTS, "--log-level", "warn"]).await;
    let image = std::env::var("BERTH_TEST_IMAGE")
        .context("BERTH_TEST_IMAGE names the manifest of the small image")?;
    node.cli().ok(&["image", "import", IMAGE, "--manifest", &image, "--if-absent"]);
    let gateway = gateway_of(&node)?;
    wait_for_hosts(&node).await?;
    let events = started(node.data_dir()).await?;
    let running = tokio::spawn(all_running(events, count));
    let began = Instant::now();
    let mut latencies: Vec<Duration> = futures::stream::iter(0..count)
        .map(|number| create(&gateway, number))
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await?;
    let accepted = began.elapsed();
    let last =
        tokio::time::timeout(PATIENCE, running).await.context("not all instances came to run")???;
    let all = last.duration_since(began);
    let p99 = percentile(&mut latencies, 0.99);
    eprintln!(
        "{count} instances: accepted at {:.0}/s, running at {:.0}/s; calls p50 {:.1} ms, p99 {:.1} ms",
        per_second(count, accepted),
        per_second(count, all),
        percentile(&mut latencies, 0.5).as_secs_f64() * 1000.0,
        p99.as_secs_f64() * 1000.0
    );
    Ok(Load { running_per_second: per_second(count, all), p99 })
}

fn gateway_of(node: &Node) -> Result<Gateway> {
    let folder = node.data_dir();
    let token = std::fs::read_to_string(folder.join("gateway/admin.token"))?;
    let connect = Connect {
        endpoint: format!("https://{}", node.address()),
        token: token.trim().to_owned(),
        tenant: String::new(),
        ca_file: Some(folder.join("pki/ca.pem")),
        allow_plain_http: false,
        request_timeout: Duration::from_secs(60),
        attempts: 1,
    };
    Gateway::new(&connect).map_err(|failure| anyhow::anyhow!("{failure}"))
}

async fn wait_for_hosts(node: &Node) -> Result<()> {
    let wanted: usize = HOSTS.parse()?;
    testkit::eventually(PATIENCE, "every host to be up", async || {
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
    let settings = berth::node::settings_in_force(&folder).context("the node has settings")?;
    let broker = berth::node::broker_settings(&settings)?;
    let connection = bus::Connection::open(&broker, "load", bus::Report::none()).await?;
    let stream = connection.jetstream().get_stream(bus::topology::EVENTS).await?;
    let config = pull::OrderedConfig {
        filter_subjects: vec!["evt.scheduler.v1.InstanceStarted.>".into()],
        headers_only: true,
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
