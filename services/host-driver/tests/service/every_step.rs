//! Every action of every operation: failed, done with its answer lost, and killed before and after it. The operation
//! completes all the same, and nothing happens twice. The steps of an operation are what it does when nothing goes wrong;
//! together they are all actions there are.

use crate::rig::Rig;
use contracts::host_driver::v1 as wire;
use host_driver::adapters::Fault;
use host_driver::adapters::simulated::When;
use host_driver::domain::{Action, Files, Power};
use kernel::InstanceId;
use std::collections::{BTreeMap, BTreeSet};

/// What one operation does, step by step: its order, from a VM that is there already (or not).
struct Operation {
    name: &'static str,
    /// Orders that are followed first.
    before: &'static [fn(&mut wire::EnsureVm)],
    order: fn(&mut wire::EnsureVm),
    deaf: bool,
}

fn power(order: &mut wire::EnsureVm, power: wire::VmPower) {
    order.power = power.into();
}

fn delete(order: &mut wire::EnsureVm) {
    order.power = wire::VmPower::Absent.into();
    order.disposal = wire::Disposal::Delete.into();
}

/// Stands for the id of the files that were put aside last.
const THE_LAST: &str = "the last";

const OPERATIONS: &[Operation] = &[
    Operation { name: "create", before: &[], order: |_| (), deaf: false },
    Operation { name: "create paused", before: &[], order: |o| power(o, wire::VmPower::Paused), deaf: false },
    Operation { name: "stop", before: &[|_| ()], order: |o| power(o, wire::VmPower::Stopped), deaf: false },
    Operation {
        name: "stop by force",
        before: &[|_| ()],
        order: |o| power(o, wire::VmPower::Stopped),
        deaf: true,
    },
    Operation {
        name: "start",
        before: &[|_| (), |o| power(o, wire::VmPower::Stopped)],
        order: |_| (),
        deaf: false,
    },
    Operation { name: "reboot", before: &[|_| ()], order: |o| o.reboot_counter = 1, deaf: false },
    Operation { name: "reboot by force", before: &[|_| ()], order: |o| o.reboot_counter = 1, deaf: true },
    Operation {
        name: "reset",
        before: &[|_| ()],
        order: |o| (o.reboot_counter, o.stop_grace_s) = (1, 0),
        deaf: false,
    },
    Operation { name: "pause", before: &[|_| ()], order: |o| power(o, wire::VmPower::Paused), deaf: false },
    Operation {
        name: "resume",
        before: &[|_| (), |o| power(o, wire::VmPower::Paused)],
        order: |_| (),
        deaf: false,
    },
    Operation { name: "leave", before: &[|_| ()], order: |o| power(o, wire::VmPower::Absent), deaf: false },
    Operation { name: "delete", before: &[|_| ()], order: delete, deaf: false },
    Operation {
        name: "delete what never ran",
        before: &[|o| power(o, wire::VmPower::Stopped)],
        order: delete,
        deaf: false,
    },
    Operation {
        name: "take back",
        before: &[|_| (), |o| power(o, wire::VmPower::Absent)],
        order: |o| (o.generation, o.take_back) = (2, THE_LAST.into()),
        deaf: false,
    },
    Operation { name: "take over", before: &[|_| ()], order: |o| o.generation = 2, deaf: false },
];

/// How a step goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    /// It is not done, and that is said.
    Fails,
    /// It is done, and the hypervisor says it was not.
    FailsAfter,
    /// It is not done, and nobody knows.
    LostBefore,
    /// It is done, and nobody knows.
    LostAfter,
    /// The process is killed before it.
    KilledBefore,
    /// The process is killed when it was done.
    KilledAfter,
}

const WRONG: [Wrong; 6] = [
    Wrong::Fails,
    Wrong::FailsAfter,
    Wrong::LostBefore,
    Wrong::LostAfter,
    Wrong::KilledBefore,
    Wrong::KilledAfter,
];

/// Everything that an operation comes to.
#[derive(Debug, PartialEq)]
struct Outcome {
    powers: BTreeMap<InstanceId, Power>,
    files: BTreeMap<InstanceId, Files>,
    quarantined: usize,
    boots: u64,
    said: (i32, u64, Option<String>, bool),
    drifts: usize,
}

async fn outcome(rig: &mut Rig, instance: InstanceId) -> Outcome {
    let (drifts, _) = rig.heard().await;
    let row = rig.parts.said(rig.key(instance)).await.expect("read").expect("something was said");
    Outcome {
        powers: rig.world.powers(),
        files: rig.world.files(),
        quarantined: rig.world.quarantined().len(),
        boots: rig.world.boots(instance),
        said: (row.power, row.reboot_counter, row.failure.map(|f| f.code), row.gave_up),
        drifts: drifts.len(),
    }
}

