//! Mishaps: processes are killed and held, the broker too, the network is bad, deliveries are repeated from the
//! beginning of the log, old commands come again. Each is made sure to have had an effect.

use super::aftermath::{Aftermath, made_at};
use super::mishaps::CHANCES;
pub use super::mishaps::{Mishap, NoEffect, readers};
use crate::platform::{Platform, programs};
use crate::proxy::{Nuisance, Proxy};
use async_nats::jetstream::{self, stream::DirectGetErrorKind};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testkit::NatsServer;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

/// Commands that are remembered, to come again later.
const REMEMBERED: usize = 500;
/// A mishap without effect (the process had just ended, the consumer was not there) is repeated for so long.
const REPEATED: Duration = Duration::from_secs(30);
/// Mishaps that are remembered in their order.
const LAST: usize = 3;
/// Copies of commands sent at once.
const COPIES: usize = 40;

/// Breaks things until told to stop, and then mends everything.
pub struct Monkey {
    chance: SmallRng,
    commands: Vec<(String, async_nats::HeaderMap, bytes::Bytes)>,
    aftermath: Aftermath,
    /// What it did, for messages.
    pub done: BTreeMap<Mishap, u32>,
    /// The last ones, oldest first: what the time to settle is measured from.
    pub last: Vec<Mishap>,
}

/// What mishaps happen to.
pub struct Victims<'v> {
    /// The services.
    pub platform: &'v mut Platform,
    /// The broker.
    pub nats: &'v mut NatsServer,
    /// The network between them.
    pub proxy: &'v Proxy,
}

