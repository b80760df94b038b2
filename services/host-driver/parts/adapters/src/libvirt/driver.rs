//! The libvirt driver: each operation of the seam as the libvirt calls it takes.

use super::definition::{self, Dialect, definition, domain_name};
use super::kvm::{Acceleration, KvmProbe};
use super::link::{Link, meaning};
use super::xml::{DomainXml, MARK_URI};
use super::{agent, console, faults};
use crate::fault::Fault;
use crate::hypervisor::{Capabilities, Capacity, Console, ExecCall, ExecOutcome, Hypervisor};
use async_trait::async_trait;
use host_driver_domain::observed::boot_number;
use host_driver_domain::{Condition, Domain as Seen, DriverKind, Held, HostCause, Machine, Power};
use kernel::{Bytes, HostId, InstanceId, MilliVcpus};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use virt::connect::Connect;
use virt::domain::Domain;

/// A request to the guest that is not taken within this time was heard or never will be.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How to reach libvirt and what to use of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LibvirtSettings {
    /// "qemu:///system", or "test:///default" for libvirt's mock.
    pub uri: String,
    /// The libvirt network that guests are attached to.
    pub network: String,
    /// "auto" finds out whether KVM works by booting a kernel; "kvm" and "tcg" are taken at their word.
    pub acceleration: Acceleration,
}

impl Default for LibvirtSettings {
    fn default() -> Self {
        Self { uri: "qemu:///system".into(), network: "default".into(), acceleration: Acceleration::Auto }
    }
}

/// Drives one libvirt.
pub struct LibvirtHypervisor {
    link: Link,
    settings: LibvirtSettings,
    kvm: KvmProbe,
    host: HostId,
}

impl LibvirtHypervisor {
    /// A driver of `host`; nothing is opened yet. `data` holds the answer of the KVM probe. VMs that carry the mark of
    /// another host are somebody else's, also on the same libvirt.
    pub fn new(settings: LibvirtSettings, data: &Path, host: HostId) -> Self {
        Self { link: Link::new(&settings.uri), settings, kvm: KvmProbe::new(data), host }
    }

    fn is_mock(&self) -> bool {
        self.settings.uri.starts_with("test:")
    }

    async fn dialect(&self, kernel: Option<&Path>) -> Dialect {
        if self.is_mock() {
            return Dialect::Test;
        }
        let kvm = match self.settings.acceleration {
            Acceleration::Kvm => true,
            Acceleration::Tcg => false,
            Acceleration::Auto => self.kvm.works(kernel).await,
        };
        Dialect::Qemu { kvm }
    }

    async fn definition(&self, machine: &Machine) -> Result<DomainXml, Fault> {
        // only a file that is there can be tried
        let kernel = machine.kernel.as_deref().filter(|k| k.exists());
        let dialect = self.dialect(kernel).await;
        definition(machine, self.host, dialect, &self.settings.network)
            .map_err(|why| Fault::permanent("DEFINITION_REFUSED", why))
    }

    /// Runs `call` on our domain.
    async fn on<T: Send + 'static>(
        &self,
        instance: InstanceId,
        call: impl FnOnce(&Connect, Domain) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let host = self.host;
        self.link.call(move |connection| call(connection, ours(connection, host, instance)?)).await
    }

    /// A request to the guest: libvirt may wait for the guest to take it, we do not.
    async fn ask(
        &self,
        instance: InstanceId,
        request: impl FnOnce(&Domain) -> Result<(), virt::error::Error> + Send + 'static,
    ) -> Result<(), Fault> {
        let asked = self.on(instance, move |_, domain| match request(&domain) {
            Err(e) if faults::is_wrong_state(&e) || faults::is_agent_silent(&e) => Ok(()),
            other => meaning(other),
        });
        tokio::time::timeout(REQUEST_LIMIT, asked).await.unwrap_or(Ok(()))
    }
}

