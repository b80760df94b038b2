//! Guests that stand still, end or begin anew by themselves: said as what they are, once for each change.

use crate::rig::Rig;
use contracts::host_driver::v1 as wire;
use host_driver::domain::{HostCause, Power};
use kernel::InstanceId;
use std::time::Duration;

fn seen(observations: &[wire::VmObservation]) -> Vec<(wire::VmPower, wire::VmReason, &str)> {
    observations.iter().map(|o| (o.power(), o.reason(), o.hypervisor_state.as_str())).collect()
}

/// Looks at it as the loop would for so long.
async fn pass_time(rig: &Rig, instance: InstanceId, time: Duration) {
    let end = kernel::Clock::now(rig.clock.as_ref()).after(time);
    loop {
        let pause = rig.look(instance).await.unwrap_or(Duration::from_secs(30));
        rig.clock.advance(pause + Duration::from_millis(1));
        if kernel::Clock::now(rig.clock.as_ref()) >= end {
            return;
        }
    }
}

fn ordered(rig: &Rig, instance: InstanceId, revision: u64, power: wire::VmPower) -> wire::EnsureVm {
    wire::EnsureVm { intent_revision: revision, power: power.into(), ..rig.order(instance) }
}

const HELD: (wire::VmPower, wire::VmReason, &str) =
    (wire::VmPower::Paused, wire::VmReason::IoError, "paused (I/O error)");
const ASLEEP: (wire::VmPower, wire::VmReason, &str) =
    (wire::VmPower::Paused, wire::VmReason::GuestSuspended, "pmsuspended");
const RUNS: (wire::VmPower, wire::VmReason, &str) = (wire::VmPower::Running, wire::VmReason::Unspecified, "");

#[tokio::test]
async fn a_full_disk_of_the_host_holds_the_guest_until_there_is_room() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    rig.heard().await;
    rig.world.begin_condition(HostCause::Storage, "0 B are free");
    rig.world.fail_writes(instance);
    pass_time(&rig, instance, Duration::from_secs(600)).await;
    let (drifts, told) = rig.heard().await;
    assert!(drifts.is_empty(), "nobody paused it: {drifts:?}");
    assert_eq!(seen(&told), [HELD], "said once in ten minutes");
    assert_eq!(told[0].failure.as_ref().map(|f| f.code.as_str()), Some("HOST_STORAGE_FULL"));
    assert!(told[0].waits_for_host && !told[0].gave_up && told[0].agent_answered, "{:?}", told[0]);
    assert_eq!(rig.world.calls("resume"), 0, "without room it is not let go on");

    rig.reports().pass().await.expect("reported");
    rig.world.mend_writes(instance);
    rig.world.end_conditions();
    rig.reports().pass().await.expect("reported");
    rig.heard().await;
    rig.look(instance).await;
    assert_eq!(rig.world.powers()[&instance], Power::Running, "at once, whatever pause was left");
    pass_time(&rig, instance, Duration::from_secs(60)).await;
    let (drifts, told) = rig.heard().await;
    assert_eq!((drifts.len(), seen(&told)), (0, vec![RUNS]));
    assert!(told[0].failure.is_none() && !told[0].waits_for_host);
}

#[tokio::test]
async fn writes_that_fail_though_there_is_room_are_tried_ever_more_seldom() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    rig.heard().await;
    rig.world.fail_writes(instance);
    pass_time(&rig, instance, Duration::from_secs(600)).await;
    let (drifts, told) = rig.heard().await;
    assert_eq!((drifts.len(), seen(&told)), (0, vec![HELD]), "not a word for each try");
    let tries = rig.world.calls("resume");
    assert!((5..40).contains(&tries), "{tries} tries in ten minutes");
    rig.world.mend_writes(instance);
    pass_time(&rig, instance, Duration::from_secs(60)).await;
    assert_eq!(seen(&rig.heard().await.1), [RUNS]);
}

#[tokio::test]
async fn what_is_held_can_be_stopped_and_deleted() {
    for (power, expected) in
        [(wire::VmPower::Stopped, wire::VmPower::Stopped), (wire::VmPower::Absent, wire::VmPower::Absent)]
    {
        for asleep in [false, true] {
            let mut rig = Rig::new(2).await;
            let instance = rig.running().await;
            if asleep {
                rig.world.suspend_from_inside(instance);
            } else {
                rig.world.begin_condition(HostCause::Storage, "0 B are free");
                rig.world.fail_writes(instance);
            }
            rig.look(instance).await;
            let order = ordered(&rig, instance, 2, power);
            rig.ensure(&order).await.expect("taken");
            pass_time(&rig, instance, Duration::from_secs(120)).await;
            let last = rig.last_observation().await;
            assert_eq!((last.power(), last.failure), (expected, None), "{power:?}, asleep: {asleep}");
        }
    }
}

