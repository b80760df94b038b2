//! What the bus costs: against the same nats-server, bare.

use crate::Effort;
use crate::bus_service::{Service, bare_message, publish_bare};
use crate::figure::{Figure, Judged, Round, Target, Unit};
use crate::measure::{in_turn, per_second, percentile, timed};
use anyhow::{Context, Result};
use contracts::scheduler::v1::StartInstance;
use futures::StreamExt;
use kernel::{InstanceId, Message};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use testkit::{NatsServer, eventually};

const ALWAYS: &str = "jetstream { sync_interval: always }";
/// Unacknowledged messages of bare pipelined publishing.
const IN_FLIGHT: usize = 1_000;
/// After this something is wrong, not slow.
const LONGEST: Duration = Duration::from_secs(600);

/// Command to event: throughput with both ways of syncing, and latency.
pub async fn events(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, configuration, target, count) in [
        (
            "command to event, default sync",
            "",
            Target { judged: Judged::Ratio, floor: 0.12, aim: 0.25 },
            40_000,
        ),
        (
            "command to event, sync always",
            ALWAYS,
            Target { judged: Judged::Ratio, floor: 2.0, aim: 5.0 },
            20_000,
        ),
    ] {
        let count = effort.amount(count);
        let rounds = in_turn(
            effort.rounds,
            || command_to_event(configuration, count),
            || async move {
                let nats = NatsServer::start_with(configuration).await;
                let connection = nats.connect().await;
                let (done, time) = timed(publish_bare(&connection, count, IN_FLIGHT)).await;
                done.map(|()| per_second(count, time))
            },
        )
        .await?;
        let baseline = "bare publishing, pipelined".to_owned();
        figures.push(Figure { name: name.to_owned(), baseline, unit: Unit::PerSecond, target, rounds });
    }
    let tenth = figures[0].ours().map_or(1_000.0, |ours| ours.median / 10.0);
    figures.push(latency(effort, tenth).await?);
    Ok(figures)
}

/// Commands wait in their queue; the clock runs until all their events are acknowledged and marked.
async fn command_to_event(configuration: &str, count: usize) -> Result<f64> {
    let nats = NatsServer::start_with(configuration).await;
    let mut service = Service::on(&nats).await;
    let mut sender = Service::on(&nats).await;
    sender.tell(count).await?;
    sender.relay();
    let waiting = async || bus::outbox_size(sender.desk.store()).await.ok().map(|size| size.waiting);
    eventually(LONGEST, "commands in their queue", async || (waiting().await == Some(0)).then_some(())).await;
    let began = Instant::now();
    service.relay();
    service.runner();
    service.until_said(count).await?;
    let time = began.elapsed();
    service.end().await;
    sender.end().await;
    Ok(per_second(count, time))
}

/// Half of all commands have their event in this time, at a tenth of the load that the service can take; beside it one
/// bare publish that waits for its acknowledgement.
async fn latency(effort: Effort, rate: f64) -> Result<Figure> {
    let count = effort.amount(5_000);
    let nats = NatsServer::start().await;
    let mut service = Service::on(&nats).await;
    service.relay();
    service.runner();
    let mut rounds = Vec::new();
    for round in 0..=effort.rounds {
        let mut bare = Vec::with_capacity(count);
        for _ in 0..count.min(2_000) {
            let (subject, message) = bare_message();
            let began = Instant::now();
            service.connection.jetstream().send_publish(subject, message).await?.await?;
            bare.push(began.elapsed());
        }
        let mut ours = command_latencies(&service, count, rate).await?;
        if round > 0 {
            let ms = |times: &mut Vec<Duration>| percentile(times, 0.5).as_secs_f64() * 1e3;
            rounds.push(Round { ours: ms(&mut ours), baseline: Some(ms(&mut bare)) });
        }
    }
    service.end().await;
    Ok(Figure {
        name: "command to event, median time at 10 % load".into(),
        baseline: "one bare publish with its acknowledgement".into(),
        unit: Unit::Milliseconds,
        target: Target { judged: Judged::Ratio, floor: 10.0, aim: 5.0 },
        rounds,
    })
}

async fn command_latencies(service: &Service, count: usize, rate: f64) -> Result<Vec<Duration>> {
    let mut events = service.connection.client().subscribe("evt.scheduler.v1.InstanceChanged.>").await?;
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / rate.max(1.0)));
    // a tick that was late is not made up for in a burst
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut began: HashMap<String, Instant> = HashMap::with_capacity(count);
    let (mut sent, mut times) = (0, Vec::with_capacity(count));
    while times.len() < count {
        tokio::select! {
            event = events.next() => {
                let event = event.context("the subscription ended")?;
                let id = event.subject.rsplit('.').next().unwrap_or_default();
                times.extend(began.remove(id).map(|began| began.elapsed()));
            }
            _ = pace.tick(), if sent < count => {
                let id = InstanceId::new().to_string();
                let command = StartInstance { instance_id: id.clone(), ..StartInstance::default() };
                let (_, mut headers) = (0, async_nats::HeaderMap::new());
                for (name, value) in [
                    ("Nats-Msg-Id", kernel::MessageId::new().to_string()),
                    ("Correlation-Id", kernel::CorrelationId::new().to_string()),
                    ("Actor", "bench".to_owned()),
                    ("Tenant", "acme".to_owned()),
                    ("Occurred-At", "2026-01-01T00:00:00Z".to_owned()),
                ] {
                    headers.insert(name, value);
                }
                began.insert(id.clone(), Instant::now());
                let subject = format!("cmd.scheduler.v1.StartInstance.{id}");
                let client = service.connection.client();
                client.publish_with_headers(subject, headers, command.to_bytes().into()).await?;
                sent += 1;
            }
        }
    }
    Ok(times)
}

/// The broker's store is wiped; the clock runs until the outbox has filled it again, every event once.
pub async fn refill(effort: Effort) -> Result<Vec<Figure>> {
    let count = effort.amount(1_000_000);
    let mut nats = NatsServer::start().await;
    let mut service = Service::on(&nats).await;
    service.relay();
    service.say(count).await?;
    service.until_said(count).await?;
    let mut rounds = Vec::new();
    for _ in 0..effort.rounds {
        nats.kill();
        nats.wipe();
        nats.up().await;
        let began = Instant::now();
        // every event, and for each loss one that says so
        let all = count + rounds.len() + 1;
        eventually(LONGEST, "every event in the stream again", async || {
            let stream = service.connection.jetstream().get_stream("EVENTS").await;
            let held = stream.map_or(0, |stream| stream.cached_info().state.messages as usize);
            let waiting = bus::outbox_size(service.desk.store()).await.ok()?.waiting;
            (held >= all && waiting == 0).then_some(())
        })
        .await;
        rounds.push(Round { ours: began.elapsed().as_secs_f64(), baseline: None });
    }
    service.end().await;
    Ok(vec![Figure {
        name: format!("refilling a wiped stream of {count} events"),
        baseline: String::new(),
        unit: Unit::Seconds,
        target: Target { judged: Judged::Ours, floor: 60.0, aim: 20.0 },
        rounds,
    }])
}