/// The domain that carries our mark for this instance.
fn ours(connection: &Connect, host: HostId, instance: InstanceId) -> Result<Domain, Fault> {
    let domain = meaning(connection.lookup_domain_by_uuid_string(&instance.to_string()))?;
    if read(&domain)?.mark().is_some_and(|m| m.is_of(host, instance)) {
        return Ok(domain);
    }
    Err(Fault::permanent("NAME_TAKEN", "a VM of this id is there and does not carry the mark of this host"))
}

/// The definition as it will be at the next start.
fn read(domain: &Domain) -> Result<DomainXml, Fault> {
    let text = meaning(domain.xml_desc(virt_sys::VIR_DOMAIN_XML_INACTIVE))?;
    DomainXml::from_xml(&text).map_err(|e| Fault::Failed(format!("libvirt's XML cannot be read: {e}")))
}

/// What the domain does, and libvirt's own words for it.
fn state(domain: &Domain) -> Result<(Power, &'static str), Fault> {
    let (state, reason) = meaning(domain.state())?;
    let unsaid = || Fault::Busy("libvirt did not say what the domain does".into());
    super::state::read(state, reason).ok_or_else(unsaid)
}

fn power(domain: &Domain) -> Result<Power, Fault> {
    Ok(state(domain)?.0)
}

fn observe(
    connection: &Connect,
    host: HostId,
    instance: InstanceId,
    reboots: (u16, u64),
) -> Result<Seen, Fault> {
    let domain = match meaning(connection.lookup_domain_by_uuid_string(&instance.to_string())) {
        Err(Fault::NotFound) => {
            return match meaning(connection.lookup_domain_by_name(&domain_name(instance))) {
                Err(Fault::NotFound) => Ok(Seen::Missing),
                Err(fault) => Err(fault),
                Ok(stranger) => Ok(Seen::Foreign { active: !is_off(&stranger)? }),
            };
        }
        other => other?,
    };
    // a start gives a new id, a reboot counts up: together they tell one boot from the next
    let (life, reboots) = reboots;
    let boot = boot_number(u64::from(domain.id().unwrap_or(0)), life, reboots);
    let (xml, (power, words)) = (read(&domain)?, state(&domain)?);
    // somebody may have undefined it while it ran
    let persistent = meaning(domain.is_persistent())?;
    let ours = definition::ours(&xml, host, instance, persistent, (power, words), boot);
    Ok(ours.map_or(Seen::Foreign { active: power.is_active() }, Seen::Ours))
}

fn define(connection: &Connect, host: HostId, instance: InstanceId, xml: &DomainXml) -> Result<(), Fault> {
    // replacing somebody else's definition would be easy: libvirt asks nobody
    if matches!(observe(connection, host, instance, (0, 0))?, Seen::Foreign { .. }) {
        return Err(Fault::permanent(
            "NAME_TAKEN",
            format!("libvirt has a domain {} that is not ours", xml.name),
        ));
    }
    let text = xml.to_xml().map_err(|why| Fault::permanent("DEFINITION_REFUSED", why))?;
    meaning(connection.define_domain_xml(&text)).map(|_| ())
}

fn undefine(domain: &Domain) -> Result<(), Fault> {
    // libvirt would let it run on, undefined
    if !is_off(domain)? {
        return Err(Fault::Failed("a VM that runs is not forgotten".into()));
    }
    let everything = virt_sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | virt_sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | virt_sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | virt_sys::VIR_DOMAIN_UNDEFINE_NVRAM;
    match domain.undefine_flags(everything) {
        Err(e) if faults::is_unsupported(&e) => meaning(domain.undefine()),
        other => meaning(other),
    }
}

/// What is already so is no fault, whatever name an error gives it.
fn unless(
    already: impl FnOnce() -> Result<bool, Fault>,
    result: Result<(), virt::error::Error>,
) -> Result<(), Fault> {
    match meaning(result) {
        Err(Fault::Failed(_)) if already()? => Ok(()),
        other => other,
    }
}

fn is_off(domain: &Domain) -> Result<bool, Fault> {
    Ok(!power(domain)?.is_active())
}

