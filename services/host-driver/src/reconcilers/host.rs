//! Says what each host is and can do whenever that changes, and that all of them are alive.

use crate::hosts::{Host, Hosts};
use crate::store::hosts;
use crate::translate::outgoing;
use anyhow::Context;
use bus::{Cause, Desk};
use chassis::HealthHandle;
use contracts::common::v1::Resources;
use contracts::host_driver::v1::{HostHeartbeat, HostReport, HostReported};
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
}

impl HostReports {
    /// Says what changed since it was last said.
    pub async fn pass(self) -> anyhow::Result<()> {
        let said = hosts::all(self.desk.store().reader()).await?;
        let mut news: Vec<(HostId, HostReport)> = Vec::new();
        let mut unknown = None;
        for host in self.hosts.all() {
            // one host that cannot be asked does not silence the others
            match self.report(host).await {
                Err(error) => {
                    self.silent().insert(host.id);
                    unknown = Some(error.context(format!("host {}", host.name)));
                }
                Ok(report) => {
                    self.silent().remove(&host.id);
                    let (revision, last) = said.get(&host.id).cloned().unwrap_or_default();
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
            None => self.health.ok("hypervisors answer"),
        }
        for batch in news.chunks(BATCH) {
            let mut unit = self.desk.begin(Cause::own(crate::SERVICE)).await?;
            for (host, report) in batch {
                hosts::put(unit.tx(), *host, report.revision, &report.encode_to_vec()).await?;
                unit.say_for(kernel::PLATFORM, &HostReported { report: Some(report.clone()) });
            }
            unit.commit().await?;
        }
        unknown.map_or(Ok(()), Err)
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
        })
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
