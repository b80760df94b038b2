//! From a machine to libvirt's XML, and from XML to the fingerprint that tells whether somebody changed it.

use super::xml::*;
use host_driver_domain::{Machine, Ours, Power};
use kernel::{HostId, InstanceId};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Name of the channel that qemu-guest-agent listens on.
pub const AGENT_CHANNEL: &str = "org.qemu.guest_agent.0";

/// What libvirt at the other end runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// QEMU, with hardware help or without.
    Qemu {
        /// `<domain type='kvm'>` rather than `qemu`.
        kvm: bool,
    },
    /// libvirt's own mock.
    Test,
}

/// The name of a VM in libvirt.
pub fn domain_name(instance: InstanceId) -> String {
    format!("berth-{instance}")
}

/// The definition of a machine, with our mark. The error names what cannot be said in XML.
pub fn definition(
    machine: &Machine,
    host: HostId,
    dialect: Dialect,
    network: &str,
) -> Result<DomainXml, String> {
    let mut xml = unmarked(machine, dialect, network)?;
    let definition = fingerprint(&xml);
    xml.metadata = Some(Metadata {
        mark: Some(Mark {
            namespace: MARK_URI.to_owned(),
            host: host.to_string(),
            instance: machine.instance.to_string(),
            generation: machine.generation,
            definition,
        }),
    });
    Ok(xml)
}

fn unmarked(machine: &Machine, dialect: Dialect, network: &str) -> Result<DomainXml, String> {
    let (kind, cpu, arch, machine_type) = match dialect {
        Dialect::Qemu { kvm: true } => ("kvm", Some("host-passthrough"), std::env::consts::ARCH, "q35"),
        Dialect::Qemu { kvm: false } => ("qemu", Some("maximum"), std::env::consts::ARCH, "q35"),
        Dialect::Test => ("test", None, "i686", ""),
    };
    let boot = machine.kernel.is_none().then(|| Boot { dev: "hd".to_owned() });
    let optional = |path: &Option<std::path::PathBuf>| path.as_deref().map(text_of).transpose();
    let cmdline = machine.kernel.as_ref().map(|_| machine.cmdline.clone()).filter(|c| !c.is_empty());
    Ok(DomainXml {
        kind: kind.to_owned(),
        name: domain_name(machine.instance),
        uuid: machine.instance.to_string(),
        metadata: None,
        memory: Memory { unit: "KiB".to_owned(), value: machine.memory.0.div_ceil(1024) },
        vcpu: Vcpu { count: machine.vcpus },
        os: Os {
            kind: OsType { arch: arch.to_owned(), machine: machine_type.to_owned(), value: "hvm".to_owned() },
            kernel: optional(&machine.kernel)?,
            initrd: optional(&machine.initramfs)?,
            cmdline: cmdline.map(|c| printable("the kernel command line", &c)).transpose()?,
            boot,
        },
        features: Some(Features { acpi: Some(Empty {}), apic: Some(Empty {}) }),
        cpu: cpu.map(|mode| Cpu { mode: mode.to_owned() }),
        on_poweroff: "destroy".to_owned(),
        on_reboot: "restart".to_owned(),
        on_crash: "destroy".to_owned(),
        devices: devices(machine, network)?,
    })
}

fn devices(machine: &Machine, network: &str) -> Result<Devices, String> {
    let mut disks = Vec::new();
    for (disk, letter) in machine.disks.iter().zip('a'..='z') {
        disks.push(Disk {
            kind: "file".to_owned(),
            device: "disk".to_owned(),
            driver: DiskDriver { name: "qemu".to_owned(), format: disk.format.name().to_owned() },
            source: DiskSource { file: text_of(&disk.path)? },
            target: DiskTarget { dev: format!("vd{letter}"), bus: "virtio".to_owned() },
            readonly: disk.read_only.then_some(Empty {}),
        });
    }
    let agent = Channel {
        kind: "unix".to_owned(),
        target: ChannelTarget { kind: "virtio".to_owned(), name: AGENT_CHANNEL.to_owned() },
    };
    Ok(Devices {
        disks,
        controllers: vec![Controller { kind: "usb".to_owned(), model: "none".to_owned() }],
        interfaces: vec![Interface {
            kind: "network".to_owned(),
            mac: Mac { address: machine.mac.clone() },
            source: InterfaceSource { network: network.to_owned() },
            model: Model { kind: "virtio".to_owned(), ..Model::default() },
        }],
        serials: vec![Serial {
            kind: "pty".to_owned(),
            log: Some(Log { file: text_of(&machine.console_log)?, append: "on".to_owned() }),
            target: Some(Port { kind: String::new(), port: 0 }),
        }],
        consoles: vec![ConsoleXml {
            kind: "pty".to_owned(),
            target: Some(Port { kind: "serial".to_owned(), port: 0 }),
        }],
        // always there: whether the guest carries an agent is found out by asking it
        channels: vec![agent],
        rngs: vec![Rng {
            model: "virtio".to_owned(),
            backend: RngBackend { model: "random".to_owned(), source: "/dev/urandom".to_owned() },
        }],
        balloons: vec![Model { model: "virtio".to_owned(), ..Model::default() }],
    })
}

