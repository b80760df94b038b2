//! A lost reply, a killed process, a hypervisor that is away: never two VMs, nor half of one.

use crate::rig::Rig;
use contracts::host_driver::v1 as wire;
use host_driver::adapters::Fault;
use host_driver::adapters::simulated::{FaultSettings, When, WorldSettings};
use host_driver::domain::Power;
use kernel::InstanceId;
use std::time::Duration;

const MAKING: [&str; 4] = ["fetch_image", "prepare_disks", "define", "start"];

fn lost() -> Fault {
    Fault::Unavailable("cut".into())
}

#[tokio::test]
async fn a_lost_reply_makes_nothing_twice() {
    for operation in MAKING {
        let mut rig = Rig::new(2).await;
        rig.world.fail(operation, 1, When::After, lost());
        let instance = rig.running().await;
        assert_eq!(
            rig.world.powers().into_iter().collect::<Vec<_>>(),
            [(instance, Power::Running)],
            "{operation}"
        );
        assert_eq!(rig.world.calls("start"), 1, "{operation}: it was started, as looking shows");
    }
}

#[tokio::test]
async fn a_process_killed_between_doing_and_writing_makes_nothing_twice() {
    // killed after each action in turn: the world went on, the tables did not
    for killed_after in MAKING {
        let folder = tempfile::tempdir().expect("a folder");
        let mut rig = Rig::new(2).await;
        let instance = InstanceId::new();
        let order = rig.order(instance);
        rig.ensure(&order).await.expect("taken");
        let tables = rig.snapshot(folder.path()).await;
        // what follows the action does not happen any more
        if let Some(next) = MAKING.iter().skip_while(|m| **m != killed_after).nth(1) {
            rig.world.fail(next, 1, When::Before, lost());
        }
        rig.look(instance).await;

        let mut again = Rig::over(tables, rig.world.clone(), rig.host, 2, rig.clock.clone());
        again.bench.said().await;
        again.settle(instance).await;
        let seen = again.last_observation().await;
        assert_eq!((seen.power(), seen.failure), (wire::VmPower::Running, None), "{killed_after}");
        assert_eq!(again.world.powers().len(), 1);
        let starts = again.world.calls("start");
        assert!(starts <= 2, "{killed_after}: {starts} starts");
        assert!(again.heard().await.0.is_empty(), "{killed_after}: unfinished work is no drift");
    }
}

#[tokio::test]
async fn it_gives_up_after_five_failures_and_a_new_order_is_a_new_chance() {
    let mut rig = Rig::new(2).await;
    for nth in 1..=5 {
        rig.world.fail("start", nth, When::Before, Fault::Failed("no such luck".into()));
    }
    let instance = InstanceId::new();
    let order = rig.order(instance);
    rig.ensure(&order).await.expect("taken");
    let before = kernel::Clock::now(rig.clock.as_ref());
    rig.settle(instance).await;
    let waited = kernel::Clock::now(rig.clock.as_ref()).since(before);
    assert!(waited >= Duration::from_secs(1 + 2 + 4 + 8), "{waited:?}");
    let seen = rig.last_observation().await;
    assert_eq!((seen.failure.map(|f| f.code).as_deref(), seen.gave_up), (Some("START_FAILED"), true));
    assert_eq!(rig.world.calls("start"), 5);
    rig.clock.advance(Duration::from_secs(86_400));
    rig.settle(instance).await;
    assert_eq!(rig.world.calls("start"), 5, "given up is given up");

    rig.ensure(&wire::EnsureVm { intent_revision: 2, ..order }).await.expect("taken");
    rig.settle(instance).await;
    let seen = rig.last_observation().await;
    assert_eq!((seen.power(), seen.failure, seen.gave_up), (wire::VmPower::Running, None, false));
}

#[tokio::test]
async fn what_can_never_work_is_tried_once() {
    let mut rig = Rig::new(2).await;
    rig.world.fail("fetch_image", 1, When::Before, Fault::permanent("IMAGE_DIGEST_MISMATCH", "damaged"));
    let instance = InstanceId::new();
    rig.ensure(&rig.order(instance)).await.expect("taken");
    rig.settle(instance).await;
    let seen = rig.last_observation().await;
    assert_eq!(
        (seen.failure.map(|f| f.code).as_deref(), seen.gave_up),
        (Some("IMAGE_DIGEST_MISMATCH"), true)
    );
    assert_eq!(rig.world.calls("fetch_image"), 1);
}

#[tokio::test]
async fn a_hypervisor_that_is_away_is_waited_for_and_said_to_be_away() {
    let mut rig = Rig::new(1).await;
    let instance = rig.running().await;
    for nth in 1..=20 {
        rig.world.fail("observe", nth, When::Before, lost());
    }
    assert!(rig.look(instance).await.is_some());
    let asked = tokio::time::timeout(Duration::from_secs(5), rig.parts.doubt.notified()).await;
    assert!(
        asked.is_ok(),
        "who speaks for the hosts is asked to look; one VM alone says nothing of its hypervisor"
    );
    assert!(rig.bench.said().await.is_empty(), "not seeing is no observation");
    rig.settle(instance).await;
}

#[tokio::test]
async fn under_a_storm_of_faults_every_vm_is_made_once_or_given_up() {
    let storm = FaultSettings {
        seed: 42,
        failures: [("*".to_owned(), 0.10)].into(),
        lost_replies: [("*".to_owned(), 0.15)].into(),
    };
    let mut rig = Rig::with(2, WorldSettings { boot_ms: 0, faults: storm, ..WorldSettings::default() }).await;
    let instances: Vec<InstanceId> = (0..60).map(|_| InstanceId::new()).collect();
    for instance in &instances {
        let order = rig.order(*instance);
        rig.ensure(&order).await.expect("taken");
        rig.settle(*instance).await;
    }
    let mut last = std::collections::BTreeMap::new();
    for seen in rig.observations().await {
        let before = last.insert(seen.instance_id.clone(), seen.clone());
        assert!(seen.revision > before.map_or(0, |b| b.revision), "{seen:?}");
    }
    let powers = rig.world.powers();
    assert!(powers.keys().all(|id| instances.contains(id)), "a VM nobody ordered");
    let mut up = 0;
    for instance in &instances {
        let seen = &last[&instance.to_string()];
        let runs = powers.get(instance) == Some(&Power::Running);
        assert!(seen.gave_up || (runs && seen.power() == wire::VmPower::Running), "{seen:?}");
        up += usize::from(runs);
    }
    assert!(up >= 55, "only {up} of 60 came up");

    for instance in &instances {
        let order = wire::EnsureVm {
            intent_revision: 2,
            power: wire::VmPower::Absent.into(),
            ..rig.order(*instance)
        };
        rig.ensure(&order).await.expect("taken");
        rig.settle(*instance).await;
    }
    assert!(rig.world.powers().is_empty(), "cleaning up never gives up");
    assert!(rig.world.files().is_empty());
}

#[tokio::test]
async fn a_host_that_cannot_be_asked_is_unwell_and_gives_no_sign_of_life() {
    let rig = Rig::new(1).await;
    let reports = rig.reports();
    rig.world.fail("capacity", 1, When::Before, lost());
    assert!(reports.clone().pass().await.is_err());
    assert!(!rig.health.is_healthy() && reports.silent.lock().expect("whole").contains(&rig.host));
    reports.clone().pass().await.expect("it answers again");
    assert!(rig.health.is_healthy() && reports.silent.lock().expect("whole").is_empty());
}
