//! Orders and what becomes of them.

use crate::rig::Rig;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use host_driver::adapters::simulated::World;
use host_driver::domain::{Ended, Held, Power};
use host_driver::{MIGRATIONS, STATE_TABLES, apply};
use kernel::InstanceId;
use std::sync::Arc;
use testkit::Database;

#[tokio::test]
async fn an_order_becomes_a_vm_once() {
    for deliveries in [1, 2] {
        let mut rig = Rig::new(deliveries).await;
        let instance = InstanceId::new();
        let order = rig.order(instance);
        rig.ensure(&order).await.expect("taken");
        rig.settle(instance).await;
        let said = rig.bench.said().await;
        let intended: Vec<wire::VmIntended> = said.iter().filter_map(testkit::Said::get).collect();
        assert_eq!((intended.len(), &intended[0].spec), (1, &order.spec));
        let seen: Vec<_> = said.iter().filter_map(testkit::Said::get::<wire::VmObserved>).collect();
        let last = seen.last().and_then(|e| e.observation.clone()).expect("observed");
        assert_eq!((last.power(), last.agent_answered, last.gave_up), (wire::VmPower::Running, true, false));
        assert_eq!((last.generation, last.intent_revision, last.failure), (1, 1, None));
        assert!(!last.addresses.is_empty());
        let steps: Vec<&str> = last.steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(steps, ["image", "disks", "defined", "started", "agent"]);
        let revisions: Vec<u64> =
            seen.iter().filter_map(|e| Some(e.observation.as_ref()?.revision)).collect();
        assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
        assert!(revisions[0] >= 1 << 50, "above what a host without a memory said: {revisions:?}");
        assert_eq!((rig.world.calls("define"), rig.world.calls("start")), (1, 1));
        assert_eq!(rig.world.powers().into_iter().collect::<Vec<_>>(), [(instance, Power::Running)]);
        // nothing changed, so nothing is said
        rig.settle(instance).await;
        assert!(rig.bench.said().await.is_empty());
    }
}

#[tokio::test]
async fn older_orders_change_nothing() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    let newest = wire::EnsureVm { generation: 2, intent_revision: 5, ..rig.order(instance) };
    rig.ensure(&newest).await.expect("taken");
    rig.settle(instance).await;
    rig.bench.said().await;
    for (generation, intent_revision) in [(2, 5), (2, 4), (1, 9)] {
        let power = wire::VmPower::Absent.into();
        let straggler = wire::EnsureVm { generation, intent_revision, power, ..rig.order(instance) };
        rig.ensure(&straggler).await.expect("passed over");
        rig.settle(instance).await;
    }
    assert!(rig.bench.said().await.is_empty());
    assert_eq!(rig.world.powers()[&instance], Power::Running);
}

#[tokio::test]
async fn an_order_that_is_there_already_is_answered_again_when_asked() {
    for deliveries in [1, 2] {
        let mut rig = Rig::new(deliveries).await;
        let instance = InstanceId::new();
        let ask = wire::EnsureVm { answer_again: true, ..rig.order(instance) };
        rig.ensure(&rig.order(instance)).await.expect("taken");
        rig.ensure(&ask).await.expect("passed over");
        assert!(rig.observations().await.is_empty(), "nothing was said yet, so nothing is said again");
        rig.settle(instance).await;
        let last = rig.last_observation().await;
        rig.ensure(&rig.order(instance)).await.expect("passed over");
        assert!(rig.observations().await.is_empty(), "nobody asks");
        rig.ensure(&ask).await.expect("passed over");
        let again = rig.observations().await;
        for (number, seen) in again.iter().enumerate() {
            let revision = last.revision + 1 + number as u64;
            assert_eq!(*seen, wire::VmObservation { revision, ..last.clone() }, "the same, and newer");
        }
        assert!(!again.is_empty());
        rig.settle(instance).await;
        assert!(rig.bench.said().await.is_empty());
        assert_eq!((rig.world.calls("define"), rig.world.calls("start")), (1, 1));

        // an older order is no question about the newest
        let stop = wire::EnsureVm { intent_revision: 2, power: wire::VmPower::Stopped.into(), ..ask.clone() };
        rig.ensure(&stop).await.expect("taken");
        rig.ensure(&stop).await.expect("passed over");
        rig.ensure(&ask).await.expect("passed over");
        assert!(rig.observations().await.is_empty(), "what was said last does not follow the newest order");
        rig.settle(instance).await;
        let stopped = rig.last_observation().await;
        assert!(stopped.revision > again[again.len() - 1].revision);
        assert_eq!((stopped.power(), stopped.intent_revision), (wire::VmPower::Stopped, 2));
    }
}

