//! Which VMs are to be looked at, and when. In memory only: a restart looks at all of them.

use crate::store::VmKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Due times of VMs. One VM is never looked at twice at the same time. Cheap to clone.
#[derive(Clone, Default)]
pub struct Attention(Arc<Inner>);

#[derive(Default)]
struct Inner {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    due: BTreeMap<VmKey, Instant>,
    ordered: BTreeSet<(Instant, VmKey)>,
    busy: BTreeSet<VmKey>,
}

impl Queue {
    /// The earlier of two due times holds.
    fn add(&mut self, key: VmKey, at: Instant) {
        if let Some(known) = self.due.get(&key) {
            if *known <= at {
                return;
            }
            self.ordered.remove(&(*known, key));
        }
        self.due.insert(key, at);
        self.ordered.insert((at, key));
    }
}

impl Attention {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something about this VM needs looking at.
    pub fn look_now(&self, key: VmKey) {
        self.look_at(key, Instant::now());
    }

    /// Look at this VM then, unless it is due earlier.
    pub fn look_at(&self, key: VmKey, at: Instant) {
        self.queue().add(key, at);
        self.0.wake.notify_one();
    }

    /// Up to `limit` VMs that are due and that nobody looks at; they are being looked at until [`Self::done`].
    pub fn take_due(&self, now: Instant, limit: usize) -> Vec<VmKey> {
        let mut queue = self.queue();
        let free = queue
            .ordered
            .iter()
            .take_while(|(at, _)| *at <= now)
            .filter(|(_, key)| !queue.busy.contains(key));
        let taken: Vec<(Instant, VmKey)> = free.take(limit).copied().collect();
        for entry in &taken {
            queue.ordered.remove(entry);
            queue.due.remove(&entry.1);
            queue.busy.insert(entry.1);
        }
        taken.into_iter().map(|(_, key)| key).collect()
    }

    /// This VM was looked at; `next` = when it needs it again by itself.
    pub fn done(&self, key: VmKey, next: Option<Instant>) {
        let mut queue = self.queue();
        queue.busy.remove(&key);
        if let Some(at) = next {
            queue.add(key, at);
        }
        drop(queue);
        self.0.wake.notify_one();
    }

    /// Nobody is looked at, and nobody waits to be, now or later.
    pub fn is_idle(&self) -> bool {
        let queue = self.queue();
        queue.busy.is_empty() && queue.due.is_empty()
    }

    /// When the next free VM is due.
    pub fn next_due(&self) -> Option<Instant> {
        let queue = self.queue();
        queue.ordered.iter().find(|(_, key)| !queue.busy.contains(key)).map(|(at, _)| *at)
    }

    /// Resolves when something was added or done since the last time.
    pub async fn changed(&self) {
        self.0.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{HostId, InstanceId};
    use std::time::Duration;

    fn key(n: u128) -> VmKey {
        VmKey { host: HostId::from_u128(1), instance: InstanceId::from_u128(n) }
    }

    #[tokio::test(start_paused = true)]
    async fn one_vm_is_never_looked_at_twice_at_once() {
        let attention = Attention::default();
        let now = Instant::now();
        attention.look_now(key(1));
        assert_eq!(attention.take_due(now, 9), [key(1)]);
        attention.look_now(key(1));
        assert_eq!((attention.take_due(now, 9), attention.next_due()), (vec![], None));
        attention.done(key(1), None);
        assert_eq!(attention.take_due(now, 9), [key(1)], "what came meanwhile is not forgotten");
        assert!(!attention.is_idle(), "it is being looked at");
        attention.done(key(1), Some(now + Duration::from_secs(5)));
        assert!(!attention.is_idle(), "it will be looked at");
        let again = attention.take_due(now + Duration::from_secs(5), 9);
        attention.done(again[0], None);
        assert!(attention.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_moment_holds_and_the_limit_too() {
        let attention = Attention::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        attention.look_at(key(1), later);
        attention.look_at(key(1), now);
        attention.look_at(key(1), later);
        attention.look_at(key(2), now);
        attention.look_at(key(3), later);
        assert_eq!(attention.take_due(now, 1), [key(1)]);
        assert_eq!(attention.take_due(now, 9), [key(2)]);
        assert_eq!(attention.next_due(), Some(later));
    }
}