#[tokio::test]
async fn a_guest_that_suspended_itself_sleeps_until_it_is_to_go_on() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    rig.heard().await;
    rig.world.suspend_from_inside(instance);
    pass_time(&rig, instance, Duration::from_secs(600)).await;
    let (drifts, told) = rig.heard().await;
    assert_eq!((drifts.len(), seen(&told)), (0, vec![ASLEEP]));
    assert_eq!(rig.world.calls("resume"), 0, "its own wish");

    // a database that was made again from the events does not wake it either
    let mut tx = rig.bench.desk.store().begin().await.expect("a transaction");
    sqlx::query("DELETE FROM vm_work").execute(&mut *tx).await.expect("deleted");
    tx.commit().await.expect("committed");
    pass_time(&rig, instance, Duration::from_secs(60)).await;
    assert_eq!(rig.world.calls("resume"), 0);

    rig.heard().await;
    let go_on = ordered(&rig, instance, 2, wire::VmPower::Running);
    rig.ensure(&go_on).await.expect("taken");
    pass_time(&rig, instance, Duration::from_secs(60)).await;
    assert_eq!(seen(&rig.heard().await.1), [RUNS]);
    assert_eq!((rig.world.calls("resume"), rig.world.boots(instance)), (1, 1), "woken, not booted");
}

#[tokio::test]
async fn a_guest_that_reboots_itself_is_said_to_once_for_each_time() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    rig.heard().await;
    rig.clock.advance(Duration::from_secs(10));
    rig.world.reboot_from_inside(instance);
    rig.settle(instance).await;
    rig.settle(instance).await;
    let (drifts, told) = rig.heard().await;
    let kinds: Vec<_> = drifts.iter().map(|d| (d.kind(), d.action())).collect();
    assert_eq!(kinds, [(wire::DriftKind::Rebooted, wire::DriftAction::Reported)]);
    let answered: Vec<bool> = told.iter().map(|o| o.agent_answered).collect();
    assert_eq!(answered, [false, true], "it boots, and is back");
    assert_eq!(told[1].reboot_counter, 0, "nobody asked for it");

    // one that was asked for is none of its own
    let order = wire::EnsureVm { intent_revision: 2, reboot_counter: 1, ..rig.order(instance) };
    rig.clock.advance(Duration::from_secs(100));
    rig.ensure(&order).await.expect("taken");
    rig.settle(instance).await;
    rig.clock.advance(Duration::from_secs(100));
    rig.settle(instance).await;
    assert!(rig.heard().await.0.is_empty());
}

#[tokio::test]
async fn how_a_guest_ended_is_said_while_it_waits_to_be_started() {
    let mut rig = Rig::new(2).await;
    let instance = rig
        .running_with(|order| {
            let spec = order.spec.as_mut().expect("a spec");
            spec.restart_policy = contracts::common::v1::RestartPolicy::Never.into();
        })
        .await;
    rig.heard().await;
    rig.world.kill(instance);
    pass_time(&rig, instance, Duration::from_secs(60)).await;
    let (drifts, told) = rig.heard().await;
    let taken = (wire::VmPower::Crashed, wire::VmReason::PowerTaken, "shut off (destroyed)");
    assert_eq!(seen(&told), [taken]);
    assert!(drifts.iter().all(|d| d.detail.contains("shut off (destroyed)")), "{drifts:?}");
    assert_eq!(drifts.len(), 1);
}

#[tokio::test]
async fn a_guest_without_an_agent_shows_its_address_all_the_same() {
    let mut rig = Rig::new(2).await;
    let instance = InstanceId::new();
    let order = rig.order(instance);
    rig.ensure(&order).await.expect("taken");
    rig.look(instance).await;
    rig.world.take_agent(instance);
    pass_time(&rig, instance, Duration::from_secs(120)).await;
    let told = rig.last_observation().await;
    assert_eq!((told.power(), told.agent_answered), (wire::VmPower::Running, false));
    assert_eq!(told.addresses.len(), 1, "the address that it was given: {told:?}");
}
