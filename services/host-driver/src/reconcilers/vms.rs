//! The loop over VMs: visits those that are due, several at a time, and all of them now and then.

use super::attention::Attention;
use super::visit::Visitor;
use crate::hosts::Hosts;
use crate::metrics::Metrics;
use crate::store::{VmKey, vms};
use ::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A visit that the database did not allow is repeated after this time.
const AFTER_AN_ERROR: Duration = Duration::from_secs(1);

/// Events come in bursts, one action's worth of them: they are looked at together.
const EVENTS_SETTLE: Duration = Duration::from_millis(30);

/// Visits VMs until told to stop; visits in hand are finished.
pub async fn run(visitor: Arc<Visitor>, attention: Attention, at_a_time: usize, stop: CancellationToken) {
    let mut visits: JoinSet<()> = JoinSet::new();
    while !stop.is_cancelled() {
        let free = at_a_time.saturating_sub(visits.len());
        for key in attention.take_due(Instant::now(), free) {
            let (visitor, attention) = (visitor.clone(), attention.clone());
            visits.spawn(async move {
                let seen = Instant::now();
                let next = match visitor.visit(key).await {
                    Ok(next) => next,
                    Err(error) => {
                        tracing::warn!(instance = %key.instance, %error, "visit failed");
                        Some(AFTER_AN_ERROR)
                    }
                };
                visitor.metrics.visit(seen.elapsed());
                attention.done(key, next.map(|pause| Instant::now() + pause));
            });
        }
        let next = attention.next_due().filter(|_| visits.len() < at_a_time);
        tokio::select! {
            () = stop.cancelled() => break,
            () = attention.changed() => {}
            Some(_) = visits.join_next(), if !visits.is_empty() => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
    while visits.join_next().await.is_some() {}
}

/// Turns what hypervisors tell into attention, until told to stop.
pub async fn listen(hosts: Arc<Hosts>, attention: Attention, stop: CancellationToken) {
    let mut listeners = JoinSet::new();
    for host in hosts.all() {
        for (_, backend) in &host.backends {
            let (mut changes, attention, host) = (backend.hypervisor.changes(), attention.clone(), host.id);
            listeners.spawn(async move {
                while let Some(instance) = changes.recv().await {
                    attention.look_at(VmKey { host, instance }, Instant::now() + EVENTS_SETTLE);
                }
            });
        }
    }
    stop.cancelled().await;
}

/// Looks at VMs in a second that the full pass asks for at most.
const LOOKS_PER_SECOND: usize = 500;

/// Asks for a look at every VM, over and over, spread over `period` and over as much longer as thousands of VMs need.
/// What events and timers missed is found here. The first round, after a start, is asked for at once.
pub async fn full_pass(
    store: Store,
    attention: Attention,
    metrics: Metrics,
    period: Duration,
    stop: CancellationToken,
) {
    let mut spread = Duration::ZERO;
    loop {
        let took = match look_at_all(&store, &attention, &metrics, spread).await {
            Ok(vms) => period.max(Duration::from_secs((vms / LOOKS_PER_SECOND) as u64)),
            Err(error) => {
                tracing::warn!(%error, "full pass");
                AFTER_AN_ERROR
            }
        };
        spread = took;
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(took) => {} }
    }
}

async fn look_at_all(
    store: &Store,
    attention: &Attention,
    metrics: &Metrics,
    spread: Duration,
) -> anyhow::Result<usize> {
    let keys = vms::living_keys(store.reader()).await?;
    let now = Instant::now();
    for (number, key) in keys.iter().enumerate() {
        let share = number as f64 / keys.len() as f64;
        attention.look_at(*key, now + spread.mul_f64(share));
    }
    metrics.powers(&vms::powers(store.reader()).await?);
    Ok(keys.len())
}