fn text_of(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    printable("a path", text)
}

/// XML 1.0 has no way to write control characters, escaped or not.
fn printable(what: &str, text: &str) -> Result<String, String> {
    match text.chars().find(|c| c.is_control()) {
        None => Ok(text.to_owned()),
        Some(c) => Err(format!("{what} holds the control character {:?}, which XML cannot carry", c)),
    }
}

/// What must not change behind our back. Fields that libvirt fills in or renames are not part of it.
#[derive(Serialize)]
struct Facts<'x> {
    kind: &'x str,
    memory: u64,
    vcpus: u32,
    machine: &'static str,
    boot: [Option<&'x str>; 4],
    cpu: &'x str,
    ends: [&'x str; 3],
    disks: Vec<[&'x str; 5]>,
    interfaces: Vec<[&'x str; 3]>,
    console_logs: Vec<&'x str>,
    channels: Vec<&'x str>,
}

/// A fingerprint of everything in a definition that Berth decides.
pub fn fingerprint(xml: &DomainXml) -> String {
    let os = &xml.os;
    let facts = Facts {
        kind: &xml.kind,
        memory: xml.memory.bytes(),
        vcpus: xml.vcpu.count,
        machine: if os.kind.machine.contains("q35") { "q35" } else { "" },
        boot: [
            os.kernel.as_deref(),
            os.initrd.as_deref(),
            os.cmdline.as_deref().filter(|c| !c.is_empty()),
            // libvirt writes a default where a kernel makes it meaningless
            os.boot.as_ref().map(|b| b.dev.as_str()).filter(|_| os.kernel.is_none()),
        ],
        cpu: xml.cpu.as_ref().map_or("", |c| &c.mode),
        ends: [&xml.on_poweroff, &xml.on_reboot, &xml.on_crash],
        disks: xml.devices.disks.iter().map(disk_facts).collect(),
        interfaces: xml
            .devices
            .interfaces
            .iter()
            .map(|i| [i.mac.address.as_str(), &i.source.network, &i.model.kind])
            .collect(),
        console_logs: xml
            .devices
            .serials
            .iter()
            .filter_map(|s| s.log.as_ref())
            .map(|l| l.file.as_str())
            .collect(),
        channels: xml.devices.channels.iter().map(|c| c.target.name.as_str()).collect(),
    };
    let written = serde_json::to_vec(&facts).expect("plain strings and numbers");
    hex::encode(Sha256::digest(written))
}

fn disk_facts(disk: &Disk) -> [&str; 5] {
    let read_only = if disk.readonly.is_some() { "ro" } else { "rw" };
    [&disk.source.file, &disk.driver.format, &disk.target.dev, &disk.target.bus, read_only]
}

/// What a definition read back says of our VM; `None` without the mark of this host.
pub fn ours(
    xml: &DomainXml,
    host: HostId,
    instance: InstanceId,
    persistent: bool,
    (power, words): (Power, &'static str),
    boot: u64,
) -> Option<Ours> {
    let mark = xml.mark().filter(|m| m.is_of(host, instance))?;
    Some(Ours {
        generation: mark.generation,
        marked: mark.definition.clone(),
        actual: fingerprint(xml),
        persistent,
        power,
        words,
        boot,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use host_driver_domain::machine::{MachineDisk, mac_of};
    use host_driver_domain::{DiskFormat, Ended};
    use kernel::Bytes;

    fn machine() -> Machine {
        let instance = InstanceId::from_u128(7);
        Machine {
            instance,
            generation: 3,
            vcpus: 2,
            memory: Bytes(128 << 20),
            disks: vec![
                MachineDisk { path: "/d/disk.qcow2".into(), format: DiskFormat::Qcow2, read_only: false },
                MachineDisk { path: "/d/seed.img".into(), format: DiskFormat::Raw, read_only: true },
            ],
            kernel: Some("/i/k".into()),
            initramfs: Some("/i/i".into()),
            cmdline: "console=ttyS0 quiet".into(),
            mac: mac_of(instance),
            console_log: "/d/console.log".into(),
            guest_agent: true,
        }
    }

    const HERE: HostId = HostId::from_u128(1);
    const TCG: Dialect = Dialect::Qemu { kvm: false };

    #[test]
    fn what_is_written_is_read_back() {
        for dialect in [TCG, Dialect::Qemu { kvm: true }, Dialect::Test] {
            let written = definition(&machine(), HERE, dialect, "default").expect("a definition");
            let read = DomainXml::from_xml(&written.to_xml().expect("xml")).expect("readable");
            assert_eq!(read, written);
            let off = Power::Off(Ended::Never);
            let ours = ours(&read, HERE, machine().instance, true, (off, off.words()), 0).expect("our mark");
            assert_eq!((ours.generation, ours.marked == ours.actual), (3, true));
        }
    }

    #[test]
    fn nothing_a_tenant_writes_becomes_structure() {
        let cmdline = r#"a=</cmdline></os><devices><disk type='file'>&amp;"'"#;
        let hostile = Machine { cmdline: cmdline.into(), ..machine() };
        let text = definition(&hostile, HERE, TCG, "default").expect("a definition").to_xml().expect("xml");
        let read = DomainXml::from_xml(&text).expect("readable");
        assert_eq!(read.os.cmdline.as_deref(), Some(cmdline));
        assert_eq!(read.devices.disks.len(), 2);
        let control = Machine { cmdline: "a\u{1}b".into(), ..machine() };
        assert!(
            definition(&control, HERE, TCG, "default").expect_err("refused").contains("control character")
        );
    }

    #[test]
    fn a_fingerprint_sees_what_matters_and_only_that() {
        let original = definition(&machine(), HERE, TCG, "default").expect("a definition");
        let mut dumped = original.clone();
        dumped.os.kind.machine = "pc-q35-7.2".into();
        dumped.memory = Memory { unit: "MiB".into(), value: 128 };
        dumped.devices.controllers.clear();
        assert_eq!(fingerprint(&dumped), fingerprint(&original), "what libvirt writes otherwise");

        type Change = fn(&mut DomainXml);
        let changes: [Change; 6] = [
            |x| x.memory.value += 1024,
            |x| x.vcpu.count += 1,
            |x| x.devices.disks[0].source.file.push('x'),
            |x| x.devices.interfaces[0].source.network = "other".into(),
            |x| x.os.cmdline = None,
            |x| x.on_crash = "preserve".into(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = original.clone();
            change(&mut changed);
            assert_ne!(fingerprint(&changed), fingerprint(&original), "change {number}");
        }
    }

    #[test]
    fn a_mark_of_another_instance_is_not_ours() {
        let xml = definition(&machine(), HERE, TCG, "default").expect("a definition");
        let seen =
            |xml: &DomainXml, host, instance| ours(xml, host, instance, true, (Power::Running, "running"), 0);
        let (id, elsewhere) = (machine().instance, HostId::from_u128(2));
        assert_eq!(seen(&xml, HERE, InstanceId::from_u128(8)), None);
        assert_eq!(seen(&xml, elsewhere, id), None, "another host's");
        let unmarked = DomainXml { metadata: None, ..xml.clone() };
        assert_eq!(seen(&unmarked, HERE, id), None);
        let mut older = xml.clone();
        let mark = older.metadata.as_mut().and_then(|m| m.mark.as_mut()).expect("a mark");
        mark.host.clear();
        let mark = mark.clone();
        assert!(
            seen(&older, HERE, id).is_some() && seen(&older, elsewhere, id).is_some(),
            "whoever has the order"
        );
        assert!(!mark.was_made_by(HERE, id), "nobody's own, so nobody's orphan");
    }
}
