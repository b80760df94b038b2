//! Removes cached image files that no VM of this process is made of.

use crate::hosts::Hosts;
use crate::store::vms;
use crate::translate::incoming;
use bus::Desk;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One look through the caches.
pub async fn pass(desk: Desk, hosts: Arc<Hosts>) -> anyhow::Result<()> {
    let mut in_use = BTreeSet::new();
    for row in vms::living(desk.store().reader()).await? {
        if let Ok(spec) = incoming::spec(&row.spec) {
            in_use.extend(spec.artifacts.into_iter().map(|artifact| artifact.sha256));
        }
    }
    for host in hosts.all() {
        for (_, backend) in &host.backends {
            // a disk in quarantine is worth nothing without the image it is an overlay of
            let aside = backend.disks.quarantined().await?;
            if !aside.unreadable.is_empty() {
                continue;
            }
            let mut in_use = in_use.clone();
            in_use.extend(aside.items.into_iter().flat_map(|item| item.images));
            let evicted = backend.disks.evict_except(&in_use, desk.clock().now()).await?;
            if evicted > 0 {
                tracing::info!(host = host.name, evicted, "removed cached image files that nothing uses");
            }
        }
    }
    Ok(())
}
