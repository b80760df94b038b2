//! Says what each host is and can do whenever that changes, and that all of them are alive.

use super::attention::Attention;
use crate::hosts::{Host, Hosts};
use crate::store::{VmKey, hosts, work};
use crate::translate::outgoing;
use anyhow::Context;
use bus::{Cause, Desk};
use chassis::HealthHandle;
use contracts::common::v1::Resources;
use contracts::host_driver::v1::{HostCondition, HostHeartbeat, HostReport, HostReported};
use kernel::HostId;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Hosts in one transaction, or in one sample.
const BATCH: usize = 500;

/// Reports hosts.
#[derive(Clone)]
pub struct HostReports {
    /// The database.
    pub desk: Desk,
    /// The hosts of this process.
    pub hosts: Arc<Hosts>,
    /// What commands to these hosts are keyed by.
    pub agent_id: String,
    /// Which database the orders are in.
    pub store_id: String,
    /// Labels of every host.
    pub labels: BTreeMap<String, String>,
    /// Memory that the host itself needs.
    pub reserve_memory: u64,
    /// Told whether hypervisors answer.
    pub health: HealthHandle,
    /// Hosts whose hypervisor did not answer the last time: they give no sign of life.
    pub silent: Arc<Mutex<BTreeSet<HostId>>>,
    /// Who looks after VMs: told of all of a host's when what kept them waiting is over.
    pub attention: Attention,
}

impl HostReports {
    /// Says what changed since it was last said.
    pub async fn pass(self) -> anyhow::Result<()> {
        let said = hosts::all(self.desk.store().reader()).await?;
        let mut news: Vec<(HostId, HostReport)> = Vec::new();
        let (mut unknown, mut troubles, mut relieved) = (None, Vec::new(), BTreeSet::new());
        for host in self.hosts.all() {
            // one host that cannot be asked does not silence the others
            match self.report(host).await {
                Err(error) => {
                    self.silent().insert(host.id);
                    unknown = Some(error.context(format!("host {}", host.name)));
                }
                Ok(mut report) => {
                    let (revision, last) = said.get(&host.id).cloned().unwrap_or_default();
                    let before = HostReport::decode(last.as_slice()).unwrap_or_default().conditions;
                    keep_since(&mut report.conditions, &before);
                    let over = |was: &HostCondition| report.conditions.iter().all(|is| is.code != was.code);
                    if self.silent().remove(&host.id) || before.iter().any(over) {
                        relieved.insert(host.id);
                    }
                    let trouble = |is: &HostCondition| format!("{}: {}", host.name, is.message);
                    troubles.extend(report.conditions.iter().map(trouble));
                    let same = HostReport { revision, ..report.clone() }.encode_to_vec() == last;
                    if revision == 0 || !same {
                        let revision = outgoing::next_revision(revision, self.desk.clock().now());
                        news.push((host.id, HostReport { revision, ..report }));
                    }
                }
            }
        }
        match &unknown {
            Some(error) => self.health.bad(format!("{error:#}")),
            None if !troubles.is_empty() => self.health.bad(troubles.join("; ")),
            None => self.health.ok("hypervisors answer"),
        }
        for batch in news.chunks(BATCH) {
            let mut unit = self.desk.begin(Cause::own(crate::SERVICE.name)).await?;
            for (host, report) in batch {
                hosts::put(unit.tx(), *host, report.revision, &report.encode_to_vec()).await?;
                unit.say_for(kernel::PLATFORM, &HostReported { report: Some(report.clone()) });
            }
            unit.commit().await?;
        }
        self.look_at_those_who_waited(&relieved).await?;
        unknown.map_or(Ok(()), Err)
    }

    /// What kept all VMs of a host waiting is over: nobody waits for the end of a pause.
    async fn look_at_those_who_waited(&self, relieved: &BTreeSet<HostId>) -> anyhow::Result<()> {
        if relieved.is_empty() {
            return Ok(());
        }
        let waiting = work::waiting(self.desk.store().reader()).await?;
        let mut unit = self.desk.begin(Cause::own(crate::SERVICE.name)).await?;
        let keys: Vec<VmKey> = waiting.into_iter().filter(|key| relieved.contains(&key.host)).collect();
        work::end_pauses(unit.tx(), &keys).await?;
        unit.commit().await?;
        for key in keys {
            self.attention.look_now(key);
        }
        Ok(())
    }

    fn silent(&self) -> MutexGuard<'_, BTreeSet<HostId>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a host is now; its revision is left out.
    async fn report(&self, host: &Host) -> anyhow::Result<HostReport> {
        let (_, first) = host.backends.first().context("a host without a driver")?;
        let capacity = first.hypervisor.capacity().await?;
        let mut drivers = Vec::with_capacity(host.backends.len());
        for (_, backend) in &host.backends {
            drivers.push(outgoing::driver_report(&backend.hypervisor.capabilities().await?));
        }
        let mut conditions = Vec::new();
        for (_, backend) in &host.backends {
            conditions.extend(backend.hypervisor.conditions().await?);
            conditions.extend(backend.disks.conditions().await);
        }
        let mut labels = self.labels.clone();
        labels.extend(host.labels.clone());
        Ok(HostReport {
            host_id: host.id.to_string(),
            name: host.name.clone(),
            agent_id: self.agent_id.clone(),
            revision: 0,
            capacity: Some(Resources {
                vcpus_milli: capacity.vcpus.0,
                memory_bytes: capacity.memory.0.saturating_sub(self.reserve_memory),
                disk_bytes: first.disks.capacity().await?.0,
            }),
            labels: with_model(labels, &capacity.gpu_model),
            drivers,
            architecture: std::env::consts::ARCH.to_owned(),
            store_id: self.store_id.clone(),
            gpus: capacity.gpus,
            gpu_model: capacity.gpu_model,
            conditions: conditions.iter().map(|c| outgoing::condition(c, self.desk.clock().now())).collect(),
        })
    }
}

/// What lasts was said with the words and the time at which it began: numbers in it that change are no news.
fn keep_since(now: &mut [HostCondition], before: &[HostCondition]) {
    for condition in now {
        if let Some(known) = before.iter().find(|known| known.code == condition.code) {
            condition.clone_from(known);
        }
    }
}

/// Requests ask for a model of GPU by this label; what an operator wrote there stands.
fn with_model(mut labels: BTreeMap<String, String>, model: &str) -> BTreeMap<String, String> {
    if !model.is_empty() {
        labels.entry("gpu.model".to_owned()).or_insert_with(|| model.to_owned());
    }
    labels
}

/// Says that the hosts are alive, every `period`, until told to stop. Nothing is said while their tables cannot be
/// written: such a host obeys no order.
pub async fn beat(bus: bus::Connection, reports: HostReports, period: Duration, stop: CancellationToken) {
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = tick.tick() => {} }
        let ids: Vec<String> = {
            let silent = reports.silent();
            let alive = reports.hosts.all().filter(|host| !silent.contains(&host.id));
            alive.map(|host| host.id.to_string()).collect()
        };
        for batch in ids.chunks(BATCH) {
            let sample = HostHeartbeat { agent_id: reports.agent_id.clone(), host_ids: batch.to_vec() };
            if let Err(error) = bus::samples::publish(&bus, &sample).await {
                tracing::debug!(%error, "a heartbeat was not sent");
            }
        }
    }
}
