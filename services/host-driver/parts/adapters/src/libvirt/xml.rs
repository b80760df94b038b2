//! The part of libvirt's domain XML that Berth writes and compares. Nothing else builds or reads XML.
//!
//! Everything is serialized by serde: whatever a name or a command line holds, it stays text. What libvirt adds
//! (addresses, aliases, controllers) is ignored when reading. Format: https://libvirt.org/formatdomain.html

use kernel::{HostId, InstanceId};
use serde::{Deserialize, Serialize};

/// The namespace of our mark.
pub const MARK_URI: &str = "urn:berth:vm:1";

/// `<domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "domain")]
pub struct DomainXml {
    /// "kvm", "qemu" or "test".
    #[serde(rename = "@type")]
    pub kind: String,
    /// "berth-<instance id>".
    pub name: String,
    /// The instance id.
    pub uuid: String,
    /// Holds our mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// The most the guest may have.
    pub memory: Memory,
    /// Whole CPUs.
    pub vcpu: Vcpu,
    /// What boots.
    pub os: Os,
    /// ACPI and friends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// Which CPU the guest sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// What happens when the guest powers off: "destroy".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub on_poweroff: String,
    /// What happens when it reboots: "restart".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub on_reboot: String,
    /// What happens when it crashes: "destroy".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub on_crash: String,
    /// Disks, network, consoles.
    pub devices: Devices,
}

/// `<metadata>`; other programs' elements in it are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// Our mark.
    #[serde(rename = "berth:vm", alias = "vm", default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// What we write on a VM: whose it is and what it was when we made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "berth:vm")]
pub struct Mark {
    /// [`MARK_URI`].
    #[serde(rename = "@xmlns:berth", alias = "@berth", default)]
    pub namespace: String,
    /// The id of the host that made it; "" on VMs made before hosts were written into marks.
    #[serde(rename = "@host", default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The instance id.
    #[serde(rename = "@instance")]
    pub instance: String,
    /// Ownership of the VM.
    #[serde(rename = "@generation")]
    pub generation: u64,
    /// Fingerprint of the definition.
    #[serde(rename = "@definition")]
    pub definition: String,
}

impl Mark {
    /// This host made it: only such VMs are counted among the host's own, ordered or not.
    pub fn was_made_by(&self, host: HostId, instance: InstanceId) -> bool {
        self.instance == instance.to_string() && self.host == host.to_string()
    }

    /// The VM is this host's to work on once an order names it. A mark without a host is taken over by whoever has the
    /// order, and gets the host with the next definition.
    pub fn is_of(&self, host: HostId, instance: InstanceId) -> bool {
        self.was_made_by(host, instance) || (self.instance == instance.to_string() && self.host.is_empty())
    }
}

/// `<memory>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// "b", "KiB", ….
    #[serde(rename = "@unit", default)]
    pub unit: String,
    /// The number.
    #[serde(rename = "$text")]
    pub value: u64,
}

impl Memory {
    /// Bytes; libvirt keeps whole KiB.
    pub fn bytes(&self) -> u64 {
        let factor = match self.unit.as_str() {
            "b" | "bytes" => 1,
            "" | "k" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            _ => 0,
        };
        self.value.saturating_mul(factor)
    }
}

/// `<vcpu>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcpu {
    /// How many.
    #[serde(rename = "$text")]
    pub count: u32,
}

/// `<os>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// Machine and architecture.
    #[serde(rename = "type")]
    pub kind: OsType,
    /// Path of the kernel that is booted directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Path of its initramfs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<String>,
    /// Its command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// What boots otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
}

/// `<os><type>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsType {
    /// "x86_64".
    #[serde(rename = "@arch", default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// "q35" when written, "pc-q35-7.2" when read back.
    #[serde(rename = "@machine", default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// "hvm".
    #[serde(rename = "$text")]
    pub value: String,
}

/// `<boot>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// "hd".
    #[serde(rename = "@dev")]
    pub dev: String,
}

/// `<features>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Features {
    /// The guest hears a power button.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acpi: Option<Empty>,
    /// Interrupts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apic: Option<Empty>,
}

/// An element without content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// `<cpu>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// "maximum" or "host-passthrough".
    #[serde(rename = "@mode", default)]
    pub mode: String,
}

/// `<devices>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Devices {
    /// Disks.
    #[serde(rename = "disk", default)]
    pub disks: Vec<Disk>,
    /// Controllers that are wanted, or not wanted.
    #[serde(rename = "controller", default)]
    pub controllers: Vec<Controller>,
    /// Network cards.
    #[serde(rename = "interface", default)]
    pub interfaces: Vec<Interface>,
    /// Serial ports.
    #[serde(rename = "serial", default)]
    pub serials: Vec<Serial>,
    /// Which of them is the console.
    #[serde(rename = "console", default)]
    pub consoles: Vec<ConsoleXml>,
    /// Channels to the guest.
    #[serde(rename = "channel", default)]
    pub channels: Vec<Channel>,
    /// Entropy.
    #[serde(rename = "rng", default)]
    pub rngs: Vec<Rng>,
    /// Balloon.
    #[serde(rename = "memballoon", default)]
    pub balloons: Vec<Model>,
}

