//! VMs that carry our mark and that nobody ordered: said once, and left alone unless the operator wants otherwise.

use crate::hosts::Hosts;
use crate::store::{VmKey, vms};
use crate::translate::outgoing;
use bus::{Cause, Desk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// What to do about a VM with our mark that nobody ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrphanPolicy {
    /// Say it; somebody may have lost a database.
    #[default]
    Report,
    /// Take its power and forget it. Its disks stay.
    Remove,
}

/// Looks for orphans. Cheap to clone.
#[derive(Clone)]
pub struct Orphans {
    /// The database.
    pub desk: Desk,
    /// The hosts of this process.
    pub hosts: Arc<Hosts>,
    /// What to do.
    pub policy: OrphanPolicy,
    /// What was said since this process started.
    pub said: Arc<Mutex<BTreeSet<VmKey>>>,
}

impl Orphans {
    /// One look at everything that runs on the hosts of this process.
    pub async fn pass(self) -> anyhow::Result<()> {
        // first the hypervisors, then the orders: a VM that is made in between has its order already
        let mut there = Vec::new();
        for host in self.hosts.all() {
            for (_, backend) in &host.backends {
                // one that cannot be reached is somebody else's news
                let Ok(instances) = backend.hypervisor.list().await else { continue };
                let keys = instances.into_iter().map(|instance| VmKey { host: host.id, instance });
                there.extend(keys.map(|key| (key, backend.clone())));
            }
        }
        // one that was taken away as ordered and is there again is nobody's either
        let ordered: BTreeSet<VmKey> =
            vms::living_keys(self.desk.store().reader()).await?.into_iter().collect();
        self.said.lock().unwrap_or_else(PoisonError::into_inner).retain(|key| {
            // one that went, and comes again, is news again
            there.iter().any(|(known, _)| known == key)
        });
        for (key, backend) in there {
            if ordered.contains(&key) || !self.is_news(key) {
                continue;
            }
            let remove = self.policy == OrphanPolicy::Remove;
            if remove {
                backend.hypervisor.destroy(key.instance).await?;
                backend.hypervisor.undefine(key.instance).await?;
            }
            tracing::warn!(instance = %key.instance, host = %key.host, removed = remove, "a vm that nobody ordered");
            let mut unit = self.desk.begin(Cause::own(crate::SERVICE.name)).await?;
            unit.say_for(kernel::PLATFORM, &outgoing::orphan(key, remove));
            unit.commit().await?;
            self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        }
        Ok(())
    }

    fn is_news(&self, key: VmKey) -> bool {
        !self.said.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }
}
