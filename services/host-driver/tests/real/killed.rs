//! Under real QEMU: the process is killed before and after each action of a create and of a deletion; the next one goes on.

use crate::halting::{Gate, Halting};
use crate::subject::Subject;
use bus::Desk;
use chassis::Sealer;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use host_driver::domain::{Action, DriverKind, Policy, Role};
use host_driver::{Backend, Host, Hosts, MIGRATIONS, Metrics, Parts, SERVICE, VmKey};
use kernel::{HostId, InstanceId, SystemClock};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use testkit::{Bench, Database};

/// Removes a domain whatever comes of the test.
struct Gone(String);

impl Drop for Gone {
    fn drop(&mut self) {
        for verb in ["destroy", "undefine"] {
            let _ = Command::new("virsh").args(["-q", "-c", "qemu:///system", verb, &self.0]).output();
        }
    }
}

fn domains() -> String {
    let run = Command::new("virsh").args(["-q", "-c", "qemu:///system", "list", "--all"]).output();
    String::from_utf8_lossy(&run.expect("virsh: deploy/prerequisites.sh run").stdout).into_owned()
}

/// A process over a database.
fn process(subject: &Subject, gate: &Arc<Gate>, host: HostId, store: Store) -> (Parts, Bench) {
    let desk = Desk::new(SERVICE.name, store, Arc::new(SystemClock));
    let backend = Backend {
        hypervisor: Arc::new(Halting(gate.clone(), subject.hypervisor.clone())),
        disks: Arc::new(Halting(gate.clone(), subject.disks.clone())),
    };
    let hosts = [Host {
        id: host,
        name: "h".into(),
        labels: Default::default(),
        backends: vec![(DriverKind::Libvirt, backend)],
    }];
    let metrics = Metrics::new(&opentelemetry::global::meter("test"));
    let sealer = Arc::new(Sealer::new(&[7; 32]));
    let parts = Parts::new(&desk, Arc::new(Hosts::new(hosts)), sealer, Policy::default(), metrics);
    let bench = Bench::on(desk, parts.subscriptions(), 2);
    (parts, bench)
}

fn order(
    subject: &Subject,
    host: HostId,
    instance: InstanceId,
    power: wire::VmPower,
    revision: u64,
) -> wire::EnsureVm {
    let role = |role| match role {
        Role::Kernel => common::ArtifactRole::Kernel,
        Role::Initramfs => common::ArtifactRole::Initramfs,
        _ => common::ArtifactRole::Disk,
    };
    let artifacts = subject.artifacts.iter().map(|artifact| common::Artifact {
        role: role(artifact.role).into(),
        sha256: artifact.sha256.clone(),
        size_bytes: artifact.size.0,
        ..common::Artifact::default()
    });
    wire::EnsureVm {
        agent_id: "agent".into(),
        host_id: host.to_string(),
        generation: 1,
        intent_revision: revision,
        power: power.into(),
        spec: Some(wire::VmSpec {
            instance_id: instance.to_string(),
            tenant: "acme".into(),
            resources: Some(common::Resources {
                vcpus_milli: 1000,
                memory_bytes: 128 << 20,
                disk_bytes: 64 << 20,
            }),
            artifacts: artifacts.collect(),
            kernel_cmdline: "console=ttyS0 quiet".into(),
            hostname: "killed".into(),
            driver: common::Driver::Libvirt.into(),
            ..wire::VmSpec::default()
        }),
        ..wire::EnsureVm::default()
    }
}

async fn settle(parts: &Parts, key: VmKey, wanted: wire::VmPower) {
    testkit::eventually(Duration::from_secs(60), "the order to be followed", async || {
        parts.visitor.visit(key).await.expect("the database works");
        let said = parts.said(key).await.expect("read")?;
        (said.power() == wanted && said.failure.is_none()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_and_a_deletion_survive_a_kill_at_each_action() {
    let subject = Subject::libvirt("qemu:///system").await;
    let (gate, host) = (Arc::new(Gate::default()), HostId::new());
    let (up, down) = (wire::VmPower::Running, wire::VmPower::Absent);

    // what a create and a deletion do when nothing disturbs them
    let calm = Database::sqlite(MIGRATIONS).await;
    let (parts, mut bench) = process(&subject, &gate, host, calm.store.clone());
    let first = InstanceId::new();
    let _gone = Gone(format!("berth-{first}"));
    let key = VmKey { host, instance: first };
    let mut steps: Vec<(wire::VmPower, BTreeSet<&'static str>)> = Vec::new();
    for (revision, power) in [(1, up), (2, down)] {
        bench.deliver(&order(&subject, host, first, power, revision)).await.expect("taken");
        settle(&parts, key, power).await;
        steps.push((power, gate.passed()));
    }
    let known: BTreeSet<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    assert!(steps.iter().all(|(_, steps)| steps.len() >= 3 && steps.is_subset(&known)), "{steps:?}");

    for (killed_at, actions) in steps {
        for (action, done) in actions.into_iter().flat_map(|action| [(action, false), (action, true)]) {
            let database = Database::sqlite(MIGRATIONS).await;
            let instance = InstanceId::new();
            let _gone = Gone(format!("berth-{instance}"));
            let key = VmKey { host, instance };
            let (parts, mut bench) = process(&subject, &gate, host, database.store.clone());
            bench.deliver(&order(&subject, host, instance, up, 1)).await.expect("taken");
            if killed_at == down {
                settle(&parts, key, up).await;
                bench.deliver(&order(&subject, host, instance, down, 2)).await.expect("taken");
            }
            gate.halt(action, done);
            tokio::select! {
                outcome = parts.visitor.visit(key) => panic!("{action} was not reached: {outcome:?}"),
                () = gate.halted() => {}
            }
            drop((parts, bench));
            let (parts, mut bench) = process(&subject, &gate, host, database.store.clone());
            settle(&parts, key, killed_at).await;
            let there = domains().matches(&instance.to_string()).count();
            assert_eq!(there, usize::from(killed_at == up), "killed at {action}, done: {done}");
            assert!(
                bench.said_of::<wire::VmDrifted>().await.is_empty(),
                "{action}: unfinished work is no drift"
            );
            if killed_at == up {
                bench.deliver(&order(&subject, host, instance, down, 2)).await.expect("taken");
                settle(&parts, key, down).await;
            }
            assert!(!domains().contains(&instance.to_string()), "{action}: nothing is left");
        }
    }
}
