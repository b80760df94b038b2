//! Objects of declared kinds: how many are taken on through the API, how long lists take, and how long a question does.

use crate::Effort;
use crate::api::{Cloud, IMAGE, gateway_of};
use crate::figure::{Figure, Judged, Round, Target, Unit};
use crate::measure::{at_rate, per_second, percentile, timed};
use anyhow::{Context, Result};
use client::{Gateway, IdempotencyKey};
use contracts::Object as _;
use contracts::gateway::v1::{CreateInstanceRequest, PreviewInstanceRequest};
use contracts::scheduler::v1::{CreateSshKeyRequest, SshKey};
use futures::{StreamExt as _, TryStreamExt as _};
use objects::{Filter, Order, Query, Row, page, put};
use prost::Message as _;
use std::time::Duration;
use testkit::Database;

/// Objects created in one round. No tenant may have more than a thousand of the kind.
const CREATED: usize = 4_000;
const OF_A_TENANT: usize = 900;
/// Calls under way at once.
const IN_FLIGHT: usize = 64;
/// Rows of the table that is listed.
const LISTED: usize = 100_000;
/// Lists in one round.
const LISTS: usize = 200;
/// Questions in one round, and how many a second.
const QUESTIONS: usize = 1_000;
const RATE: f64 = 200.0;
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";

/// Creates, lists and questions.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let (mut creates, mut medians, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..=effort.rounds {
        // each round has a new node; the first warms up the machine
        let cloud = Cloud::start(10).await?;
        // first, so that they do not wait behind what was taken on and is not done yet
        let mut asked = questions(&cloud.gateway, effort.amount(QUESTIONS)).await?;
        let rate = created(&cloud, effort.amount(CREATED)).await?;
        if number > 0 {
            creates.push(alone(rate));
            medians.push(alone(milliseconds(percentile(&mut asked, 0.5))));
            latencies.push(alone(milliseconds(percentile(&mut asked, 0.99))));
        }
    }
    let mut figures = vec![
        figure(
            "objects of a declared kind accepted through the API",
            Unit::PerSecond,
            1_000.0,
            2_000.0,
            creates,
        ),
        figure("a question to the scheduler at 200 a second, p50", Unit::Milliseconds, 4.0, 2.0, medians),
        figure("a question to the scheduler at 200 a second, p99", Unit::Milliseconds, 20.0, 10.0, latencies),
    ];
    for (name, database) in [
        ("SQLite", Database::sqlite(gateway::MIGRATIONS).await),
        ("PostgreSQL", Database::postgres(gateway::MIGRATIONS).await),
    ] {
        let rows = effort.amount(LISTED);
        fill(&database, rows).await?;
        let (mut pages, mut scans) = (Vec::new(), Vec::new());
        for number in 0..=effort.rounds {
            let mut taken = lists(&database, rows, "", 100).await?;
            let mut scanned = lists(&database, rows, "algorithm = nothing", 100).await?;
            if number > 0 {
                pages.push(alone(milliseconds(percentile(&mut taken, 0.5))));
                scans.push(alone(milliseconds(percentile(&mut scanned, 0.5))));
            }
        }
        database.remove().await;
        let page = format!("100 of {rows} objects listed, {name}, p50");
        figures.push(figure(&page, Unit::Milliseconds, 6.0, 3.0, pages));
        let scan = format!("5,000 objects looked at for a filter without an index, {name}, p50");
        figures.push(figure(&scan, Unit::Milliseconds, 120.0, 60.0, scans));
    }
    Ok(figures)
}

fn alone(ours: f64) -> Round {
    Round { ours, baseline: None }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn figure(name: &str, unit: Unit, floor: f64, aim: f64, rounds: Vec<Round>) -> Figure {
    let target = Target { judged: Judged::Ours, floor, aim };
    Figure { name: name.into(), baseline: String::new(), unit, target, rounds }
}

/// Keeps public keys, many at once; how many were accepted in a second.
async fn created(cloud: &Cloud, count: usize) -> Result<f64> {
    let method = contracts::methods().iter().find(|method| method.descriptor.name() == "CreateSshKey");
    let method = method.context("a declared method")?;
    let mut gateways = Vec::new();
    for tenant in 0..count.div_ceil(OF_A_TENANT) {
        let name = format!("tenant-{tenant}");
        cloud.node.cli().ok(&["tenant", "create", &name]);
        gateways.push(gateway_of(&cloud.node, &name)?);
    }
    let create = |number: usize| {
        let gateway = &gateways[number / OF_A_TENANT];
        async move {
            let request = CreateSshKeyRequest {
                name: format!("key-{number}"),
                public_key: KEY.into(),
                ..CreateSshKeyRequest::default()
            };
            let bytes = bytes::Bytes::from(request.encode_to_vec());
            let key = IdempotencyKey::random();
            let answer = gateway.change(bytes, &key, async |r| gateway.call(method, r).await).await;
            answer.map(drop).map_err(|failure| anyhow::anyhow!("{failure}"))
        }
    };
    let calls = futures::stream::iter(0..count).map(create).buffer_unordered(IN_FLIGHT);
    let (done, time) = timed(calls.try_collect::<Vec<()>>()).await;
    done?;
    Ok(per_second(count, time))
}

/// Asks whether an instance would fit. How long each answer took.
async fn questions(gateway: &Gateway, count: usize) -> Result<Vec<Duration>> {
    let instance = CreateInstanceRequest {
        name: "would-it-fit".into(),
        image: IMAGE.into(),
        flavor: "micro".into(),
        ..CreateInstanceRequest::default()
    };
    let request = PreviewInstanceRequest { instance: Some(instance) };
    at_rate(RATE, 0..count, |_| {
        let request = request.clone();
        async move {
            let asked = gateway.read(request, async |r| gateway.instances().preview_instance(r).await).await;
            let answer = asked.map_err(|failure| anyhow::anyhow!("{failure}"))?;
            anyhow::ensure!(answer.fits, "{answer:?}");
            Ok(())
        }
    })
    .await
}

async fn fill(database: &Database, rows: usize) -> Result<()> {
    let mut tx = database.store.begin().await?;
    for number in 0..rows {
        let key = SshKey {
            id: format!("018f0000-0000-7000-8000-{number:012}"),
            tenant: "acme".into(),
            name: format!("key-{number:06}"),
            revision: 1,
            created_at_us: 1 + number as i64,
            public_key: KEY.into(),
            algorithm: "ssh-ed25519".into(),
            labels: [("team".to_owned(), format!("team-{}", number % 100))].into(),
            ..SshKey::default()
        };
        put(&mut tx, &Row::of(&key)).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Lists from places all over the table. How long each took.
async fn lists(database: &Database, rows: usize, filter: &str, size: usize) -> Result<Vec<Duration>> {
    let descriptor = contracts::pool().get_message_by_name(SshKey::KIND.message).context("known")?;
    let filter = Filter::read(filter, &descriptor, &|_| true).map_err(anyhow::Error::msg)?;
    let order = Order::read("").map_err(anyhow::Error::msg)?;
    let mut taken = Vec::with_capacity(LISTS);
    for number in 0..LISTS {
        let after = format!("key-{:06}", number * 7919 % (rows / 2).max(1));
        let query = Query {
            kind: SshKey::KIND,
            tenant: "acme",
            filter: &filter,
            order,
            gone: false,
            after: Some((&after, "")),
            size,
        };
        let (found, time) = timed(page(database.store.reader(), &query)).await;
        anyhow::ensure!(found?.objects.len() == if filter.is_empty() { size.min(rows / 2) } else { 0 });
        taken.push(time);
    }
    Ok(taken)
}