/// `<disk>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// "file".
    #[serde(rename = "@type")]
    pub kind: String,
    /// "disk".
    #[serde(rename = "@device", default)]
    pub device: String,
    /// Format.
    #[serde(default)]
    pub driver: DiskDriver,
    /// The file.
    #[serde(default)]
    pub source: DiskSource,
    /// Where the guest sees it.
    pub target: DiskTarget,
    /// The guest may not write to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readonly: Option<Empty>,
}

/// `<disk><driver>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskDriver {
    /// "qemu".
    #[serde(rename = "@name", default)]
    pub name: String,
    /// "qcow2" or "raw".
    #[serde(rename = "@type", default)]
    pub format: String,
}

/// `<disk><source>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskSource {
    /// The path.
    #[serde(rename = "@file", default)]
    pub file: String,
}

/// `<disk><target>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskTarget {
    /// "vda".
    #[serde(rename = "@dev")]
    pub dev: String,
    /// "virtio".
    #[serde(rename = "@bus", default)]
    pub bus: String,
}

/// `<controller>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// "usb".
    #[serde(rename = "@type")]
    pub kind: String,
    /// "none".
    #[serde(rename = "@model", default, skip_serializing_if = "String::is_empty")]
    pub model: String,
}

/// `<interface>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// "network".
    #[serde(rename = "@type")]
    pub kind: String,
    /// Its address.
    pub mac: Mac,
    /// Which network.
    #[serde(default)]
    pub source: InterfaceSource,
    /// "virtio".
    #[serde(default)]
    pub model: Model,
}

/// `<mac>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mac {
    /// "52:54:00:…".
    #[serde(rename = "@address")]
    pub address: String,
}

/// `<interface><source>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InterfaceSource {
    /// "default".
    #[serde(rename = "@network", default)]
    pub network: String,
}

/// An element that only names a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Model {
    /// `<model type=…>` of interfaces.
    #[serde(rename = "@type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `<memballoon model=…>`.
    #[serde(rename = "@model", default, skip_serializing_if = "String::is_empty")]
    pub model: String,
}

/// `<serial>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serial {
    /// "pty".
    #[serde(rename = "@type")]
    pub kind: String,
    /// What the guest writes is kept here too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// Which port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Port>,
}

/// `<log>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The path.
    #[serde(rename = "@file")]
    pub file: String,
    /// "on": a restart of the guest keeps what is there.
    #[serde(rename = "@append", default)]
    pub append: String,
}

/// `<target>` of a serial port or console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// "serial" for consoles.
    #[serde(rename = "@type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// 0.
    #[serde(rename = "@port", default)]
    pub port: u32,
}

/// `<console>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleXml {
    /// "pty".
    #[serde(rename = "@type")]
    pub kind: String,
    /// Which serial port it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Port>,
}

/// `<channel>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// "unix": libvirt chooses the path.
    #[serde(rename = "@type")]
    pub kind: String,
    /// What the guest sees.
    pub target: ChannelTarget,
}

/// `<channel><target>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelTarget {
    /// "virtio".
    #[serde(rename = "@type")]
    pub kind: String,
    /// "org.qemu.guest_agent.0".
    #[serde(rename = "@name", default)]
    pub name: String,
}

/// `<rng>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rng {
    /// "virtio".
    #[serde(rename = "@model")]
    pub model: String,
    /// Where the host takes it from.
    pub backend: RngBackend,
}

/// `<rng><backend>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RngBackend {
    /// "random".
    #[serde(rename = "@model")]
    pub model: String,
    /// "/dev/urandom".
    #[serde(rename = "$text")]
    pub source: String,
}

impl DomainXml {
    /// The document as libvirt takes it. The error says what cannot be written.
    pub fn to_xml(&self) -> Result<String, String> {
        quick_xml::se::to_string(self).map_err(|e| e.to_string())
    }

    /// Reads a document; what Berth does not write is ignored.
    pub fn from_xml(text: &str) -> Result<Self, String> {
        quick_xml::de::from_str(text).map_err(|e| e.to_string())
    }

    /// Our mark, if it is one.
    pub fn mark(&self) -> Option<&Mark> {
        self.metadata.as_ref()?.mark.as_ref().filter(|m| m.namespace == MARK_URI || m.namespace.is_empty())
    }
}