fn addresses_of(domain: &Domain, source: u32) -> Vec<String> {
    let interfaces = domain.interface_addresses(source, 0).unwrap_or_default();
    let all = interfaces.into_iter().filter(|i| i.name != "lo").flat_map(|i| i.addrs).map(|a| a.addr);
    all.filter(|a| !(a.starts_with("127.") || a == "::1" || a.starts_with("fe80:"))).collect()
}

/// Guests are attached to this network: without it none starts.
fn network_condition(connection: &Connect, name: &str) -> Option<Condition> {
    let remedy = format!("bring it up with: virsh net-start {name}");
    let message = match connection.lookup_network_by_name(name).and_then(|network| network.is_active()) {
        Ok(true) => return None,
        Ok(false) => format!("the libvirt network {name:?} is not active; {remedy}"),
        Err(error) => format!("the libvirt network {name:?}: {}", error.message().trim()),
    };
    Some(Condition { cause: HostCause::Network, message })
}

#[async_trait]
impl Hypervisor for LibvirtHypervisor {
    async fn capabilities(&self) -> Result<Capabilities, Fault> {
        let (libvirt, hypervisor) =
            self.link.call(|c| Ok((meaning(c.lib_version())?, c.hyp_version().unwrap_or(0)))).await?;
        let dotted = |n: u32| format!("{}.{}.{}", n / 1_000_000, n / 1_000 % 1_000, n % 1_000);
        let mock = self.is_mock();
        let (name, acceleration) = match self.dialect(None).await {
            Dialect::Test => ("mock", "none"),
            Dialect::Qemu { kvm: true } => ("QEMU", "kvm"),
            Dialect::Qemu { kvm: false } => ("QEMU", "tcg"),
        };
        Ok(Capabilities {
            driver: DriverKind::Libvirt,
            version: format!("{name} {}, libvirt {}", dotted(hypervisor), dotted(libvirt)),
            acceleration: acceleration.to_owned(),
            direct_kernel_boot: true,
            disk_boot: true,
            guest_agent: !mock,
            console: !mock,
            pause: true,
            addresses: !mock,
        })
    }

    async fn capacity(&self) -> Result<Capacity, Fault> {
        let node = self.link.call(|c| meaning(c.node_info())).await?;
        Ok(Capacity {
            vcpus: MilliVcpus(u64::from(node.cpus) * 1000),
            // libvirt says KiB
            memory: Bytes(node.memory * 1024),
            // devices are not passed through: a GPU that no guest can get is none
            gpus: 0,
            gpu_model: String::new(),
        })
    }

    async fn conditions(&self) -> Result<Vec<Condition>, Fault> {
        let name = self.settings.network.clone();
        self.link.call(move |connection| Ok(network_condition(connection, &name).into_iter().collect())).await
    }

    async fn fingerprint(&self, machine: &Machine) -> Result<String, Fault> {
        Ok(definition::fingerprint(&self.definition(machine).await?))
    }

    async fn define(&self, machine: &Machine) -> Result<(), Fault> {
        let (xml, instance, host) = (self.definition(machine).await?, machine.instance, self.host);
        self.link.call(move |connection| define(connection, host, instance, &xml)).await
    }

    async fn undefine(&self, instance: InstanceId) -> Result<(), Fault> {
        match self.on(instance, |_, domain| undefine(&domain)).await {
            Err(Fault::NotFound) => Ok(()),
            other => other,
        }
    }

    async fn start(&self, instance: InstanceId) -> Result<(), Fault> {
        self.on(instance, |_, d| unless(|| is_off(&d).map(|off| !off), d.create())).await
    }

    async fn shutdown(&self, instance: InstanceId) -> Result<(), Fault> {
        self.ask(instance, Domain::shutdown).await
    }

    async fn destroy(&self, instance: InstanceId) -> Result<(), Fault> {
        self.on(instance, |_, d| unless(|| is_off(&d), d.destroy())).await
    }

    async fn reboot(&self, instance: InstanceId) -> Result<(), Fault> {
        self.ask(instance, |domain| domain.reboot(virt_sys::VIR_DOMAIN_REBOOT_DEFAULT)).await
    }

