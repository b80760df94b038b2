//! Hosts that do not answer an order are told it again: that an order left its queue is no proof that it was taken.
//!
//! A host answers an order with an observation that follows it, so an instance whose newest intent no observation
//! followed has a host that was never told, or whose answer was lost. Orders are told apart by generation and intent
//! revision: a host that has one already only answers again.

use super::alone::damaged_alone;
use super::cause;
use crate::domain::lifecycle;
use crate::metrics::Metrics;
use crate::store::{hosts, instances};
use crate::translate::lifecycle as translate;
use bus::{Cause, Desk, Failure};
use kernel::{InstanceId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Rows of one look.
const PAGE: i64 = 1_000;
/// Orders told again in one pass; the next pass takes the rest. Few: a scheduler that is itself behind with what hosts said
/// must not be held up further by answers to what it asks again.
const BATCH: usize = 20;
/// The longest pause between two reminders of one order.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The loop's state.
pub struct Orders {
    desk: Desk,
    metrics: Metrics,
    patience: Duration,
    /// Instances that wait for an answer. Lost with the process: they are waited for anew.
    waits: Mutex<BTreeMap<InstanceId, Wait>>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    /// What was last told again; 0 = nothing.
    intent: u64,
    told: u32,
    next_at: Timestamp,
}

impl Orders {
    /// Nobody is waited for yet.
    pub fn new(desk: Desk, metrics: Metrics, patience: Duration) -> Self {
        Self { desk, metrics, patience, waits: Mutex::default() }
    }

    /// One pass over all instances whose hosts have not answered.
    pub async fn pass(self: Arc<Self>) -> anyhow::Result<()> {
        let due = self.due().await?;
        if due.is_empty() {
            return Ok(());
        }
        let mut work = self.desk.begin(Cause::own(self.desk.service())).await?;
        let (now, mut told) = (work.now(), 0);
        for id in due {
            let found = instances::find(&mut work, id).await;
            let found = damaged_alone(&self.metrics, "orders", &id.to_string(), found)?.flatten();
            let Some(instance) = found.filter(|it| it.is_unconfirmed()) else { continue };
            if !self.is_told(id, instance.intent_revision, now) {
                continue;
            }
            let Some(intent) = lifecycle::intent(&instance) else { continue };
            let Some(agent) = hosts::agent_of(work.tx(), intent.host).await? else { continue };
            tracing::warn!(
                instance = %id,
                host = %intent.host,
                generation = intent.generation,
                intent_revision = intent.intent_revision,
                "the host has not answered this order; telling it again"
            );
            work.set_cause(cause::of(&instance, self.desk.service()));
            let mut order = translate::ensure_vm(&instance, intent, agent);
            order.answer_again = true;
            work.tell(&order);
            told += 1;
        }
        work.commit().await?;
        self.metrics.told_again(told);
        Ok(())
    }

    /// Those that have waited long enough, of hosts that are up.
    async fn due(&self) -> anyhow::Result<Vec<InstanceId>> {
        let now = self.desk.clock().now();
        let mut reader = self.desk.store().reader().acquire().await?;
        let up: BTreeSet<String> = hosts::states(&mut reader)
            .await?
            .into_iter()
            .filter_map(|(host, is_up)| is_up.then_some(host))
            .collect();
        let (mut due, mut waiting, mut after) = (Vec::new(), BTreeSet::new(), String::new());
        loop {
            let page = instances::unconfirmed(&mut reader, &after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, host) in &page {
                let read = id.parse::<InstanceId>().map_err(|e| Failure::Poison(e.to_string()));
                let Some(id) = damaged_alone(&self.metrics, "orders", id, read)? else { continue };
                waiting.insert(id);
                let fresh = Wait { intent: 0, told: 0, next_at: now.after(self.patience) };
                let wait = waits.entry(id).or_insert(fresh);
                if wait.next_at <= now && up.contains(host) && due.len() < BATCH {
                    due.push(id);
                }
            }
        }
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.retain(|id, _| waiting.contains(id));
        Ok(due)
    }

    /// Notes that an order is told again; false when it is a newer one than was told before: that has its own time.
    fn is_told(&self, id: InstanceId, intent: u64, now: Timestamp) -> bool {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wait) = waits.get_mut(&id) else { return false };
        let newer = wait.intent != 0 && wait.intent != intent;
        wait.told = if newer { 0 } else { wait.told + 1 };
        wait.intent = intent;
        let pause = self.patience.saturating_mul(1 << wait.told.min(16));
        wait.next_at = now.after(pause.min(LONGEST_PAUSE.max(self.patience)));
        !newer
    }
}
