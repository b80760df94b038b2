//! Mishaps: processes are killed and held, the broker too, the network is bad, deliveries are repeated from the
//! beginning of the log, old commands come again.

use crate::platform::{Platform, SERVICES};
use crate::proxy::{Nuisance, Proxy};
use async_nats::jetstream::{self, stream::DirectGetErrorKind};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::NatsServer;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Commands that are remembered, to come again later.
const REMEMBERED: usize = 500;

/// One kind of mishap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// A service dies, and with it its relay.
    KillService,
    /// A service is held.
    HoldService,
    /// The broker dies.
    KillBroker,
    /// The broker is held.
    HoldBroker,
    /// Every connection breaks.
    CutNetwork,
    /// Messages come twice, late and out of order for a while.
    BadNetwork,
    /// A consumer of events is gone: everything is delivered to it again, from the first event.
    ForgetConsumer,
    /// Commands of long ago come again, when the broker does not know any more that it had them.
    OldCommands,
}

/// How often each happens, relative to the others.
const CHANCES: [(Mishap, u32); 8] = [
    (Mishap::KillService, 30),
    (Mishap::HoldService, 15),
    (Mishap::KillBroker, 10),
    (Mishap::HoldBroker, 8),
    (Mishap::CutNetwork, 10),
    (Mishap::BadNetwork, 20),
    (Mishap::ForgetConsumer, 4),
    (Mishap::OldCommands, 6),
];

/// Breaks things until told to stop, and then mends everything.
pub struct Monkey {
    chance: SmallRng,
    commands: Vec<(String, async_nats::HeaderMap, bytes::Bytes)>,
    /// What it did, for messages.
    pub done: BTreeMap<Mishap, u32>,
}

impl Monkey {
    /// A monkey whose choices come from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { chance: SmallRng::seed_from_u64(seed), commands: Vec::new(), done: BTreeMap::new() }
    }

    /// Each mishap once in an order of its own, then any until `stop`; then everything is mended.
    pub async fn run(
        &mut self,
        platform: &mut Platform,
        nats: &mut NatsServer,
        proxy: &Proxy,
        stop: &CancellationToken,
    ) {
        let mut first: Vec<Mishap> = CHANCES.map(|(mishap, _)| mishap).into();
        while !stop.is_cancelled() {
            let pause = self.chance.random_range(200..1_200);
            tokio::select! { () = stop.cancelled() => break, () = sleep(Duration::from_millis(pause)) => {} }
            platform.tend();
            self.remember(nats).await;
            let mishap = match first.len() {
                0 => self.any(),
                count => first.swap_remove(self.chance.random_range(0..count)),
            };
            *self.done.entry(mishap).or_default() += 1;
            self.do_it(mishap, platform, nats, proxy).await;
        }
        proxy.set(Nuisance::default());
        platform.tend();
    }

    fn any(&mut self) -> Mishap {
        let chosen = CHANCES.choose_weighted(&mut self.chance, |(_, weight)| *weight);
        chosen.map_or(Mishap::KillService, |(mishap, _)| *mishap)
    }

    async fn do_it(&mut self, mishap: Mishap, platform: &mut Platform, nats: &mut NatsServer, proxy: &Proxy) {
        let service = *SERVICES.choose(&mut self.chance).unwrap_or(&"scheduler");
        let while_ms = Duration::from_millis(self.chance.random_range(100..1_500));
        match mishap {
            Mishap::KillService => {
                platform.kill(service);
                sleep(while_ms / 4).await;
                platform.start_again(service);
            }
            Mishap::HoldService => {
                platform.pause(service, true);
                sleep(while_ms).await;
                platform.pause(service, false);
            }
            Mishap::KillBroker => {
                nats.kill();
                sleep(while_ms / 4).await;
                nats.up().await;
            }
            Mishap::HoldBroker => {
                nats.pause(true);
                sleep(while_ms).await;
                nats.pause(false);
            }
            Mishap::CutNetwork => proxy.cut(),
            Mishap::BadNetwork => {
                let nuisance = Nuisance {
                    twice: self.chance.random_range(5..40),
                    late: self.chance.random_range(0..20),
                };
                proxy.set(nuisance);
                sleep(while_ms * 2).await;
                proxy.set(Nuisance::default());
            }
            Mishap::ForgetConsumer => {
                let consumer =
                    *["scheduler", "gateway", "storage"].choose(&mut self.chance).unwrap_or(&"gateway");
                if let Some(context) = connect(nats).await
                    && let Ok(stream) = context.get_stream_no_info("EVENTS").await
                {
                    let _ = stream.delete_consumer(consumer).await;
                }
            }
            Mishap::OldCommands => self.again(nats).await,
        }
    }

    /// Remembers commands that wait just now, if any.
    async fn remember(&mut self, nats: &NatsServer) {
        let Some(context) = connect(nats).await else { return };
        for name in ["CMD_SCHEDULER", "CMD_HOST_DRIVER"] {
            let Ok(stream) = context.get_stream_no_info(name).await else { continue };
            let mut next = 1;
            while self.commands.len() < REMEMBERED {
                match stream.direct_get_next_for_subject("cmd.>", Some(next)).await {
                    Ok(found) => {
                        next = found.sequence + 1;
                        self.commands.push((found.subject.to_string(), found.headers, found.payload));
                    }
                    Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
                    Err(_) => return,
                }
            }
        }
    }

    /// Sends copies of commands of long ago, under the ids they had, past the broker's memory for copies.
    async fn again(&mut self, nats: &NatsServer) {
        let Some(context) = connect(nats).await else { return };
        for name in ["CMD_SCHEDULER", "CMD_HOST_DRIVER"] {
            let Ok(stream) = context.get_stream(name).await else { return };
            let mut config = stream.cached_info().config.clone();
            config.duplicate_window = Duration::from_millis(100);
            if context.update_stream(config).await.is_err() {
                return;
            }
        }
        sleep(Duration::from_millis(300)).await;
        let count = self.commands.len().min(40);
        let copies: Vec<_> = self.commands.sample(&mut self.chance, count).cloned().collect();
        for (subject, headers, payload) in copies {
            let _ = context.publish_with_headers(subject, headers, payload).await;
        }
    }
}

async fn connect(nats: &NatsServer) -> Option<jetstream::Context> {
    let connecting = async_nats::connect(nats.url());
    let client = tokio::time::timeout(Duration::from_secs(2), connecting).await.ok()?.ok()?;
    let mut context = jetstream::new(client);
    context.set_timeout(Duration::from_secs(2));
    Some(context)
}