/// A rig whose VM is where the operation begins, and the operation's order.
async fn prepared(operation: &Operation) -> (Rig, InstanceId, wire::EnsureVm) {
    let mut rig = Rig::new(2).await;
    let instance = InstanceId::from_u128(7);
    let mut revision = 0;
    let mut ordered = |rig: &Rig, change: fn(&mut wire::EnsureVm)| {
        revision += 1;
        let mut order = wire::EnsureVm { intent_revision: revision, ..rig.order(instance) };
        change(&mut order);
        order
    };
    for change in operation.before {
        let order = ordered(&rig, *change);
        rig.ensure(&order).await.expect("taken");
        rig.settle(instance).await;
    }
    if operation.deaf {
        rig.world.deafen(instance);
    }
    rig.heard().await;
    let mut order = ordered(&rig, operation.order);
    if order.take_back == THE_LAST {
        order.take_back = rig.world.quarantine().last().expect("put aside").id.to_string();
    }
    (rig, instance, order)
}

/// The steps of an operation that nothing disturbs, and what it comes to.
async fn undisturbed(operation: &Operation) -> (Vec<&'static str>, Outcome) {
    let (mut rig, instance, order) = prepared(operation).await;
    let before: Vec<u64> = Action::ALL.iter().map(|action| rig.world.calls(action.name())).collect();
    rig.ensure(&order).await.expect("taken");
    rig.settle(instance).await;
    let done =
        Action::ALL.iter().zip(before).filter(|(action, before)| rig.world.calls(action.name()) > *before);
    let steps = done.map(|(action, _)| action.name()).collect();
    (steps, outcome(&mut rig, instance).await)
}

async fn disturbed(operation: &Operation, step: &str, wrong: Wrong) -> Outcome {
    let (mut rig, instance, order) = prepared(operation).await;
    let (lost, failed) = (Fault::Unavailable("cut".into()), Fault::Failed("no such luck".into()));
    match wrong {
        Wrong::Fails => rig.world.fail(step, 1, When::Before, failed),
        Wrong::FailsAfter => rig.world.fail(step, 1, When::After, failed),
        Wrong::LostBefore => rig.world.fail(step, 1, When::Before, lost),
        Wrong::LostAfter => rig.world.fail(step, 1, When::After, lost),
        Wrong::KilledBefore => rig.world.halt(step, When::Before),
        Wrong::KilledAfter => rig.world.halt(step, When::After),
    }
    rig.ensure(&order).await.expect("taken");
    if !matches!(wrong, Wrong::KilledBefore | Wrong::KilledAfter) {
        rig.settle(instance).await;
        return outcome(&mut rig, instance).await;
    }
    // looked at until the call that never returns; what the database holds at that moment is all that is left
    tokio::select! {
        () = rig.settle(instance) => panic!("{step} was not reached"),
        () = rig.world.halted() => {}
    }
    let folder = tempfile::tempdir().expect("a folder");
    let tables = rig.snapshot(folder.path()).await;
    let mut again = Rig::over(tables, rig.world.clone(), rig.host, 2, rig.clock.clone());
    again.heard().await;
    let before = rig.heard().await.0.len();
    again.settle(instance).await;
    let mut outcome = outcome(&mut again, instance).await;
    outcome.drifts += before;
    outcome
}

#[tokio::test]
async fn the_list_of_actions_is_whole() {
    let source = include_str!("../../parts/domain/src/action.rs");
    let body = &source[source.find("pub enum Action {").expect("the enum")..];
    let body = &body[..body.find("\n}").expect("its end")];
    let variants: BTreeSet<String> = body
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','))
        .filter(|word| word.chars().all(char::is_alphanumeric))
        .map(str::to_owned)
        .collect();
    let listed: BTreeSet<String> = Action::ALL.iter().map(|action| format!("{action:?}")).collect();
    assert_eq!(listed, variants, "Action::ALL lists every action");
}

#[tokio::test]
async fn whatever_goes_wrong_at_whatever_step_every_operation_completes_once() {
    let (mut covered, mut cases) = (BTreeSet::new(), 0);
    for operation in OPERATIONS {
        let (steps, expected) = undisturbed(operation).await;
        assert!(!steps.is_empty() && expected.said.2.is_none(), "{}: {expected:?}", operation.name);
        for step in steps {
            covered.insert(step);
            for wrong in WRONG {
                // a hypervisor that says of a reboot it made that it failed makes us ask for another
                if wrong == Wrong::FailsAfter && ["reboot", "reset"].contains(&step) {
                    continue;
                }
                let outcome = disturbed(operation, step, wrong).await;
                assert_eq!(outcome, expected, "{}: {step} {wrong:?}", operation.name);
                cases += 1;
            }
        }
    }
    let all: BTreeSet<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    assert_eq!(covered, all, "every action is a step of some operation");
    assert!(cases > 150, "{cases} cases");
}