    async fn reset(&self, instance: InstanceId) -> Result<(), Fault> {
        self.on(instance, |_, d| match d.reset() {
            // the mock has no reset button
            Err(e) if faults::is_unsupported(&e) => meaning(d.reboot(virt_sys::VIR_DOMAIN_REBOOT_DEFAULT)),
            other => meaning(other),
        })
        .await
    }

    async fn pause(&self, instance: InstanceId) -> Result<(), Fault> {
        self.on(instance, |_, d| unless(|| Ok(matches!(power(&d)?, Power::Paused(_))), d.suspend())).await
    }

    async fn resume(&self, instance: InstanceId) -> Result<(), Fault> {
        self.on(instance, |_, d| {
            // one that suspended itself is not paused: it sleeps
            let gone_on = match power(&d)? {
                Power::Paused(Held::Suspended) => d.pm_wakeup(0),
                _ => d.resume(),
            };
            unless(|| Ok(power(&d)? == Power::Running), gone_on)
        })
        .await
    }

    async fn observe(&self, instance: InstanceId) -> Result<Seen, Fault> {
        let (reboots, host) = (self.link.reboots(instance), self.host);
        self.link.call(move |connection| observe(connection, host, instance, reboots)).await
    }

    async fn list(&self) -> Result<Vec<InstanceId>, Fault> {
        let host = self.host;
        self.link
            .call(move |connection| {
                let mut found = Vec::new();
                for domain in meaning(connection.list_all_domains(0))? {
                    let Ok(instance) = domain.uuid_string().unwrap_or_default().parse::<InstanceId>() else {
                        continue;
                    };
                    let kind = i32::try_from(virt_sys::VIR_DOMAIN_METADATA_ELEMENT).unwrap_or(2);
                    // cheaper than the whole definition of everybody's domains
                    if domain.metadata(kind, Some(MARK_URI), 0).is_ok()
                        && read(&domain)
                            .is_ok_and(|x| x.mark().is_some_and(|m| m.was_made_by(host, instance)))
                    {
                        found.push(instance);
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn agent_ping(&self, instance: InstanceId) -> Result<bool, Fault> {
        if self.is_mock() {
            return Ok(false);
        }
        self.on(instance, |_, domain| agent::ping(&domain)).await
    }

    async fn agent_exec(&self, instance: InstanceId, call: &ExecCall) -> Result<ExecOutcome, Fault> {
        let begun = call.clone();
        let pid = match self.on(instance, move |_, domain| agent::begin(&domain, &begun)).await? {
            agent::Begun::Runs(pid) => pid,
            agent::Begun::Not(outcome) => return Ok(outcome),
        };
        let since = Instant::now();
        loop {
            if let Some(outcome) = self.on(instance, move |_, domain| agent::status(&domain, pid)).await? {
                return Ok(outcome);
            }
            if since.elapsed() >= call.timeout {
                let _ = self.on(instance, move |_, domain| agent::end(&domain, pid)).await;
                let seconds = call.timeout.as_secs();
                return Err(Fault::Failed(format!(
                    "the program did not end within {seconds} s and was killed"
                )));
            }
            tokio::time::sleep(agent::patience(since)).await;
        }
    }

    async fn addresses(&self, instance: InstanceId, ask_agent: bool) -> Result<Vec<String>, Fault> {
        if self.is_mock() {
            return Ok(Vec::new());
        }
        self.on(instance, move |_, domain| {
            let leased = addresses_of(&domain, virt_sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE);
            if !leased.is_empty() || !ask_agent {
                return Ok(leased);
            }
            Ok(addresses_of(&domain, virt_sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT))
        })
        .await
    }

    async fn console(&self, instance: InstanceId) -> Result<Console, Fault> {
        self.on(instance, |connection, domain| console::open(connection, &domain)).await
    }

    fn changes(&self) -> mpsc::UnboundedReceiver<InstanceId> {
        self.link.changes()
    }
}
