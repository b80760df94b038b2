//! Questions of an operator about this machine: does KVM work, does libvirt? Nothing is changed but what the probe keeps.

use super::kvm::KvmProbe;
use super::link::{Link, meaning};
use std::path::Path;

/// Whether KVM works here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmAnswer {
    /// A kernel booted.
    Works(String),
    /// The device opens, and a kernel does not boot.
    Broken(String),
    /// The device cannot be opened.
    Missing(String),
    /// There is no kernel to try.
    Unproven(String),
}

/// Finds out whether KVM works, as the driver does: with what it keeps below `data`, or by booting the host's kernel.
pub async fn ask_kvm(data: &Path) -> KvmAnswer {
    if let Err(error) = tokio::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").await {
        return KvmAnswer::Missing(error.to_string());
    }
    let probe = KvmProbe::new(data);
    if probe.kept().await.is_none() {
        probe.works(None).await;
    }
    match probe.kept().await {
        Some((true, why)) => KvmAnswer::Works(why),
        Some((false, why)) => KvmAnswer::Broken(why),
        None => {
            KvmAnswer::Unproven("no kernel in /boot to try; the first instance with one proves it".to_owned())
        }
    }
}

/// What libvirt says of itself. Versions count as major * 1,000,000 + minor * 1,000 + release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibvirtFacts {
    /// Of the library.
    pub libvirt: u64,
    /// Of the hypervisor.
    pub hypervisor: u64,
    /// Whether the network is active; `None` = there is none of this name.
    pub network_active: Option<bool>,
}

/// Asks the libvirt at `uri`; the error says why it does not answer.
pub async fn ask_libvirt(uri: &str, network: &str) -> Result<LibvirtFacts, String> {
    let network = network.to_owned();
    let link = Link::new(uri);
    let asked = link.call(move |connection| {
        let found = connection.lookup_network_by_name(&network).ok();
        Ok(LibvirtFacts {
            libvirt: u64::from(meaning(connection.lib_version())?),
            hypervisor: u64::from(connection.hyp_version().unwrap_or(0)),
            network_active: found.map(|network| network.is_active().unwrap_or(false)),
        })
    });
    asked.await.map_err(|fault| fault.to_string())
}
