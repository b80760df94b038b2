//! The stream of events as a reader gets it from the gateway, against reading the same broker bare.

use crate::Effort;
use crate::figure::{Figure, Judged, Target, Unit};
use crate::measure::{in_turn, per_second, percentile};
use anyhow::{Context, Result, ensure};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use bus::{Cause, Connection};
use chassis::{Chassis, ChassisSettings};
use client::{Connect, Gateway};
use contracts::gateway::v1::watch_events_response::Item;
use contracts::gateway::v1::{WatchEventsRequest, WatchEventsResponse};
use contracts::host_driver::v1::{VmObservation, VmObserved};
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::BoxStream;
use kernel::{InstanceId, Message, MessageId};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use testkit::NatsServer;

/// Events of the log that is replayed.
const REPLAYED: usize = 50_000;
/// Events said while readers listen; each of them gets all.
const LIVE: usize = 10_000;
/// Events said at the steady rate.
const STEADY: usize = 2_000;
/// So many a second then.
const RATE: f64 = 200.0;
/// Unacknowledged messages of publishing.
const IN_FLIGHT: usize = 500;
/// What the gateway keeps no table of: nothing but the readers is measured.
const TYPE: &str = "host_driver.VmObserved";
const SUBJECT: &str = "evt.host_driver.v1.VmObserved";

/// Measures replaying, listening, and how late events come.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let platform = Platform::start().await?;
    let mut figures = vec![replay(&platform, effort).await?];
    for readers in [1, 50] {
        figures.push(live(&platform, effort, readers).await?);
    }
    figures.push(delay(&platform, effort).await?);
    platform.chassis.tasks.stop().await;
    Ok(figures)
}

async fn replay(platform: &Platform, effort: Effort) -> Result<Figure> {
    let count = effort.amount(REPLAYED);
    platform.publish(count).await?;
    let rounds = in_turn(
        effort.rounds,
        || async {
            let began = Instant::now();
            let request = WatchEventsRequest { types: vec![TYPE.into()], ..WatchEventsRequest::default() };
            let mut events = platform.watch(request).await?;
            take(&mut events, count).await?;
            Ok(per_second(count, began.elapsed()))
        },
        || async {
            let began = Instant::now();
            let mut messages = platform.bare(DeliverPolicy::All).await?;
            take(&mut messages, count).await?;
            Ok(per_second(count, began.elapsed()))
        },
    )
    .await?;
    Ok(Figure {
        name: format!("replaying {count} events to a reader"),
        baseline: "a bare ordered consumer".into(),
        unit: Unit::PerSecond,
        target: Target { judged: Judged::Ratio, floor: 0.1, aim: 0.3 },
        rounds,
    })
}

async fn live(platform: &Platform, effort: Effort, readers: usize) -> Result<Figure> {
    // the same amount of deliveries, however many readers share it
    let count = effort.amount(LIVE * 5 / (readers + 4));
    let run = async |mut streams: Vec<Deliveries>| {
        let began = Instant::now();
        let all = try_join_all(streams.iter_mut().map(|stream| take(stream, count)));
        let (published, taken) = tokio::join!(platform.publish(count), all);
        published?;
        taken?;
        anyhow::Ok(per_second(count * readers, began.elapsed()))
    };
    let rounds = in_turn(
        effort.rounds,
        || async { run(try_join_all((0..readers).map(|_| platform.listen())).await?).await },
        || async {
            let streams = (0..readers).map(|_| platform.bare(DeliverPolicy::New));
            run(try_join_all(streams).await?).await
        },
    )
    .await?;
    Ok(Figure {
        name: format!("events delivered as they happen, readers: {readers}"),
        baseline: "as many bare ordered consumers".into(),
        unit: Unit::PerSecond,
        target: Target { judged: Judged::Ratio, floor: 0.1, aim: 0.3 },
        rounds,
    })
}

async fn delay(platform: &Platform, effort: Effort) -> Result<Figure> {
    let count = effort.amount(STEADY);
    let rounds = in_turn(
        effort.rounds,
        || async { platform.delays(platform.listen().await?, count).await },
        || async { platform.delays(platform.bare(DeliverPolicy::New).await?, count).await },
    )
    .await?;
    Ok(Figure {
        name: format!("p99 from said to read at {RATE:.0} events a second"),
        baseline: "a bare ordered consumer".into(),
        unit: Unit::Milliseconds,
        target: Target { judged: Judged::Ratio, floor: 8.0, aim: 3.0 },
        rounds,
    })
}

/// Ids of the objects of events, as they come.
type Deliveries = BoxStream<'static, Result<String>>;

async fn take(stream: &mut Deliveries, count: usize) -> Result<()> {
    for got in 0..count {
        stream.next().await.with_context(|| format!("it ended after {got} of {count} events"))??;
    }
    Ok(())
}

/// A gateway on a broker, and a way to say events without a service.
struct Platform {
    _nats: NatsServer,
    _folder: tempfile::TempDir,
    chassis: Chassis,
    connection: Connection,
    gateway: Gateway,
}