#[tokio::test]
async fn a_new_ownership_never_uses_the_old_disk() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    let moved_back = wire::EnsureVm { generation: 3, ..rig.order(instance) };
    rig.ensure(&moved_back).await.expect("taken");
    rig.settle(instance).await;
    assert_eq!(rig.world.quarantined(), [instance]);
    let seen = rig.last_observation().await;
    assert_eq!((seen.generation, seen.power()), (3, wire::VmPower::Running));
}

#[tokio::test]
async fn stop_start_pause_reboot_delete() {
    for deliveries in [1, 2] {
        let mut rig = Rig::new(deliveries).await;
        let instance = rig.running().await;
        let mut revision = 1;
        let steps = [
            (wire::VmPower::Stopped, 0, wire::VmPower::Stopped, Some(Power::Off(Ended::ByGuest))),
            (wire::VmPower::Running, 0, wire::VmPower::Running, Some(Power::Running)),
            (wire::VmPower::Paused, 0, wire::VmPower::Paused, Some(Power::Paused(Held::ByHand))),
            (wire::VmPower::Running, 0, wire::VmPower::Running, Some(Power::Running)),
            (wire::VmPower::Running, 1, wire::VmPower::Running, Some(Power::Running)),
            (wire::VmPower::Absent, 1, wire::VmPower::Absent, None),
        ];
        for (power, reboot_counter, said, real) in steps {
            revision += 1;
            let order = wire::EnsureVm {
                intent_revision: revision,
                power: power.into(),
                reboot_counter,
                ..rig.order(instance)
            };
            rig.ensure(&order).await.expect("taken");
            rig.settle(instance).await;
            let seen = rig.last_observation().await;
            assert_eq!(
                (seen.power(), seen.intent_revision, seen.reboot_counter),
                (said, revision, reboot_counter)
            );
            assert_eq!(rig.world.powers().get(&instance).copied(), real, "{power:?}");
        }
        assert_eq!(rig.world.calls("reboot"), 1);
        assert!(rig.world.files().is_empty());
        // the first order comes once more, long after
        rig.ensure(&rig.order(instance)).await.expect("passed over");
        rig.settle(instance).await;
        assert!(rig.world.powers().is_empty(), "what was deleted stays deleted");
    }
}

#[tokio::test]
async fn a_guest_that_does_not_listen_is_forced() {
    let mut rig = Rig::new(2).await;
    let instance = rig.running().await;
    rig.world.deafen(instance);
    let reboot = wire::EnsureVm { intent_revision: 2, reboot_counter: 1, ..rig.order(instance) };
    rig.ensure(&reboot).await.expect("taken");
    rig.settle(instance).await;
    assert_eq!((rig.world.calls("reboot"), rig.world.calls("reset")), (1, 1));
    assert_eq!(rig.last_observation().await.reboot_counter, 1);
    let stop = wire::EnsureVm { intent_revision: 3, power: wire::VmPower::Stopped.into(), ..reboot };
    rig.ensure(&stop).await.expect("taken");
    rig.settle(instance).await;
    assert_eq!((rig.world.calls("shutdown"), rig.world.calls("destroy")), (1, 1));
    assert_eq!(rig.last_observation().await.power(), wire::VmPower::Stopped);
}

