//! `berth replay check`: the invariants of a node that is up, judged by its log, its tables and its hypervisor.

use super::assembly::{Folders, settings_of};
use super::settings::{NodeDriver, NodeSettings};
use checker::{Judgement, PowerSeen, Truth, VmSeen, judge};
use host_driver::Hosts;
use host_driver::domain::{Domain, Power};

/// Judges the node in `settings.data_dir`. Changes nothing. The node should be idle: what is under way looks wrong.
pub async fn replay_check(settings: NodeSettings) -> anyhow::Result<Judgement> {
    let folders = Folders::of(&settings);
    let bus = super::broker_settings(&settings)?;
    let connection = bus::Connection::open(&bus, "replay check", bus::Report::none()).await?;
    let truth = match settings.host.driver {
        NodeDriver::Libvirt => {
            let host: host_driver::Settings = settings_of(&host_driver::SERVICE, &settings)?;
            Some(ask(&host.hosts()?).await?)
        }
        // they live in the memory of the node
        NodeDriver::Simulated => None,
    };
    judge(&connection, &folders.databases(), truth).await
}

/// Asks every hypervisor what it has.
pub(crate) async fn ask(hosts: &Hosts) -> anyhow::Result<Truth> {
    let mut truth = Truth::default();
    for host in hosts.all() {
        truth.hosts.push(host.id.to_string());
        for (_, backend) in &host.backends {
            for instance in backend.hypervisor.list().await? {
                let Domain::Ours(vm) = backend.hypervisor.observe(instance).await? else { continue };
                let power = match vm.power {
                    Power::Running => PowerSeen::Running,
                    Power::Paused(_) => PowerSeen::Paused,
                    Power::Off(_) => PowerSeen::Off,
                };
                truth.vms.push(VmSeen { host: host.id.to_string(), instance: instance.to_string(), power });
            }
        }
    }
    Ok(truth)
}
