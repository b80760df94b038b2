//! Files that were put aside: said as they lie on the disks of the hosts, and removed when their time is over or
//! somebody orders it.
//!
//! The disk is the truth: what is there and was not said is said, what was said and is gone is said to be gone. Removing
//! goes in three steps, each of which may be the last of a process: the files are condemned, that is said, they go.

use crate::hosts::{Backend, Host, Hosts};
use crate::metrics::Metrics;
use crate::store::quarantine::{self, DropOrder};
use crate::store::{VmKey, vms};
use crate::translate::outgoing;
use bus::{Cause, Desk};
use contracts::host_driver::v1 as wire;
use host_driver_adapters::InQuarantine;
use host_driver_domain::quarantine::{Keep, due};
use host_driver_domain::{DropReason, HostCause, Quarantined};
use kernel::QuarantineId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Looks after the quarantine of the hosts of this process. Cheap to clone.
#[derive(Clone)]
pub struct Quarantine {
    /// The database.
    pub desk: Desk,
    /// The hosts of this process.
    pub hosts: Arc<Hosts>,
    /// How long files are kept.
    pub keep: Keep,
    /// Numbers for operators.
    pub metrics: Metrics,
}

impl Quarantine {
    /// One look at everything that was put aside. A host that cannot be looked at does not hold up the others.
    pub async fn pass(self) -> anyhow::Result<()> {
        let orders = quarantine::orders(self.desk.store().reader()).await?;
        let mut kept = Vec::new();
        let mut failed = None;
        for host in self.hosts.all() {
            for (_, backend) in &host.backends {
                match self.look_after(host, backend, &orders).await {
                    Ok(items) => kept.extend(items),
                    Err(error) => failed = Some(error.context(format!("the quarantine of {}", host.name))),
                }
            }
        }
        // a host that comes back under other settings still has what it held
        for order in orders.iter().filter(|order| self.host_is_here(order)) {
            self.refuse(order).await?;
        }
        self.metrics.quarantine(&kept, self.desk.clock().now());
        failed.map_or(Ok(()), Err)
    }

    fn host_is_here(&self, order: &DropOrder) -> bool {
        order.host.parse().is_ok_and(|host| self.hosts.get(host).is_some())
    }

    /// Answers what is held afterwards.
    async fn look_after(
        &self,
        host: &Host,
        backend: &Backend,
        orders: &[DropOrder],
    ) -> anyhow::Result<Vec<Quarantined>> {
        let said = quarantine::of_host(self.desk.store().reader(), &host.id.to_string()).await?;
        let mut said: BTreeMap<String, wire::Quarantined> =
            said.into_iter().map(|item| (item.id.clone(), item)).collect();
        // first what was said, then the disk: what goes into the quarantine in between is there already
        let InQuarantine { items, unreadable } = backend.disks.quarantined().await?;
        for item in items.iter().filter(|item| item.dropping.is_none()) {
            if !said.contains_key(&item.id.to_string()) {
                let held = outgoing::held(host.id, item, &self.keep);
                self.say(None, &held, true).await?;
                said.insert(held.id.clone(), held);
            }
        }
        let there = items.iter().map(|item| item.id).chain(unreadable).map(|id| id.to_string()).collect();
        self.say_what_is_gone(host, &there, &said).await?;
        let ordered = |item: &Quarantined| orders.iter().find(|o| o.quarantine_id == item.id.to_string());
        let short = backend.disks.conditions().await.iter().any(|c| c.cause == HostCause::Storage);
        let overdue: BTreeMap<QuarantineId, DropReason> =
            due(&items, &self.keep, short, self.desk.clock().now()).into_iter().collect();
        let mut kept = Vec::new();
        for item in items {
            let order = ordered(&item);
            let why = order.map(|_| DropReason::Ordered).or(overdue.get(&item.id).copied());
            let Some(why) = item.dropping.or(why) else {
                kept.push(item);
                continue;
            };
            if item.dropping.is_none() {
                backend.disks.condemn(item.id, why).await?;
            }
            if let Some(held) = said.get(&item.id.to_string()) {
                let gone = outgoing::no_longer_held(
                    held,
                    wire::QuarantineState::Dropped,
                    outgoing::drop_reason(why),
                );
                self.say(order, &gone, false).await?;
            }
            backend.disks.drop_quarantined(item.id).await?;
            tracing::info!(id = %item.id, instance = %item.instance, why = why.name(), "files in quarantine removed");
        }
        Ok(kept)
    }

    /// What was said to be held and is not on the disk any more: given back, or removed by somebody else.
    async fn say_what_is_gone(
        &self,
        host: &Host,
        there: &BTreeSet<String>,
        said: &BTreeMap<String, wire::Quarantined>,
    ) -> anyhow::Result<()> {
        for held in said.values().filter(|held| !there.contains(&held.id)) {
            let taken_back = match held.instance_id.parse() {
                Ok(instance) => {
                    let mut reader = self.desk.store().reader().acquire().await?;
                    let row = vms::find(&mut reader, VmKey { host: host.id, instance }).await?;
                    row.is_some_and(|row| row.take_back == held.id)
                }
                Err(_) => false,
            };
            let gone = if taken_back {
                outgoing::no_longer_held(
                    held,
                    wire::QuarantineState::GivenBack,
                    wire::DropReason::Unspecified,
                )
            } else {
                tracing::error!(
                    id = held.id,
                    instance = held.instance_id,
                    "files in quarantine are gone, not by us"
                );
                outgoing::no_longer_held(held, wire::QuarantineState::Dropped, wire::DropReason::Gone)
            };
            self.say(None, &gone, false).await?;
        }
        Ok(())
    }

    /// Says it once, and that the order was carried out that it comes of: `news` = nobody has said anything of these
    /// files before.
    async fn say(
        &self,
        order: Option<&DropOrder>,
        item: &wire::Quarantined,
        news: bool,
    ) -> anyhow::Result<()> {
        let own = Cause::own(crate::SERVICE.name).for_tenant(&item.tenant);
        let mut unit = self.desk.begin(order.map_or(own, |order| order.cause.clone())).await?;
        // a visit may have said it meanwhile
        if quarantine::find(&mut *unit.tx(), &item.id).await?.is_some() == news {
            return Ok(());
        }
        quarantine::put(unit.tx(), item).await?;
        let mut operations = Vec::new();
        if let Some(order) = order {
            quarantine::ordered(unit.tx(), &order.operation_id).await?;
            operations.push(outgoing::drop_done(&order.operation_id));
        }
        unit.say_for(&item.tenant, &wire::QuarantineChanged { item: Some(item.clone()), operations });
        unit.commit().await?;
        Ok(())
    }

    /// An order about files that are not held: carried out by another order, or never there.
    async fn refuse(&self, order: &DropOrder) -> anyhow::Result<()> {
        let mut unit = self.desk.begin(order.cause.clone()).await?;
        let open = quarantine::orders(&mut *unit.tx()).await?;
        if open.iter().all(|open| open.operation_id != order.operation_id) {
            return Ok(());
        }
        quarantine::ordered(unit.tx(), &order.operation_id).await?;
        unit.say_for(&order.cause.tenant, &outgoing::not_held(order));
        unit.commit().await?;
        Ok(())
    }
}
