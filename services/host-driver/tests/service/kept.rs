//! Disks that a VM ran from: they go by an order to delete, or into the quarantine, and come back out of it.

use crate::rig::Rig;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use host_driver::adapters::Fault;
use host_driver::adapters::simulated::When;
use host_driver::domain::quarantine::Keep;
use host_driver::domain::{Domain, HostCause, Policy, Power};
use host_driver::{OrphanPolicy, Orphans};
use kernel::InstanceId;
use std::time::Duration;

fn leave(rig: &Rig, instance: InstanceId, disposal: wire::Disposal) -> wire::EnsureVm {
    wire::EnsureVm {
        intent_revision: 2,
        power: wire::VmPower::Absent.into(),
        disposal: disposal.into(),
        ..rig.order(instance)
    }
}

/// What was said of the quarantine since the last time.
async fn changes(rig: &mut Rig) -> Vec<wire::QuarantineChanged> {
    let said = rig.bench.said().await;
    said.iter().filter_map(testkit::Said::get::<wire::QuarantineChanged>).collect()
}

fn states(
    changes: &[wire::QuarantineChanged],
) -> Vec<(wire::QuarantineState, wire::QuarantineReason, wire::DropReason)> {
    let state = |change: &wire::QuarantineChanged| {
        let item = change.item.as_ref().expect("files");
        (item.state(), item.reason(), item.dropped())
    };
    changes.iter().map(state).collect()
}

#[tokio::test]
async fn a_disk_is_put_aside_unless_it_never_ran_or_was_deleted_for_good() {
    use wire::Disposal::{Delete, SetAside, Unspecified};
    use wire::QuarantineReason::{Deleted, LeftHost};
    let cases = [
        // an order of before there was a disposal is no order to destroy anything
        (Unspecified, true, Some(LeftHost)),
        (SetAside, true, Some(LeftHost)),
        (Delete, true, Some(Deleted)),
        (SetAside, false, None),
        (Delete, false, None),
    ];
    for (disposal, ran, reason) in cases {
        let mut rig = Rig::new(2).await;
        let instance = InstanceId::new();
        let power = if ran { wire::VmPower::Running } else { wire::VmPower::Stopped };
        let order = wire::EnsureVm { power: power.into(), ..rig.order(instance) };
        rig.ensure(&order).await.expect("taken");
        rig.settle(instance).await;
        assert_eq!(rig.last_observation().await.has_run, ran);
        rig.ensure(&leave(&rig, instance, disposal)).await.expect("taken");
        rig.settle(instance).await;
        let said = rig.bench.said().await;
        let names: Vec<&str> = said.iter().map(|s| s.subject.name.as_str()).collect();
        let held: Vec<_> = said.iter().filter_map(testkit::Said::get::<wire::QuarantineChanged>).collect();
        let expected: Vec<_> = reason
            .map(|reason| (wire::QuarantineState::Held, reason, wire::DropReason::Unspecified))
            .into_iter()
            .collect();
        assert_eq!(states(&held), expected, "{disposal:?} {ran}");
        if reason.is_some() {
            let at = |name| names.iter().rposition(|n| *n == name).expect("said");
            assert!(
                at("QuarantineChanged") < at("VmObserved"),
                "where it went, before it is gone: {names:?}"
            );
            let item = held[0].item.clone().expect("files");
            assert_eq!((item.tenant.as_str(), item.instance_name.as_str()), ("default", "web-1"));
            assert!(item.size_bytes > 0 && item.expires_at_us > item.at_us, "{item:?}");
        }
        assert!(rig.world.files().is_empty() && rig.world.powers().is_empty());
        assert_eq!(rig.world.quarantine().len(), usize::from(reason.is_some()));
    }
}

#[tokio::test]
async fn without_a_time_to_keep_it_what_was_deleted_goes_at_once() {
    let mut rig = Rig::new(2).await;
    let keep = Keep { deleted: Duration::ZERO, ..Keep::default() };
    rig.under(Policy { keep, ..Policy::default() });
    for (disposal, kept) in [(wire::Disposal::Delete, 0), (wire::Disposal::SetAside, 1)] {
        let instance = rig.running().await;
        rig.ensure(&leave(&rig, instance, disposal)).await.expect("taken");
        rig.settle(instance).await;
        assert_eq!(rig.world.quarantine().len(), kept, "{disposal:?}");
    }
}

