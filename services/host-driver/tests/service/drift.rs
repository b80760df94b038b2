//! What happens behind our back.

use crate::rig::Rig;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use host_driver::adapters::Fault;
use host_driver::adapters::simulated::{When, World};
use host_driver::domain::{Ended, Held, Power};
use kernel::InstanceId;
use std::time::Duration;

fn with_policy(rig: &Rig, instance: InstanceId, policy: common::RestartPolicy) -> wire::EnsureVm {
    let mut order = rig.order(instance);
    order.spec.as_mut().unwrap().restart_policy = policy.into();
    order
}

#[tokio::test]
async fn each_drift_is_repaired_and_said_once() {
    type Hand = fn(&World, InstanceId);
    let cases: [(wire::DriftKind, Hand); 5] = [
        (wire::DriftKind::Stopped, World::kill),
        (wire::DriftKind::Stopped, World::crash),
        (wire::DriftKind::Undefined, World::forget),
        (wire::DriftKind::Paused, |world, instance| world.set_power(instance, Power::Paused(Held::ByHand))),
        (wire::DriftKind::Redefined, World::redefine),
    ];
    for (kind, hand) in cases {
        let mut rig = Rig::new(2).await;
        let instance = rig.running().await;
        hand(&rig.world, instance);
        rig.settle(instance).await;
        let (drifts, seen) = rig.heard().await;
        assert_eq!(drifts.len(), 1, "{kind:?}: {drifts:?}");
        assert_eq!((drifts[0].kind(), drifts[0].action()), (kind, wire::DriftAction::Repaired));
        assert!(seen.iter().all(|o| o.failure.is_none() && !o.gave_up), "{seen:?}");
        assert_eq!(rig.world.powers()[&instance], Power::Running);
        rig.settle(instance).await;
        assert_eq!(rig.heard().await, (vec![], vec![]), "{kind:?}: it is as it should be");
    }
}

#[tokio::test]
async fn a_stopped_vm_that_somebody_starts_is_stopped_again() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    let stop =
        wire::EnsureVm { intent_revision: 2, power: wire::VmPower::Stopped.into(), ..rig.order(instance) };
    rig.ensure(&stop).await.expect("taken");
    rig.settle(instance).await;
    rig.bench.said().await;
    rig.world.set_power(instance, Power::Running);
    rig.world.deafen(instance);
    rig.settle(instance).await;
    let (drifts, _) = rig.heard().await;
    let kinds: Vec<_> = drifts.iter().map(|d| (d.kind(), d.action())).collect();
    assert_eq!(kinds, [(wire::DriftKind::Running, wire::DriftAction::Repaired)]);
    assert_eq!(rig.world.powers()[&instance], Power::Off(Ended::Killed));
}

#[tokio::test]
async fn a_guest_that_ends_is_treated_as_its_policy_says() {
    type Hand = fn(&World, InstanceId);
    let (inside, crash): (Hand, Hand) = (World::shut_down_from_inside, World::crash);
    use common::RestartPolicy::{Always, Never, OnFailure};
    use wire::VmPower::{Crashed, Running, Stopped};
    let cases = [
        (Always, inside, Running),
        (Always, crash, Running),
        (OnFailure, inside, Stopped),
        (OnFailure, crash, Running),
        (Never, inside, Stopped),
        (Never, crash, Crashed),
    ];
    for (policy, hand, expected) in cases {
        let mut rig = Rig::new(2).await;
        let instance = InstanceId::new();
        let order = with_policy(&rig, instance, policy);
        rig.ensure(&order).await.expect("taken");
        rig.settle(instance).await;
        rig.bench.said().await;
        rig.clock.advance(Duration::from_secs(1));
        hand(&rig.world, instance);
        rig.settle(instance).await;
        let (drifts, seen) = rig.heard().await;
        let adopted = expected != Running;
        let action = if adopted { wire::DriftAction::Adopted } else { wire::DriftAction::Repaired };
        assert_eq!(drifts.iter().map(|d| d.action()).collect::<Vec<_>>(), [action], "{policy:?}");
        assert_eq!(seen.last().map(|o| o.power()), Some(expected), "{policy:?}");
        assert_eq!(rig.world.calls("start"), if adopted { 1 } else { 2 }, "{policy:?}");
        // a new order starts it again
        let start = wire::EnsureVm { intent_revision: 2, ..order };
        rig.ensure(&start).await.expect("taken");
        rig.settle(instance).await;
        assert_eq!(rig.world.powers()[&instance], Power::Running);
    }
}

#[tokio::test]
async fn a_host_that_lost_power_brings_everything_back() {
    let mut rig = Rig::new(1).await;
    let mut instances = Vec::new();
    for _ in 0..5 {
        instances.push(rig.running().await);
    }
    rig.world.lose_power();
    for instance in &instances {
        rig.settle(*instance).await;
    }
    assert!(rig.world.powers().values().all(|p| *p == Power::Running));
}

#[tokio::test]
async fn somebody_elses_vm_of_the_same_name_is_never_touched() {
    let mut rig = Rig::new(2).await;
    let instance = InstanceId::new();
    rig.world.occupy(instance);
    let order = rig.order(instance);
    rig.ensure(&order).await.expect("taken");
    rig.settle(instance).await;
    let seen = rig.last_observation().await;
    assert_eq!((seen.failure.map(|f| f.code).as_deref(), seen.gave_up), (Some("NAME_TAKEN"), true));
    let delete = wire::EnsureVm { intent_revision: 2, power: wire::VmPower::Absent.into(), ..order };
    rig.ensure(&delete).await.expect("taken");
    rig.settle(instance).await;
    assert_eq!(rig.last_observation().await.power(), wire::VmPower::Absent);
    for operation in ["define", "start", "destroy", "undefine"] {
        assert_eq!(rig.world.calls(operation), 0, "{operation}");
    }
}

#[tokio::test]
async fn a_repair_is_said_when_it_is_done_and_reported_when_it_cannot_be() {
    let cases = [(2, wire::DriftAction::Repaired, false), (5, wire::DriftAction::Reported, true)];
    for (failures, action, gave_up) in cases {
        let mut rig = Rig::new(2).await;
        let instance = rig.running().await;
        for nth in 1..=failures {
            rig.world.fail("start", nth, When::Before, Fault::Failed("no such luck".into()));
        }
        rig.clock.advance(Duration::from_secs(1));
        rig.world.kill(instance);
        rig.settle(instance).await;
        let (drifts, seen) = rig.heard().await;
        assert_eq!(drifts.iter().map(|d| d.action()).collect::<Vec<_>>(), [action], "{failures} failures");
        assert_eq!(seen.last().map(|o| o.gave_up), Some(gave_up));
    }
}
