//! VMs that this process cannot look at, and VMs that somebody else has his hands on.

use crate::rig::Rig;
use contracts::host_driver::v1 as wire;
use host_driver::domain::Power;
use kernel::HostId;

#[tokio::test]
async fn a_process_without_the_driver_of_a_vm_keeps_it_and_says_so() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    let (store, world, host) = (rig.bench.desk.store().clone(), rig.world.clone(), rig.host);

    // the same data, started with other drivers: other hosts
    let mut other = Rig::over(store.clone(), Default::default(), HostId::new(), 2, rig.clock.clone());
    other.bench.said().await;
    for _ in 0..3 {
        assert_eq!(other.parts.visitor.visit(rig.key(instance)).await.expect("the database works"), None);
    }
    let seen = other.observations().await;
    assert_eq!(seen.len(), 1, "said once: {seen:?}");
    let said = (seen[0].power(), seen[0].gave_up, seen[0].has_run);
    assert_eq!(said, (wire::VmPower::Unknown, false, true), "nobody looked, and it had run");
    assert_eq!(seen[0].failure.as_ref().map(|f| f.code.as_str()), Some("DRIVER_NOT_HERE"));

    let mut back = Rig::over(store, world, host, 2, rig.clock.clone());
    back.settle(instance).await;
    let seen = back.last_observation().await;
    assert_eq!((seen.power(), seen.failure), (wire::VmPower::Running, None));
    assert_eq!(back.world.calls("start"), 1, "nothing was done to it");
}

#[tokio::test]
async fn a_deletion_waits_while_somebody_else_runs_a_vm_on_the_disks() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    // redefined without our mark while it runs
    rig.world.forget(instance);
    rig.world.occupy(instance);
    let order =
        wire::EnsureVm { intent_revision: 2, power: wire::VmPower::Absent.into(), ..rig.order(instance) };
    rig.ensure(&order).await.expect("taken");
    for _ in 0..10 {
        let pause = rig.look(instance).await.expect("it is tried again");
        rig.clock.advance(pause);
        assert!(rig.world.files().contains_key(&instance), "its disks are in use");
    }
    let seen = rig.last_observation().await;
    assert_eq!(seen.failure.map(|f| f.code).as_deref(), Some("DISKS_IN_USE"));
    assert!(!seen.gave_up);
    rig.world.vacate(instance);
    rig.settle(instance).await;
    assert_eq!(rig.last_observation().await.power(), wire::VmPower::Absent);
    assert!(rig.world.files().is_empty());
}

#[tokio::test]
async fn a_host_whose_work_in_hand_is_lost_neither_reboots_nor_restarts_anything() {
    let mut rig = Rig::new(2).await;
    let (rebooted, ended) = (
        rig.running().await,
        rig.running_with(|order| {
            let spec = order.spec.as_mut().expect("a spec");
            spec.restart_policy = contracts::common::v1::RestartPolicy::Never.into();
        })
        .await,
    );
    let order = wire::EnsureVm { intent_revision: 2, reboot_counter: 1, ..rig.order(rebooted) };
    rig.ensure(&order).await.expect("taken");
    rig.settle(rebooted).await;
    rig.world.shut_down_from_inside(ended);
    rig.settle(ended).await;
    rig.heard().await;
    let (reboots, starts) = (rig.world.calls("reboot"), rig.world.calls("start"));
    assert_eq!(reboots, 1);

    // a rebuilt database: what was ordered and said, nothing of the work
    let statement = "DELETE FROM vm_work";
    let mut tx = rig.bench.desk.store().begin().await.expect("a transaction");
    sqlx::query(statement).execute(&mut *tx).await.expect("deleted");
    tx.commit().await.expect("committed");
    for instance in [rebooted, ended] {
        rig.settle(instance).await;
    }
    assert_eq!((rig.world.calls("reboot"), rig.world.calls("start")), (reboots, starts));
    assert!(matches!(rig.world.powers()[&ended], Power::Off(_)));
    let (drifts, seen) = rig.heard().await;
    assert!(drifts.is_empty() && seen.is_empty(), "everything is as it was said to be: {drifts:?} {seen:?}");
}
