//! A VM as a hypervisor is asked to define it: sizes, files and devices, nothing of libvirt.

use super::spec::{DiskFormat, Role, VmSpec};
use kernel::{Bytes, InstanceId};
use std::path::PathBuf;

/// One disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineDisk {
    /// Where the file is.
    pub path: PathBuf,
    /// How its bytes are laid out.
    pub format: DiskFormat,
    /// The guest may not write to it.
    pub read_only: bool,
}

/// Everything a driver needs to define a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Which instance.
    pub instance: InstanceId,
    /// Ownership of the VM.
    pub generation: u64,
    /// Whole CPUs, at least one.
    pub vcpus: u32,
    /// Memory.
    pub memory: Bytes,
    /// In the order the guest sees them: the root disk first, then the seed.
    pub disks: Vec<MachineDisk>,
    /// Booted directly when given; otherwise the first disk boots.
    pub kernel: Option<PathBuf>,
    /// Handed to the kernel.
    pub initramfs: Option<PathBuf>,
    /// Handed to the kernel.
    pub cmdline: String,
    /// Six bytes, locally administered, a function of the instance id.
    pub mac: String,
    /// Where what the guest writes to its serial console is kept.
    pub console_log: PathBuf,
    /// The guest carries an agent.
    pub guest_agent: bool,
}

/// Where the files of a VM are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The writable root disk.
    pub disk: PathBuf,
    /// The NoCloud seed.
    pub seed: PathBuf,
    /// Cached file of the image.
    pub kernel: Option<PathBuf>,
    /// Cached file of the image.
    pub initramfs: Option<PathBuf>,
    /// What the guest wrote to its serial console.
    pub console_log: PathBuf,
}

impl Machine {
    /// The machine of a spec whose files are at `paths`.
    pub fn of(spec: &VmSpec, generation: u64, paths: Paths) -> Self {
        let whole_vcpus = spec.vcpus.0.div_ceil(1000).max(1);
        Self {
            instance: spec.instance,
            generation,
            vcpus: u32::try_from(whole_vcpus).unwrap_or(u32::MAX),
            memory: spec.memory,
            disks: vec![
                MachineDisk { path: paths.disk, format: DiskFormat::Qcow2, read_only: false },
                MachineDisk { path: paths.seed, format: DiskFormat::Raw, read_only: true },
            ],
            kernel: paths.kernel,
            initramfs: paths.initramfs,
            cmdline: if spec.artifact(Role::Kernel).is_some() {
                spec.kernel_cmdline.clone()
            } else {
                String::new()
            },
            mac: mac_of(spec.instance),
            console_log: paths.console_log,
            guest_agent: spec.guest_agent,
        }
    }
}

/// 52:54:00 (QEMU's own prefix) and the last 24 random bits of the id: stable, and unlikely to meet its like.
pub fn mac_of(instance: InstanceId) -> String {
    let bits = instance.as_u128();
    format!("52:54:00:{:02x}:{:02x}:{:02x}", (bits >> 16) as u8, (bits >> 8) as u8, bits as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_function_of_the_instance() {
        assert_eq!(mac_of(InstanceId::from_u128(0x0102_0304)), "52:54:00:02:03:04");
    }
}
