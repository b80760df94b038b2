//! What somebody wants of a VM on this host.

use kernel::{Bytes, InstanceId, MilliVcpus, QuarantineId};
use std::time::Duration;

/// Which of two intents is the newer: first by ownership, then by revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct IntentKey {
    /// Ownership of the VM; grows with each placement.
    pub generation: u64,
    /// Grows with each change of what the host should do.
    pub revision: u64,
}

impl IntentKey {
    /// An intent is taken only when it is newer than what is known: redeliveries and stragglers change nothing.
    pub fn supersedes(self, known: Option<IntentKey>) -> bool {
        known.is_none_or(|known| self > known)
    }
}

/// What the VM should be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The guest runs.
    Running,
    /// Defined and with its disks, not running.
    Stopped,
    /// In memory, its CPUs held.
    Paused,
    /// Neither defined nor on disk.
    Absent,
}

/// When a guest that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    /// Whatever the reason.
    Always,
    /// When it crashed or was killed, not when the guest shut itself down.
    OnFailure,
    /// Never; the intent is adopted to "stopped".
    Never,
}

/// What becomes of the files of a VM that is to be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposal {
    /// Nobody asked for the disk to go.
    SetAside,
    /// Somebody deleted the instance.
    Delete,
}

/// What the planner needs to know of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Which order this is.
    pub key: IntentKey,
    /// What the VM should be doing.
    pub wanted: Wanted,
    /// Grows with each requested reboot.
    pub reboot_counter: u64,
    /// How long the guest is asked before a stop or reboot is enforced.
    pub stop_grace: Duration,
    /// What to do when the guest ends by itself.
    pub restart_policy: RestartPolicy,
    /// Fingerprint of the definition that the hypervisor should hold.
    pub definition: String,
    /// What becomes of the files of a VM that is to be absent.
    pub disposal: Disposal,
    /// Quarantined files that become the VM's disks.
    pub take_back: Option<QuarantineId>,
}

/// Which driver runs a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriverKind {
    /// libvirt with QEMU.
    Libvirt,
    /// Cloud Hypervisor.
    CloudHypervisor,
    /// Firecracker.
    Firecracker,
    /// In memory, for tests and simulations.
    Simulated,
}

impl DriverKind {
    /// The driver's name for people: "libvirt".
    pub fn name(self) -> &'static str {
        match self {
            DriverKind::Libvirt => "libvirt",
            DriverKind::CloudHypervisor => "cloud-hypervisor",
            DriverKind::Firecracker => "firecracker",
            DriverKind::Simulated => "simulated",
        }
    }
}

/// What a file of an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The base of the VM's disk.
    Disk,
    /// Booted directly.
    Kernel,
    /// Handed to the kernel.
    Initramfs,
}

/// How the bytes of a disk are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskFormat {
    /// Byte by byte.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

impl DiskFormat {
    /// The name QEMU and libvirt use.
    pub fn name(self) -> &'static str {
        match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        }
    }
}

/// One content-addressed file of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Artifact {
    /// What it is for.
    pub role: Role,
    /// 64 lower-case hex digits, checked when it came in: it becomes a file name.
    pub sha256: String,
    /// Bytes of the file; 0 = not said.
    pub size: Bytes,
    /// Of disks; the others are raw.
    pub format: DiskFormat,
    /// Bytes the guest sees, of disks; 0 = not said.
    pub virtual_size: Bytes,
}

/// A secret that only the platform's sealing key opens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SealedData {
    /// Which key.
    pub key_id: String,
    /// The cipher's nonce.
    pub nonce: Vec<u8>,
    /// The secret, encrypted.
    pub ciphertext: Vec<u8>,
}

/// What a VM is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmSpec {
    /// Which instance.
    pub instance: InstanceId,
    /// Whose it is.
    pub tenant: String,
    /// The name its owner gave it.
    pub name: String,
    /// CPUs; a started one counts whole.
    pub vcpus: MilliVcpus,
    /// Memory.
    pub memory: Bytes,
    /// Size of the disk the guest sees.
    pub disk: Bytes,
    /// The image's files.
    pub artifacts: Vec<Artifact>,
    /// For direct kernel boot.
    pub kernel_cmdline: String,
    /// The guest carries qemu-guest-agent.
    pub guest_agent: bool,
    /// The name the guest gives itself.
    pub hostname: String,
    /// Keys that may log in.
    pub ssh_authorized_keys: Vec<String>,
    /// cloud-config or script for the guest, sealed; empty ciphertext = none.
    pub user_data: Option<SealedData>,
    /// What to do when the guest ends by itself.
    pub restart_policy: RestartPolicy,
    /// Who runs it; `None` = any driver of this host.
    pub driver: Option<DriverKind>,
}

impl VmSpec {
    /// The little that has to be known of a VM to take it away.
    pub fn nameless(instance: InstanceId, tenant: &str) -> Self {
        Self {
            instance,
            tenant: tenant.to_owned(),
            name: String::new(),
            vcpus: MilliVcpus(1000),
            memory: Bytes(0),
            disk: Bytes(0),
            artifacts: Vec::new(),
            kernel_cmdline: String::new(),
            guest_agent: false,
            hostname: String::new(),
            ssh_authorized_keys: Vec::new(),
            user_data: None,
            restart_policy: RestartPolicy::Never,
            driver: None,
        }
    }

    /// The file of the image with this role.
    pub fn artifact(&self, role: Role) -> Option<&Artifact> {
        self.artifacts.iter().find(|a| a.role == role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_newer_intents_are_taken() {
        let key = |generation, revision| IntentKey { generation, revision };
        assert!(key(1, 1).supersedes(None));
        assert!(key(1, 2).supersedes(Some(key(1, 1))));
        assert!(key(2, 1).supersedes(Some(key(1, 9))), "a new owner begins anew");
        for (straggler, known) in [(key(1, 1), key(1, 1)), (key(1, 1), key(1, 2)), (key(1, 9), key(2, 1))] {
            assert!(!straggler.supersedes(Some(known)), "{straggler:?} against {known:?}");
        }
    }
}