#[tokio::test]
async fn what_lies_in_quarantine_goes_when_its_time_is_over_or_somebody_orders_it() {
    let mut rig = Rig::new(2).await;
    let (first, second) = (rig.running().await, rig.running().await);
    for (instance, disposal) in [(first, wire::Disposal::Delete), (second, wire::Disposal::SetAside)] {
        rig.ensure(&leave(&rig, instance, disposal)).await.expect("taken");
        rig.settle(instance).await;
    }
    assert_eq!(changes(&mut rig).await.len(), 2);
    rig.parts.quarantine.clone().pass().await.expect("looked after");
    assert!(changes(&mut rig).await.is_empty(), "nothing is said twice");
    rig.clock.advance(Duration::from_secs(25 * 3600));
    rig.parts.quarantine.clone().pass().await.expect("looked after");
    let dropped = wire::QuarantineState::Dropped;
    let said = states(&changes(&mut rig).await);
    assert_eq!(said, [(dropped, wire::QuarantineReason::Deleted, wire::DropReason::Expired)]);
    let left = rig.world.quarantine();
    assert_eq!(left.iter().map(|item| item.instance).collect::<Vec<_>>(), [second], "kept for a week");

    let order = wire::DropQuarantined {
        agent_id: "agent".into(),
        host_id: rig.host.to_string(),
        tenant: "default".into(),
        operation_id: "o1".into(),
        quarantine_id: left[0].id.to_string(),
    };
    rig.bench.deliver(&order).await.expect("taken");
    rig.parts.quarantine.clone().pass().await.expect("looked after");
    let said = changes(&mut rig).await;
    assert_eq!(states(&said), [(dropped, wire::QuarantineReason::LeftHost, wire::DropReason::Ordered)]);
    assert_eq!(said[0].operations[0].state(), common::OperationState::Succeeded);
    assert!(rig.world.quarantine().is_empty());
    // once more, under another operation: there is nothing
    rig.bench.deliver(&wire::DropQuarantined { operation_id: "o2".into(), ..order }).await.expect("taken");
    for _ in 0..2 {
        rig.parts.quarantine.clone().pass().await.expect("looked after");
    }
    let said = changes(&mut rig).await;
    assert_eq!(said.len(), 1);
    let ended = &said[0].operations[0];
    assert_eq!((ended.state(), ended.operation_id.as_str()), (common::OperationState::Failed, "o2"));
}

#[tokio::test]
async fn a_process_killed_while_it_removes_goes_on_and_what_others_removed_is_said() {
    for step in ["condemn", "drop_quarantined"] {
        for when in [When::Before, When::After] {
            let mut rig = Rig::new(2).await;
            let instance = rig.running().await;
            rig.ensure(&leave(&rig, instance, wire::Disposal::SetAside)).await.expect("taken");
            rig.settle(instance).await;
            changes(&mut rig).await;
            rig.clock.advance(Duration::from_secs(8 * 24 * 3600));
            rig.world.halt(step, when);
            tokio::select! {
                _ = rig.parts.quarantine.clone().pass() => panic!("{step} was not reached"),
                () = rig.world.halted() => {}
            }
            rig.parts.quarantine.clone().pass().await.expect("looked after");
            let said = states(&changes(&mut rig).await);
            let expired =
                (wire::QuarantineState::Dropped, wire::QuarantineReason::LeftHost, wire::DropReason::Expired);
            assert_eq!(said, [expired], "{step} {when:?}");
            assert!(rig.world.quarantine().is_empty(), "{step} {when:?}");
        }
    }
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    rig.ensure(&leave(&rig, instance, wire::Disposal::SetAside)).await.expect("taken");
    rig.settle(instance).await;
    changes(&mut rig).await;
    rig.world.lose_quarantine();
    for _ in 0..2 {
        rig.parts.quarantine.clone().pass().await.expect("looked after");
    }
    let gone = (wire::QuarantineState::Dropped, wire::QuarantineReason::LeftHost, wire::DropReason::Gone);
    assert_eq!(states(&changes(&mut rig).await), [gone]);
}

#[tokio::test]
async fn disks_come_back_once_and_never_as_empty_ones() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    rig.ensure(&leave(&rig, instance, wire::Disposal::Delete)).await.expect("taken");
    rig.settle(instance).await;
    let id = rig.world.quarantine()[0].id.to_string();
    changes(&mut rig).await;
    let back = wire::EnsureVm {
        generation: 2,
        power: wire::VmPower::Stopped.into(),
        take_back: id.clone(),
        ..rig.order(instance)
    };
    rig.ensure(&back).await.expect("taken");
    rig.settle(instance).await;
    let said = changes(&mut rig).await;
    let given_back =
        (wire::QuarantineState::GivenBack, wire::QuarantineReason::Deleted, wire::DropReason::Unspecified);
    assert_eq!(states(&said), [given_back]);
    let seen = rig.parts.said(rig.key(instance)).await.expect("read").expect("said");
    assert_eq!((seen.power(), seen.has_run, seen.generation), (wire::VmPower::Stopped, true, 2));
    assert!(rig.world.quarantine().is_empty());

    // another instance wants the same disks: they are in use
    let other = InstanceId::new();
    let order = wire::EnsureVm { take_back: id, ..rig.order(other) };
    rig.ensure(&order).await.expect("taken");
    rig.settle(other).await;
    let seen = rig.parts.said(rig.key(other)).await.expect("read").expect("said");
    assert_eq!(seen.failure.map(|f| f.code).as_deref(), Some("QUARANTINE_GONE"));
    assert!(!rig.world.files().contains_key(&other), "no empty disk in its place");
}

