//! What a real guest does by itself, and what befalls it: QEMU and libvirt tell, the service says it once.

use crate::qemu::{BOOT, Gone, offer};
use crate::service::Service;
use contracts::host_driver::v1 as wire;
use kernel::InstanceId;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::SmallDisk;

/// Has the guest's agent run a program, as soon as it can, and does not wait for its end.
async fn in_guest(name: &str, path: &str, arguments: &[&str]) {
    let call = serde_json::json!({"execute": "guest-exec", "arguments": {"path": path, "arg": arguments}});
    let call = call.to_string();
    testkit::eventually(BOOT, "the agent to take an order", async || {
        let run = Command::new("virsh")
            .args(["-q", "-c", "qemu:///system", "qemu-agent-command", name, &call])
            .output()
            .expect("virsh: deploy/prerequisites.sh run");
        run.status.success().then_some(())
    })
    .await;
}

fn up(seen: &wire::VmObservation) -> bool {
    seen.power() == wire::VmPower::Running && seen.agent_answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_a_full_disk_is_held_said_once_and_goes_on_and_one_that_reboots_or_dies_is_told_apart() {
    let mut disk = None;
    let mut service = Service::start(|settings, _| {
        disk = Some(SmallDisk::mount(&settings.data_dir, 192 << 20));
        // QEMU's user walks through it
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(&settings.data_dir, open).expect("permissions");
    })
    .await;
    let disk = disk.expect("a small disk");
    let instance = InstanceId::new();
    let name = format!("berth-{instance}");
    let gone = Gone(name.clone());
    let artifacts = offer(&service.folder.path().join("datastore"));
    let order = service.order(&service.agent, instance, artifacts);
    service.tell(&order).await;
    service.sees(BOOT, "ready", |o| up(o) && !o.addresses.is_empty()).await;

    disk.fill();
    let since = Instant::now();
    in_guest(&name, "/bin/dd", &["if=/dev/zero", "of=/dev/vda", "bs=1M", "count=32", "conv=fsync"]).await;
    let held = service.sees(BOOT, "held", |o| o.power() == wire::VmPower::Paused).await;
    println!("held after {:?}", since.elapsed());
    assert_eq!(
        (held.reason(), held.hypervisor_state.as_str()),
        (wire::VmReason::IoError, "paused (I/O error)")
    );
    assert_eq!(held.failure.as_ref().map(|f| f.code.as_str()), Some("HOST_STORAGE_FULL"));
    let since = Instant::now();
    testkit::eventually(BOOT, "it was let go on in vain a few times", async || {
        (since.elapsed() > Duration::from_secs(6)).then_some(())
    })
    .await;
    disk.free();
    service.sees(BOOT, "it goes on", up).await;
    println!("goes on {:?} after it was held", since.elapsed());
    let others = service.observations();
    assert!(others.iter().all(|o| o.power() == wire::VmPower::Running), "said once: {others:#?}");

    in_guest(&name, "/sbin/reboot", &["-f"]).await;
    let drift = service.hears(BOOT, "it rebooted", |d: &wire::VmDrifted| d.kind() != wire::DriftKind::Orphan);
    let drift = drift.await;
    assert_eq!((drift.kind(), drift.action()), (wire::DriftKind::Rebooted, wire::DriftAction::Reported));
    service.sees(BOOT, "it boots", |o| !o.agent_answered).await;
    service.sees(BOOT, "it is back", up).await;

    // the hypervisor's process dies under it
    let pid =
        std::fs::read_to_string(format!("/run/libvirt/qemu/{name}.pid")).expect("libvirt keeps its number");
    let killed = Command::new("kill").args(["-9", pid.trim()]).status();
    assert!(killed.expect("kill runs").success(), "no process of {name}");
    let drift =
        service.hears(BOOT, "it died", |d: &wire::VmDrifted| d.kind() == wire::DriftKind::Stopped).await;
    assert!(drift.detail.contains("the guest crashed: shut off (crashed)"), "{drift:?}");
    service.sees(BOOT, "it is back", up).await;

    let delete = wire::EnsureVm { intent_revision: 2, power: wire::VmPower::Absent.into(), ..order };
    service.tell(&delete).await;
    service.sees(BOOT, "absent", |o| o.power() == wire::VmPower::Absent && o.failure.is_none()).await;
    service.chassis.tasks.stop().await;
    drop(gone);
}