impl Platform {
    async fn start() -> Result<Self> {
        let nats = NatsServer::start().await;
        let folder = tempfile::tempdir()?;
        let process = ChassisSettings {
            bus: nats.settings(),
            sealing_key_file: folder.path().join("sealing.key"),
            ..ChassisSettings::default()
        };
        let chassis = Chassis::start("gateway", &process).await?;
        let settings = gateway::Settings {
            listen: "127.0.0.1:0".into(),
            data_dir: folder.path().join("gateway"),
            datastore_url: format!("file://{}/datastore", folder.path().display()),
            ..gateway::Settings::default()
        };
        let address = gateway::start(&settings, &chassis).await?;
        let token = std::fs::read_to_string(settings.admin_token_file())?.trim().to_owned();
        let connect = Connect {
            endpoint: format!("http://{address}"),
            token,
            tenant: String::new(),
            ca_file: None,
            allow_plain_http: true,
            request_timeout: Duration::from_secs(60),
            attempts: 1,
        };
        let gateway = Gateway::new(&connect).map_err(|failure| anyhow::anyhow!("{failure}"))?;
        let connection = nats.connect().await;
        Ok(Self { _nats: nats, _folder: folder, chassis, connection, gateway })
    }

    /// A reader of events to come, that has begun.
    async fn listen(&self) -> Result<Deliveries> {
        let types = vec![TYPE.to_owned()];
        let request =
            WatchEventsRequest { types, follow: true, new_only: true, ..WatchEventsRequest::default() };
        let mut events = self.watch(request).await?;
        let position = events.next().await.context("a position")??;
        ensure!(position.is_empty(), "{position} came before the position");
        Ok(events)
    }

    /// What the gateway gives; a position is an event without an object.
    async fn watch(&self, request: WatchEventsRequest) -> Result<Deliveries> {
        let stream = self.gateway.events().watch_events(request).await?.into_inner();
        Ok(stream.map(|answer| object(answer?)).boxed())
    }

    /// What the broker gives.
    async fn bare(&self, from: DeliverPolicy) -> Result<Deliveries> {
        let stream = self.connection.jetstream().get_stream_no_info(bus::topology::EVENTS).await?;
        let config = pull::OrderedConfig {
            filter_subjects: vec![format!("{SUBJECT}.>")],
            deliver_policy: from,
            ..pull::OrderedConfig::default()
        };
        let messages = stream.create_consumer(config).await?.messages().await?;
        let id = |subject: &str| subject.rsplit('.').next().unwrap_or_default().to_owned();
        Ok(messages.map(move |message| Ok(id(&message?.subject))).boxed())
    }

    /// Says so many events as fast as the broker takes them.
    async fn publish(&self, count: usize) -> Result<()> {
        let mut acks = VecDeque::with_capacity(IN_FLIGHT);
        for _ in 0..count {
            if acks.len() >= IN_FLIGHT {
                let ack: async_nats::jetstream::context::PublishAckFuture =
                    acks.pop_front().context("an ack")?;
                ack.await?;
            }
            let (subject, message) = event(&InstanceId::new().to_string());
            acks.push_back(self.connection.jetstream().send_publish(subject, message).await?);
        }
        for ack in acks {
            ack.await?;
        }
        Ok(())
    }

    /// The time within which 99 of 100 events are read after they were said, in milliseconds.
    async fn delays(&self, mut stream: Deliveries, count: usize) -> Result<f64> {
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut began, mut times) = (HashMap::with_capacity(count), Vec::with_capacity(count));
        let mut sent = 0;
        while times.len() < count {
            tokio::select! {
                id = stream.next() => {
                    let id = id.context("it ended")??;
                    times.extend(began.remove(&id).map(|began: Instant| began.elapsed()));
                }
                _ = pace.tick(), if sent < count => {
                    let id = InstanceId::new().to_string();
                    let (subject, message) = event(&id);
                    began.insert(id, Instant::now());
                    // the acknowledgement says nothing about readers
                    drop(self.connection.jetstream().send_publish(subject, message).await?);
                    sent += 1;
                }
            }
        }
        Ok(percentile(&mut times, 0.99).as_secs_f64() * 1e3)
    }
}

fn object(answer: WatchEventsResponse) -> Result<String> {
    match answer.item {
        Some(Item::Event(event)) => Ok(event.object_id),
        Some(Item::Position(_)) => Ok(String::new()),
        other => anyhow::bail!("{other:?} is no event"),
    }
}

/// An event as a service would publish it.
fn event(id: &str) -> (String, PublishMessage) {
    let observation = VmObservation { instance_id: id.to_owned(), ..VmObservation::default() };
    let observed = VmObserved { observation: Some(observation) };
    let cause = Cause::own("bench").for_tenant("acme");
    let message = PublishMessage::build()
        .message_id(MessageId::new().to_string())
        .header("Correlation-Id", cause.correlation.to_string().as_str())
        .header("Actor", "bench")
        .header("Tenant", "acme")
        .header("Occurred-At", "2026-01-01T00:00:00.000000Z")
        .payload(observed.to_bytes().into());
    (format!("{SUBJECT}.acme.{id}"), message)
}
