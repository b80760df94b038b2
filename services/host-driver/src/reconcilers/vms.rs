//! The loop over VMs: visits those that are due, several at a time, and all of them now and then.

use super::attention::Attention;
use super::visit::Visitor;
use crate::hosts::Hosts;
use crate::metrics::Metrics;
use crate::store::{VmKey, vms};
use ::store::Store;
use bus::Trouble;
use chassis::HealthHandle;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A visit that the database did not allow is repeated after this time.
const AFTER_AN_ERROR: Duration = Duration::from_secs(1);

/// How long a visit may take before it is said. Files of images are fetched and converted in it.
const LONG_VISIT: Duration = Duration::from_secs(300);

/// A visit that takes so long does not end: it is dropped where it is, and the VM is visited again.
const LONGEST_VISIT: Duration = Duration::from_secs(3600);

/// How often visits under way are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Visits VMs until told to stop; visits in hand are finished.
pub async fn run(
    visitor: Arc<Visitor>,
    attention: Attention,
    at_a_time: usize,
    health: HealthHandle,
    stop: CancellationToken,
) {
    let visit = move |key: VmKey| {
        let visitor = visitor.clone();
        async move {
            let seen = Instant::now();
            let next = match visitor.visit(key).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(instance = %key.instance, %error, "visit failed");
                    Some(AFTER_AN_ERROR)
                }
            };
            visitor.metrics.visit(seen.elapsed());
            next
        }
    };
    visits(visit, attention, at_a_time, health, stop).await;
}

/// A VM that is being visited. However the visit ends, the VM gets attention again.
struct UnderWay {
    key: VmKey,
    attention: Attention,
    next: Option<Duration>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.attention.done(self.key, self.next.map(|pause| Instant::now() + pause));
    }
}

async fn visits<V>(
    visit: impl Fn(VmKey) -> V,
    attention: Attention,
    at_a_time: usize,
    health: HealthHandle,
    stop: CancellationToken,
) where
    V: Future<Output = Option<Duration>> + Send + 'static,
{
    health.ok("visits end");
    let mut visits: JoinSet<VmKey> = JoinSet::new();
    let mut since: BTreeMap<VmKey, Instant> = BTreeMap::new();
    let mut looks = tokio::time::interval(LOOK);
    while !stop.is_cancelled() {
        let free = at_a_time.saturating_sub(visits.len());
        for key in attention.take_due(Instant::now(), free) {
            since.insert(key, Instant::now());
            let (visit, attention) = (visit(key), attention.clone());
            visits.spawn(async move {
                let mut under_way = UnderWay { key, attention, next: Some(AFTER_AN_ERROR) };
                match tokio::time::timeout(LONGEST_VISIT, visit).await {
                    Ok(next) => under_way.next = next,
                    Err(_) => tracing::error!(instance = %key.instance, "visit given up: it does not end"),
                }
                key
            });
        }
        let next = attention.next_due().filter(|_| visits.len() < at_a_time);
        tokio::select! {
            () = stop.cancelled() => break,
            () = attention.changed() => {}
            Some(ended) = visits.join_next(), if !visits.is_empty() => match ended {
                Ok(key) => {
                    since.remove(&key);
                }
                Err(error) => {
                    tracing::error!(%error, "visit died");
                    // which one it was is not known: those that go on are looked at from now on
                    since.values_mut().for_each(|at| *at = Instant::now());
                }
            },
            _ = looks.tick() => tell(&health, &since),
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
    while visits.join_next().await.is_some() {}
}

fn tell(health: &HealthHandle, since: &BTreeMap<VmKey, Instant>) {
    match since.iter().min_by_key(|(_, at)| **at).filter(|(_, at)| at.elapsed() >= LONG_VISIT) {
        None => health.ok("visits end"),
        Some((key, at)) => {
            let detail = format!(
                "instance {} on host {} has been worked at for {} s without an end",
                key.instance,
                key.host,
                at.elapsed().as_secs()
            );
            health.troubled(Trouble::Stuck, detail);
        }
    }
}

/// Turns what hypervisors tell into attention, until told to stop. Events come in bursts, one action's worth of them: they
/// are looked at together, when they have settled for so long.
pub async fn listen(hosts: Arc<Hosts>, attention: Attention, settle: Duration, stop: CancellationToken) {
    let mut listeners = JoinSet::new();
    for host in hosts.all() {
        for (_, backend) in &host.backends {
            let (mut changes, attention, host) = (backend.hypervisor.changes(), attention.clone(), host.id);
            listeners.spawn(async move {
                while let Some(instance) = changes.recv().await {
                    attention.look_at(VmKey { host, instance }, Instant::now() + settle);
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

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::Health;
    use kernel::{HostId, InstanceId};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Visits one VM; the n-th visit is `visit(n)`. Answers what the health said, until `enough` visits were begun.
    async fn told<V>(enough: u32, visit: impl Fn(u32) -> V) -> Vec<(bool, String)>
    where
        V: Future<Output = Option<Duration>> + Send + 'static,
    {
        let (health, stop, attention) = (Health::default(), CancellationToken::new(), Attention::default());
        attention.look_at(VmKey { host: HostId::new(), instance: InstanceId::new() }, Instant::now());
        let count = AtomicU32::new(0);
        let begin = |_| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            if number + 1 == enough {
                stop.cancel();
            }
            visit(number)
        };
        let mut told = Vec::new();
        let looking = async {
            loop {
                let now = health.all().first().map(|c| (c.healthy, c.detail.clone())).expect("the loop");
                if told.last().is_none_or(|(well, _)| *well != now.0) {
                    told.push(now);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let visiting = visits(begin, attention, 4, health.component("visits"), stop.clone());
        tokio::select! { biased; () = visiting => {} () = looking => {} }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_visit_that_does_not_end_is_named_and_given_up_and_the_vm_is_visited_again() {
        let began = Instant::now();
        let told = told(30, |number| async move {
            if number == 0 {
                std::future::pending::<()>().await;
            }
            Some(LOOK)
        })
        .await;
        assert!(began.elapsed() >= LONGEST_VISIT);
        let said: Vec<bool> = told.iter().map(|(well, _)| *well).collect();
        assert_eq!(said, [true, false, true], "{told:?}");
        assert!(told[1].1.contains("has been worked at for 300 s"), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_visit_that_dies_leaves_the_vm_to_be_visited_again() {
        let began = Instant::now();
        told(3, |number| async move {
            assert!(number != 0, "as planned");
            Some(LOOK)
        })
        .await;
        assert!(began.elapsed() < LONG_VISIT);
    }
}