#[tokio::test]
async fn an_order_that_cannot_be_followed_is_refused_once_and_said() {
    type Change = fn(&mut wire::VmSpec);
    let cases: [(&str, Change); 5] = [
        ("NO_IMAGE", |s| s.artifacts.clear()),
        ("SPEC_REFUSED", |s| s.resources = None),
        ("SPEC_REFUSED", |s| s.artifacts[0].sha256 = "../../etc/passwd".into()),
        ("DRIVER_NOT_HERE", |s| s.driver = common::Driver::Firecracker.into()),
        ("DISK_TOO_SMALL", |s| {
            s.artifacts[0].role = common::ArtifactRole::Disk.into();
            s.artifacts[0].virtual_size_bytes = 2 << 30;
        }),
    ];
    for (code, change) in cases {
        let mut rig = Rig::new(2).await;
        let instance = InstanceId::new();
        let mut order = rig.order(instance);
        change(order.spec.as_mut().unwrap());
        rig.ensure(&order).await.expect("an order, though not one to follow");
        rig.settle(instance).await;
        let seen = rig.observations().await;
        assert_eq!(seen.len(), 1, "{code}: {seen:?}");
        assert_eq!(seen[0].failure.as_ref().map(|f| f.code.as_str()), Some(code));
        assert!(seen[0].gave_up);
        rig.settle(instance).await;
        assert!(rig.bench.said().await.is_empty(), "{code}");
        let delete = wire::EnsureVm { intent_revision: 2, power: wire::VmPower::Absent.into(), ..order };
        rig.ensure(&delete).await.expect("taken");
        rig.settle(instance).await;
        let seen = rig.last_observation().await;
        assert_eq!((seen.power(), seen.failure), (wire::VmPower::Absent, None), "{code}");
    }
}

#[tokio::test]
async fn user_data_that_cannot_be_opened_is_refused() {
    let mut rig = Rig::new(1).await;
    for (key, code) in [([7; 32], None), ([8; 32], Some("USER_DATA_UNREADABLE"))] {
        let instance = InstanceId::new();
        let mut order = rig.order(instance);
        let sealed = chassis::Sealer::new(&key).seal(b"#cloud-config");
        order.spec.as_mut().unwrap().user_data = Some(sealed);
        rig.ensure(&order).await.expect("taken");
        rig.settle(instance).await;
        assert_eq!(rig.last_observation().await.failure.map(|f| f.code).as_deref(), code);
    }
}

#[tokio::test]
async fn what_is_no_order_is_poison() {
    let mut rig = Rig::new(1).await;
    let order = rig.order(InstanceId::new());
    let strange = wire::EnsureVm { host_id: InstanceId::new().to_string(), ..order.clone() };
    // another start of the process may have that host
    assert!(matches!(rig.ensure(&strange).await, Err(bus::Failure::Transient(_))));
    for bad in [wire::EnsureVm { power: 0, ..order.clone() }, wire::EnsureVm { spec: None, ..order }] {
        assert!(matches!(rig.ensure(&bad).await, Err(bus::Failure::Poison(_))));
    }
}

#[tokio::test]
async fn the_tables_are_a_function_of_the_events() {
    let mut rig = Rig::new(2).await;
    let (first, second) = (rig.running().await, rig.running().await);
    rig.world.kill(first);
    rig.settle(first).await;
    let delete =
        wire::EnsureVm { intent_revision: 2, power: wire::VmPower::Absent.into(), ..rig.order(second) };
    rig.ensure(&delete).await.expect("taken");
    rig.settle(second).await;

    let rebuilt = Database::sqlite(MIGRATIONS).await;
    let mut everything = testkit::Bench::on(rig.bench.desk.clone(), rig.parts.subscriptions(), 1);
    for said in everything.said().await {
        for _ in 0..2 {
            let mut tx = rebuilt.store.begin().await.expect("a transaction");
            apply(&mut tx, &said.subject, &said.payload).await.expect("applied");
            tx.commit().await.expect("committed");
        }
    }
    for table in STATE_TABLES {
        let real = store::dump_table(rig.bench.desk.store(), table).await.expect("a table");
        assert_eq!(store::dump_table(&rebuilt.store, table).await.expect("a table"), real, "{table}");
    }
    // a process over the rebuilt tables finds everything as it is and does nothing
    let calls = |world: &Arc<World>| (world.calls("start"), world.calls("define"), world.calls("destroy"));
    let before = calls(&rig.world);
    let again = Rig::over(rebuilt.store.clone(), rig.world.clone(), rig.host, 1, rig.clock.clone());
    again.settle(first).await;
    again.settle(second).await;
    assert_eq!(calls(&rig.world), before);
}