#[tokio::test]
async fn what_holds_for_the_host_is_waited_out_and_said_once() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    rig.world.begin_condition(HostCause::Network, "the network is not active");
    rig.world.lose_power();
    rig.bench.said().await;
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let pause = rig.look(instance).await.expect("it is tried again");
        pauses.push(pause.as_secs());
        rig.clock.advance(pause + Duration::from_millis(1));
    }
    assert!(pauses.is_sorted() && pauses.last() == Some(&30), "growing pauses: {pauses:?}");
    let (_, seen) = rig.heard().await;
    assert_eq!(seen.len(), 1, "said once: {seen:?}");
    assert_eq!(seen[0].failure.as_ref().map(|f| f.code.as_str()), Some("HOST_NETWORK_DOWN"));
    assert_eq!((seen[0].gave_up, seen[0].waits_for_host, seen[0].has_run), (false, true, true));

    let report = async |rig: &mut Rig| {
        rig.reports().pass().await.expect("reported");
        let said = rig.bench.said_of::<wire::HostReported>().await;
        said.into_iter().filter_map(|event| event.report).map(|r| r.conditions).collect::<Vec<_>>()
    };
    let said = report(&mut rig).await;
    assert_eq!(said[0].iter().map(|c| c.code.as_str()).collect::<Vec<_>>(), ["HOST_NETWORK_DOWN"]);
    assert!(report(&mut rig).await.is_empty(), "said once per change");
    rig.world.end_conditions();
    assert_eq!(report(&mut rig).await, [vec![]]);
    let due = rig.parts.attention.take_due(tokio::time::Instant::now(), 9);
    assert_eq!(due, [rig.key(instance)], "nobody waits for the end of a pause");
    rig.look(instance).await;
    assert_eq!(rig.world.powers()[&instance], Power::Running, "whatever its patience was");
}

#[tokio::test]
async fn an_order_that_cannot_be_followed_is_refused_with_what_was_seen() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    let mut order = wire::EnsureVm { intent_revision: 2, ..rig.order(instance) };
    order.spec.as_mut().expect("a spec").resources = None;
    rig.ensure(&order).await.expect("taken");
    rig.settle(instance).await;
    let seen = rig.last_observation().await;
    let said = (seen.power(), seen.gave_up, seen.has_run, seen.failure.map(|f| f.code));
    assert_eq!(said, (wire::VmPower::Running, true, true, Some("SPEC_REFUSED".into())));
    // and what cannot be read can still be taken away
    let mut gone = wire::EnsureVm { intent_revision: 3, ..leave(&rig, instance, wire::Disposal::SetAside) };
    gone.spec.as_mut().expect("a spec").resources = None;
    rig.ensure(&gone).await.expect("taken");
    rig.settle(instance).await;
    assert_eq!(rig.last_observation().await.power(), wire::VmPower::Absent);
    assert_eq!(rig.world.quarantined(), [instance]);
}

#[tokio::test]
async fn a_vm_that_is_there_again_after_its_deletion_is_said_and_left_alone() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    rig.ensure(&leave(&rig, instance, wire::Disposal::Delete)).await.expect("taken");
    rig.settle(instance).await;
    rig.bench.said().await;
    rig.world.bring_back(instance);
    assert_eq!(rig.look(instance).await, None);
    let woken = tokio::time::timeout(Duration::from_secs(5), rig.parts.visitor.strays.notified()).await;
    assert!(woken.is_ok(), "who looks for such VMs is woken");
    let orphans = Orphans {
        desk: rig.bench.desk.clone(),
        hosts: rig.parts.hosts.clone(),
        policy: OrphanPolicy::Report,
        said: Default::default(),
    };
    for _ in 0..2 {
        orphans.clone().pass().await.expect("looked");
    }
    let (drifts, seen) = rig.heard().await;
    let kinds: Vec<_> = drifts.iter().map(|d| (d.kind(), d.action())).collect();
    assert_eq!(kinds, [(wire::DriftKind::Orphan, wire::DriftAction::Reported)]);
    assert!(seen.is_empty());
    let hypervisor = &rig.parts.hosts.get(rig.host).expect("the host").backends[0].1.hypervisor;
    assert!(
        matches!(hypervisor.observe(instance).await, Ok(Domain::Ours(_))),
        "the old order says nothing of it"
    );
}

#[tokio::test]
async fn a_start_that_the_hypervisor_refused_leaves_a_disk_unused_and_a_lost_reply_does_not() {
    for (fault, ran) in [
        (Fault::Failed("no such luck".into()), false),
        (Fault::host(HostCause::Network, "down"), false),
        (Fault::Unavailable("cut".into()), true),
    ] {
        let mut rig = Rig::new(1).await;
        let instance = InstanceId::new();
        rig.world.fail("start", 1, When::Before, fault.clone());
        rig.ensure(&rig.order(instance)).await.expect("taken");
        rig.look(instance).await;
        assert_eq!(rig.last_observation().await.has_run, ran, "{fault:?}");
    }
}
