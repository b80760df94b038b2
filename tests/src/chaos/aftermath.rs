//! What must be so again some time after a mishap: whoever was killed is back, a consumer that was forgotten is there.

use super::mishaps::{Mishap, NoEffect};
use super::monkey::connect;
use crate::proxy::Proxy;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testkit::{NatsServer, eventually};

/// What is expected of whom. A later mishap of the same one takes the place of an earlier.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    /// How often each service had connected to the broker when its new process was started.
    killed: BTreeMap<&'static str, u64>,
    /// When each consumer that was forgotten had been made, in nanoseconds of the broker's clock.
    forgotten: BTreeMap<&'static str, i128>,
}

impl Aftermath {
    /// A service was killed; its next process has yet to introduce itself.
    pub fn killed(&mut self, service: &'static str, proxy: &Proxy) {
        self.killed.insert(service, proxy.connected(service));
    }

    /// A consumer that was made at this time is gone.
    pub fn forgotten(&mut self, consumer: &'static str, made_at: i128) {
        self.forgotten.insert(consumer, made_at);
    }

    /// Waits until everything expected is so. The error is the first mishap whose effect did not show in time.
    pub async fn wait(&self, deadline: Duration, proxy: &Proxy, nats: &NatsServer) -> Result<(), NoEffect> {
        let end = Instant::now() + deadline;
        for (service, before) in &self.killed {
            let back = async || (proxy.connected(service) > *before).then_some(());
            let why = || format!("{service} was killed, and its next process never came to the broker");
            within(end, back).await.map_err(|()| NoEffect { mishap: Mishap::KillService, why: why() })?;
        }
        for (consumer, before) in &self.forgotten {
            let made_again = async || made_at(nats, consumer).await.filter(|at| at > before).map(|_| ());
            let why = || format!("the consumer {consumer} was deleted and never made again");
            within(end, made_again)
                .await
                .map_err(|()| NoEffect { mishap: Mishap::ForgetConsumer, why: why() })?;
        }
        Ok(())
    }
}

async fn within(end: Instant, check: impl AsyncFnMut() -> Option<()>) -> Result<(), ()> {
    let left = end.saturating_duration_since(Instant::now());
    // the caller says better what is missing
    let waiting = eventually(2 * left + Duration::from_secs(60), "an effect", check);
    tokio::time::timeout(left + Duration::from_secs(1), waiting).await.map_err(|_| ())
}

/// When a consumer of events was made, in nanoseconds of the broker's clock; `None`: it is not there, or nobody says.
pub(super) async fn made_at(nats: &NatsServer, consumer: &str) -> Option<i128> {
    let stream = connect(nats).await?.get_stream_no_info("EVENTS").await.ok()?;
    Some(stream.consumer_info(consumer).await.ok()?.created.unix_timestamp_nanos())
}
