//! What our way to a running guest costs over `virsh create` of the same definition.

use crate::Effort;
use crate::figure::{Figure, Judged, Summary, Target, Unit};
use crate::measure::in_turn;
use anyhow::{Context, Result, ensure};
use bus::{Cause, Desk, Envelope};
use chassis::Sealer;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use host_driver::adapters::libvirt::{LibvirtHypervisor, LibvirtSettings};
use host_driver::adapters::{ImageCache, LocalDisks};
use host_driver::domain::{DriverKind, Policy};
use host_driver::{Backend, Host, Hosts, MIGRATIONS, Metrics, Parts, SERVICE, VmKey};
use kernel::{HostId, InstanceId, Message, MessageId, Subject, SystemClock};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use stories::programs::small_image;

const URI: &str = "qemu:///system";

/// Boots guests both ways, in turn.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let folder = tempfile::Builder::new().prefix("berth-bench").tempdir_in("/var/tmp")?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let driver = Driver::new(folder.path()).await?;
    let definition = driver.definition().await?;
    let ours = || async {
        let instance = InstanceId::new();
        let began = Instant::now();
        let said = driver.order(instance, wire::VmPower::Running, 1).await?;
        let took = milliseconds(began.elapsed());
        driver.note(&said, took);
        driver.order(instance, wire::VmPower::Absent, 2).await?;
        Ok(took)
    };
    let bare = || async {
        let instance = InstanceId::new();
        let file = prepared(folder.path(), &definition, instance)?;
        let began = Instant::now();
        virsh(&["create", file.to_str().context("a readable path")?])?;
        let took = milliseconds(began.elapsed());
        virsh(&["destroy", &instance.to_string()])?;
        Ok(took)
    };
    let rounds = in_turn(effort.rounds.max(effort.amount(20)), ours, bare).await?;
    driver.tell_parts();
    Ok(vec![Figure {
        name: "order to running guest under libvirt".into(),
        baseline: "virsh create of the same definition, disks ready".into(),
        unit: Unit::Milliseconds,
        target: Target { judged: Judged::Added, floor: 150.0, aim: 30.0 },
        rounds,
    }])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn virsh(words: &[&str]) -> Result<String> {
    let run = Command::new("virsh").args(["-q", "-c", URI]).args(words).stdin(Stdio::null()).output();
    let output = run.context("virsh is not installed")?;
    ensure!(output.status.success(), "virsh {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A host-driver without a broker: an order goes in, a guest comes up.
struct Driver {
    desk: Desk,
    parts: Parts,
    host: HostId,
    artifacts: Vec<common::Artifact>,
    /// Where the time went, by step, in milliseconds.
    parts_of_it: RefCell<BTreeMap<String, Vec<f64>>>,
}

impl Driver {
    async fn new(folder: &Path) -> Result<Self> {
        let datastore = folder.join("datastore");
        let manifest = small_image();
        let artifacts = vec![
            offer(&datastore, &manifest.with_file_name("vmlinuz"), common::ArtifactRole::Kernel)?,
            offer(&datastore, &manifest.with_file_name("initramfs"), common::ArtifactRole::Initramfs)?,
        ];
        let (host, data) = (HostId::new(), folder.join("data"));
        let images = ImageCache::open(&data, &format!("file://{}", datastore.display()))?;
        let settings = LibvirtSettings { uri: URI.to_owned(), ..LibvirtSettings::default() };
        let backend = Backend {
            hypervisor: Arc::new(LibvirtHypervisor::new(settings, &data, host)),
            disks: Arc::new(LocalDisks::open(&data, images)?),
        };
        let hosts = [Host {
            id: host,
            name: "bench".into(),
            labels: Default::default(),
            backends: vec![(DriverKind::Libvirt, backend)],
        }];
        let url = format!("sqlite://{}/host-driver.db", folder.display());
        let store = Store::open(&url, &[bus::MIGRATIONS, MIGRATIONS].concat()).await?;
        let desk = Desk::new(SERVICE.name, store, Arc::new(SystemClock));
        let (sealer, meter) = (Arc::new(Sealer::new(&[1; 32])), opentelemetry::global::meter("bench"));
        let parts =
            Parts::new(&desk, Arc::new(Hosts::new(hosts)), sealer, Policy::default(), Metrics::new(&meter));
        Ok(Self { desk, parts, host, artifacts, parts_of_it: RefCell::default() })
    }

    /// Keeps how long each step of a boot took.
    fn note(&self, said: &wire::VmObservation, whole_ms: f64) {
        let mut parts = self.parts_of_it.borrow_mut();
        for pair in said.steps.windows(2) {
            let took = (pair[1].at_us - pair[0].at_us) as f64 / 1_000.0;
            parts.entry(format!("{} to {}", pair[0].name, pair[1].name)).or_default().push(took);
        }
        let steps = said.steps.last().zip(said.steps.first()).map_or(0, |(l, f)| l.at_us - f.at_us);
        parts.entry("before and after".to_owned()).or_default().push(whole_ms - steps as f64 / 1_000.0);
    }

    fn tell_parts(&self) {
        for (part, times) in self.parts_of_it.borrow().iter() {
            if let Some(of) = Summary::of(times.iter().copied()) {
                eprintln!("  {part}: {:.0} ms ({:.0} .. {:.0})", of.median, of.min, of.max);
            }
        }
    }

    /// Delivers an order and follows it until the VM is as ordered.
    async fn order(
        &self,
        instance: InstanceId,
        power: wire::VmPower,
        revision: u64,
    ) -> Result<wire::VmObservation> {
        let order = wire::EnsureVm {
            agent_id: "bench".into(),
            host_id: self.host.to_string(),
            generation: 1,
            intent_revision: revision,
            power: power.into(),
            reboot_counter: 0,
            stop_grace_s: 0,
            disposal: wire::Disposal::Delete.into(),
            take_back: String::new(),
            spec: Some(wire::VmSpec {
                instance_id: instance.to_string(),
                tenant: "bench".into(),
                name: "bench".into(),
                resources: Some(common::Resources {
                    vcpus_milli: 1000,
                    memory_bytes: 128 << 20,
                    disk_bytes: 64 << 20,
                }),
                artifacts: self.artifacts.clone(),
                kernel_cmdline: "console=ttyS0 quiet".into(),
                hostname: "bench".into(),
                driver: common::Driver::Libvirt.into(),
                ..wire::VmSpec::default()
            }),
            ..wire::EnsureVm::default()
        };
        let envelope = Envelope {
            id: MessageId::new(),
            subject: Subject {
                kind: wire::EnsureVm::KIND,
                service: SERVICE.name.to_owned(),
                version: "v1".to_owned(),
                name: wire::EnsureVm::NAME.to_owned(),
                tenant: "bench".to_owned(),
                key: order.key().to_owned(),
            },
            cause: Cause::own("bench"),
            occurred_at: self.desk.clock().now(),
            payload: order.to_bytes().into(),
        };
        self.parts.subscriptions().deliver(&self.desk, &envelope).await?;
        let key = VmKey { host: self.host, instance };
        self.parts.visitor.visit(key).await?;
        let said = self.parts.said(key).await?.context("nothing was said")?;
        ensure!(said.power() == power, "{power:?} was ordered: {said:?}");
        Ok(said)
    }

    /// The definition of a guest of ours, as libvirt has it.
    async fn definition(&self) -> Result<Template> {
        let instance = InstanceId::new();
        self.order(instance, wire::VmPower::Running, 1).await?;
        let xml = virsh(&["dumpxml", "--inactive", &format!("berth-{instance}")])?;
        let disk = xml.split_once("<source file='").and_then(|(_, rest)| rest.split_once("/disk.qcow2"));
        let files = disk.context("the disk in the definition")?.0.to_owned();
        let kept = tempfile::tempdir()?;
        for file in ["disk.qcow2", "seed.img"] {
            std::fs::copy(format!("{files}/{file}"), kept.path().join(file))?;
        }
        self.order(instance, wire::VmPower::Absent, 2).await?;
        Ok(Template { xml, files, instance, kept })
    }
}

/// A definition, and the files it names as they were before the first boot.
struct Template {
    xml: String,
    files: String,
    instance: InstanceId,
    kept: tempfile::TempDir,
}

/// The same definition for another guest, with files of its own. Answers where it is.
fn prepared(folder: &Path, template: &Template, instance: InstanceId) -> Result<std::path::PathBuf> {
    let files = folder.join("bare").join(instance.to_string());
    std::fs::create_dir_all(&files)?;
    for file in ["disk.qcow2", "seed.img"] {
        std::fs::copy(template.kept.path().join(file), files.join(file))?;
    }
    let text = template.xml.replace(&template.files, files.to_str().context("a readable path")?);
    let text = text.replace(&format!("berth-{}", template.instance), &instance.to_string());
    let text = text.replace(&template.instance.to_string(), &instance.to_string());
    let place = files.join("domain.xml");
    std::fs::write(&place, text)?;
    Ok(place)
}

fn offer(datastore: &Path, file: &Path, role: common::ArtifactRole) -> Result<common::Artifact> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let sha256 = hex::encode(sha2::Digest::finalize(sha2::Digest::chain_update(
        <sha2::Sha256 as sha2::Digest>::new(),
        &bytes,
    )));
    std::fs::create_dir_all(datastore.join("images"))?;
    std::fs::write(datastore.join("images").join(&sha256), &bytes)?;
    Ok(common::Artifact {
        role: role.into(),
        sha256,
        size_bytes: bytes.len() as u64,
        ..common::Artifact::default()
    })
}
