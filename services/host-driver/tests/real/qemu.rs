//! A real guest in QEMU, ordered over the bus, and everything that an administrator's hands can do to it.

use crate::proxy::Proxy;
use crate::service::Service;
use crate::subject;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use host_driver::domain::Role;
use kernel::InstanceId;
use std::process::Command;
use std::time::{Duration, Instant};

/// Emulated guests on a busy machine take their time.
pub const BOOT: Duration = Duration::from_secs(120);

/// Removes a domain whatever comes of the test.
pub struct Gone(pub String);

impl Drop for Gone {
    fn drop(&mut self) {
        // the service may bring it back until its wire to libvirtd is cut, which happens about now
        for verb in ["destroy", "undefine"].into_iter().cycle().take(20) {
            let _ = Command::new("virsh").args(["-q", "-c", "qemu:///system", verb, &self.0]).output();
        }
    }
}

pub fn virsh(arguments: &[&str]) -> String {
    let run = Command::new("virsh").args(["-q", "-c", "qemu:///system"]).args(arguments).output();
    let output = run.expect("virsh: deploy/prerequisites.sh run");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn offer(datastore: &std::path::Path) -> Vec<common::Artifact> {
    let small = subject::small_image();
    let roles = [
        (Role::Kernel, common::ArtifactRole::Kernel, "vmlinuz"),
        (Role::Initramfs, common::ArtifactRole::Initramfs, "initramfs"),
    ];
    let artifacts = roles.map(|(role, wire_role, file)| {
        let artifact = subject::offer(datastore, role, &small.join(file));
        common::Artifact {
            role: wire_role.into(),
            sha256: artifact.sha256,
            size_bytes: artifact.size.0,
            ..common::Artifact::default()
        }
    });
    artifacts.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_ordered_drifts_is_repaired_and_goes() {
    let mut socket = std::path::PathBuf::new();
    let mut service = Service::start(|settings, folder| {
        socket = folder.join("libvirt.sock");
        settings.libvirt.uri = format!("qemu+unix:///system?socket={}", socket.display());
    })
    .await;
    // libvirtd is not reachable yet
    let instance = InstanceId::new();
    let name = format!("berth-{instance}");
    let gone = Gone(name.clone());
    let artifacts = offer(&service.folder.path().join("datastore"));
    let order = service.order(&service.agent, instance, artifacts);
    service.tell(&order).await;
    service.hears(BOOT, "the order is taken", |_: &wire::VmIntended| true).await;
    testkit::eventually(BOOT, "the health tells", async || {
        (!service.chassis.health.is_healthy()).then_some(())
    })
    .await;
    let proxy = Proxy::start(&socket);
    let since = Instant::now();
    let seen = service.sees(BOOT, "ready", |o| o.agent_answered && !o.addresses.is_empty()).await;
    println!("libvirt appears to ready with address: {:?}; {:?}", since.elapsed(), seen.addresses);
    let at = |name: &str| seen.steps.iter().find(|s| s.name == name).map_or(0, |s| s.at_us);
    println!("started to agent: {} ms", (at("agent") - at("started")) / 1000);
    testkit::eventually(BOOT, "the health tells", async || service.chassis.health.is_healthy().then_some(()))
        .await;
    let report = service
        .hears(BOOT, "the host reports", |_: &wire::HostReported| true)
        .await
        .report
        .expect("a report");
    println!("{:?}", report.drivers);

    type Hands = fn(&str);
    let hands: [(wire::DriftKind, Hands); 4] = [
        (wire::DriftKind::Stopped, |name| drop(virsh(&["destroy", name]))),
        (wire::DriftKind::Paused, |name| drop(virsh(&["suspend", name]))),
        (wire::DriftKind::Redefined, |name| drop(virsh(&["setmaxmem", name, "262144", "--config"]))),
        (wire::DriftKind::Undefined, |name| drop(virsh(&["undefine", name]))),
    ];
    for (kind, hand) in hands {
        let since = Instant::now();
        hand(&name);
        let drift = service.hears(BOOT, "the drift", |d: &wire::VmDrifted| d.kind() == kind).await;
        assert_eq!(drift.action(), wire::DriftAction::Repaired, "{drift:?}");
        println!("{kind:?} repaired after {:?}", since.elapsed());
        testkit::eventually(BOOT, "it runs", async || {
            virsh(&["domstate", &name]).contains("running").then_some(())
        })
        .await;
    }

    // libvirtd restarts: the wire is cut and mended, the guest never notices
    drop(proxy);
    testkit::eventually(BOOT, "the health tells", async || {
        (!service.chassis.health.is_healthy()).then_some(())
    })
    .await;
    let _proxy = Proxy::start(&socket);
    testkit::eventually(BOOT, "it reconnects", async || service.chassis.health.is_healthy().then_some(()))
        .await;

    let stop = wire::EnsureVm { intent_revision: 2, power: wire::VmPower::Stopped.into(), ..order.clone() };
    service.tell(&stop).await;
    service.sees(BOOT, "stopped", |o| o.intent_revision == 2 && o.power() == wire::VmPower::Stopped).await;
    let delete = wire::EnsureVm { intent_revision: 3, power: wire::VmPower::Absent.into(), ..order };
    service.tell(&delete).await;
    service.sees(BOOT, "absent", |o| o.power() == wire::VmPower::Absent && o.failure.is_none()).await;
    assert!(!virsh(&["list", "--all", "--name"]).contains(&name));
    let left = std::fs::read_dir(service.folder.path().join("data/instances")).expect("the folder");
    assert_eq!(left.count(), 0, "no file is left");
    service.chassis.tasks.stop().await;
    drop(gone);
}