impl Monkey {
    /// A monkey whose choices come from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            chance: SmallRng::seed_from_u64(seed),
            commands: Vec::new(),
            aftermath: Aftermath::default(),
            done: BTreeMap::new(),
            last: Vec::new(),
        }
    }

    /// Each mishap once in an order of its own, however long that takes, then any for as long as `within` is not over;
    /// then everything is mended. The error names a mishap that changed nothing.
    pub async fn run(&mut self, mut on: Victims<'_>, within: Duration) -> Result<(), NoEffect> {
        let mut first: Vec<Mishap> = CHANCES.map(|(mishap, _)| mishap).into();
        let end = Instant::now() + within;
        while !first.is_empty() || Instant::now() < end {
            sleep(Duration::from_millis(self.chance.random_range(200..1_200))).await;
            on.platform.tend();
            self.remember(on.nats).await;
            let mishap = match first.len() {
                0 => self.any(),
                count => first.swap_remove(self.chance.random_range(0..count)),
            };
            self.insist(mishap, &mut on, REPEATED).await?;
        }
        on.proxy.set(Nuisance::default());
        on.platform.tend();
        Ok(())
    }

    /// Waits until whoever was killed is back, and everything that was forgotten is there again.
    pub async fn aftermath(
        &self,
        deadline: Duration,
        proxy: &Proxy,
        nats: &NatsServer,
    ) -> Result<(), NoEffect> {
        self.aftermath.wait(deadline, proxy, nats).await
    }

    fn any(&mut self) -> Mishap {
        let chosen = CHANCES.choose_weighted(&mut self.chance, |(_, weight)| *weight);
        chosen.map_or(Mishap::KillService, |(mishap, _)| *mishap)
    }

    /// Does it until it had an effect, and gives up after so long.
    pub async fn insist(
        &mut self,
        mishap: Mishap,
        on: &mut Victims<'_>,
        patience: Duration,
    ) -> Result<(), NoEffect> {
        let end = Instant::now() + patience;
        loop {
            let Err(why) = self.do_it(mishap, on).await else { break };
            if Instant::now() > end {
                return Err(NoEffect { mishap, why });
            }
            sleep(Duration::from_millis(200)).await;
            on.platform.tend();
            self.remember(on.nats).await;
        }
        *self.done.entry(mishap).or_default() += 1;
        self.last.push(mishap);
        if self.last.len() > LAST {
            self.last.remove(0);
        }
        Ok(())
    }

    /// Does it once. The error says how it showed that it changed nothing.
    async fn do_it(&mut self, mishap: Mishap, on: &mut Victims<'_>) -> Result<(), String> {
        let service = *programs().choose(&mut self.chance).expect("services");
        let while_ms = Duration::from_millis(self.chance.random_range(100..1_500));
        match mishap {
            Mishap::KillService => {
                let killed = on.platform.kill(service);
                sleep(while_ms / 4).await;
                self.aftermath.killed(service, on.proxy);
                on.platform.start_again(service);
                killed.then_some(()).ok_or_else(|| format!("{service} did not run any more"))
            }
            Mishap::HoldService => {
                on.platform.pause(service, true);
                sleep(while_ms).await;
                let held = on.platform.is_held(service);
                on.platform.pause(service, false);
                held.then_some(()).ok_or_else(|| format!("{service} was not stopped: it had ended"))
            }
            Mishap::KillBroker => {
                let before = server_id(on.nats).await;
                on.nats.kill();
                sleep(while_ms / 4).await;
                on.nats.up().await;
                let after = server_id(on.nats).await;
                (before.is_some() && after.is_some() && after != before)
                    .then_some(())
                    .ok_or_else(|| "no broker died, or none came after it".to_owned())
            }
            Mishap::HoldBroker => {
                on.nats.pause(true);
                let silent = timeout(while_ms, greeting(on.nats)).await.is_err();
                on.nats.pause(false);
                silent.then_some(()).ok_or_else(|| "the broker went on answering".to_owned())
            }
            Mishap::CutNetwork => match on.proxy.cut() {
                0 => Err("there was no connection".to_owned()),
                _ => Ok(()),
            },
            Mishap::BadNetwork => {
                let nuisance = Nuisance {
                    twice: self.chance.random_range(5..40),
                    late: self.chance.random_range(0..20),
                };
                let before = on.proxy.counts().messages();
                on.proxy.set(nuisance);
                sleep(while_ms * 2).await;
                on.proxy.set(Nuisance::default());
                let hit = on.proxy.counts().messages() > before;
                hit.then_some(()).ok_or_else(|| "nothing happened to any message".to_owned())
            }
            Mishap::ForgetConsumer => self.forget(on.nats).await,
            Mishap::OldCommands => self.again(on.nats).await,
        }
    }

    async fn forget(&mut self, nats: &NatsServer) -> Result<(), String> {
        let consumer = *readers().choose(&mut self.chance).expect("readers of events");
        let made = made_at(nats, consumer).await.ok_or_else(|| format!("{consumer} is not there"))?;
        let context = connect(nats).await.ok_or("the broker does not answer")?;
        let stream = context.get_stream_no_info("EVENTS").await.map_err(|e| e.to_string())?;
        let gone = stream.delete_consumer(consumer).await.map_err(|e| e.to_string())?;
        self.aftermath.forgotten(consumer, made);
        gone.success.then_some(()).ok_or_else(|| format!("the broker did not delete {consumer}"))
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
                        // alone: with these it would be a part of the batch that it came in
                        let alone = found
                            .headers
                            .iter()
                            .filter(|(name, _)| !name.to_string().starts_with("Nats-Batch-"));
                        let mut headers = async_nats::HeaderMap::new();
                        for (name, values) in alone {
                            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
                        }
                        self.commands.push((found.subject.to_string(), headers, found.payload));
                    }
                    Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
                    Err(_) => return,
                }
            }
        }
    }

    /// Sends copies of commands of long ago, under the ids they had, past the broker's memory for copies.
    async fn again(&mut self, nats: &NatsServer) -> Result<(), String> {
        let context = connect(nats).await.ok_or("the broker does not answer")?;
        for name in ["CMD_SCHEDULER", "CMD_HOST_DRIVER"] {
            let stream = context.get_stream(name).await.map_err(|e| e.to_string())?;
            let mut config = stream.cached_info().config.clone();
            config.duplicate_window = Duration::from_millis(100);
            context.update_stream(config).await.map_err(|e| e.to_string())?;
        }
        sleep(Duration::from_millis(300)).await;
        let count = self.commands.len().min(COPIES);
        let copies: Vec<_> = self.commands.sample(&mut self.chance, count).cloned().collect();
        let mut taken = 0;
        for (subject, headers, payload) in copies {
            let sent = context.publish_with_headers(subject, headers, payload).await;
            let answer = sent.map_err(|e| e.to_string())?.await.map_err(|e| e.to_string())?;
            taken += usize::from(!answer.duplicate);
        }
        if taken > 0 { Ok(()) } else { Err(format!("of {count} copies the broker took none")) }
    }
}

pub(super) async fn connect(nats: &NatsServer) -> Option<jetstream::Context> {
    let connecting = async_nats::connect(nats.url());
    let client = timeout(Duration::from_secs(2), connecting).await.ok()?.ok()?;
    let mut context = jetstream::new(client);
    context.set_timeout(Duration::from_secs(2));
    Some(context)
}

/// The server takes another id at each start.
async fn server_id(nats: &NatsServer) -> Option<String> {
    let client = timeout(Duration::from_secs(5), async_nats::connect(nats.url())).await.ok()?.ok()?;
    Some(client.server_info().server_id)
}

/// Returns when the broker has said its first byte to a new connection, or is not there at all.
async fn greeting(nats: &NatsServer) {
    let address = nats.url().trim_start_matches("nats://").to_owned();
    // of one that is held the system itself takes connections, and nobody says anything
    if let Ok(mut connection) = tokio::net::TcpStream::connect(address).await {
        let _ = connection.read_u8().await;
    }
}
