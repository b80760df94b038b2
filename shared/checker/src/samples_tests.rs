//! For each kind of violation a platform that has it, and nothing else wrong; and a sound one that has none.

use super::*;
use contracts::common::v1::{OperationProgress, OperationState, Resources};
use contracts::host_driver::v1::{
    Disposal, DropReason, EnsureVm, QuarantineChanged, QuarantineReason, QuarantineState, Quarantined,
    VmIntended, VmObservation, VmObserved, VmPower, VmSpec,
};
use contracts::scheduler::v1::*;
use kernel::{Kind, Message, Subject};
use strum::IntoEnumIterator;

/// A log under construction: each event is one later than the one before.
#[derive(Default)]
struct Log(Vec<Entry>);

impl Log {
    fn say<M: Message>(mut self, event: M) -> Self {
        let sequence = self.0.len() as u64 + 1;
        let subject = Subject {
            kind: Kind::Event,
            service: M::SERVICE.into(),
            version: M::VERSION.into(),
            name: M::NAME.into(),
            tenant: "t".into(),
            key: event.key().to_owned(),
        };
        let payload = event.to_bytes().into();
        self.0.push(Entry { sequence, id: u128::from(sequence), subject, payload });
        self
    }

    fn checker(&self) -> Checker {
        let mut checker = Checker::default();
        self.0.iter().for_each(|entry| checker.take(entry));
        checker
    }

    fn found(&self) -> Vec<Found> {
        self.checker().found().to_vec()
    }
}

fn resources(amount: u64) -> Option<Resources> {
    Some(Resources { vcpus_milli: amount, memory_bytes: amount, disk_bytes: amount })
}

/// A host with 100 of everything, of which all may be promised, CPUs twice.
fn host(id: &str) -> HostRegistered {
    let overcommit = Overcommit { vcpus_percent: 200, memory_percent: 100, disk_percent: 100 };
    let host = Host {
        id: id.into(),
        name: format!("name-of-{id}"),
        revision: 1,
        capacity: resources(100),
        overcommit: Some(overcommit),
        ..Host::default()
    };
    HostRegistered { host: Some(host), operations: Vec::new() }
}

/// Instance `id` at `revision` on `host` ("" = none), 60 of everything.
fn instance(id: &str, revision: u64, host: &str, phase: InstancePhase) -> Instance {
    Instance {
        id: id.into(),
        revision,
        host_id: host.into(),
        generation: u64::from(!host.is_empty()),
        phase: phase.into(),
        desired: DesiredPower::Running.into(),
        spec: Some(InstanceSpec { resources: resources(60), ..InstanceSpec::default() }),
        boot: Some(BootSource { guest_agent: true, ..BootSource::default() }),
        has_booted: true,
        ..Instance::default()
    }
}

fn changed(instance: Instance) -> InstanceChanged {
    InstanceChanged { instance: Some(instance), operations: Vec::new() }
}

fn seen(host: &str, instance: &str, revision: u64, power: VmPower) -> VmObserved {
    let observation = VmObservation {
        host_id: host.into(),
        instance_id: instance.into(),
        revision,
        power: power.into(),
        ..VmObservation::default()
    };
    VmObserved { observation: Some(observation) }
}

/// A VM that is stopped, on a disk it ran from.
fn ran(host: &str, instance: &str, revision: u64) -> VmObserved {
    let mut event = seen(host, instance, revision, VmPower::Stopped);
    event.observation.get_or_insert_default().has_run = true;
    event
}

/// An order to delete.
fn deletion(host: &str, instance: &str, generation: u64) -> VmIntended {
    VmIntended {
        host_id: host.into(),
        generation,
        power: VmPower::Absent.into(),
        disposal: Disposal::Delete.into(),
        spec: Some(VmSpec { instance_id: instance.into(), ..VmSpec::default() }),
        ..VmIntended::default()
    }
}

fn quarantined(state: QuarantineState, reason: QuarantineReason, dropped: DropReason) -> QuarantineChanged {
    let item = Quarantined {
        id: "q".into(),
        host_id: "a".into(),
        instance_id: "i".into(),
        state: state.into(),
        reason: reason.into(),
        dropped: dropped.into(),
        ..Quarantined::default()
    };
    QuarantineChanged { item: Some(item), operations: Vec::new() }
}

fn ends(operation: &str, state: OperationState) -> RequestRefused {
    let progress = OperationProgress {
        operation_id: operation.into(),
        state: state.into(),
        ..OperationProgress::default()
    };
    RequestRefused { object_id: "i".into(), operations: vec![progress] }
}

/// Two hosts; i is ready on a, j is deleted.
fn sound() -> Log {
    let ready = instance("i", 3, "a", InstancePhase::Ready);
    Log::default()
        .say(host("a"))
        .say(host("b"))
        .say(changed(instance("i", 1, "", InstancePhase::Pending)))
        .say(changed(instance("i", 2, "a", InstancePhase::Starting)))
        .say(seen("a", "i", 1, VmPower::Running))
        .say(changed(ready))
        .say(changed(instance("j", 1, "", InstancePhase::Pending)))
        .say(changed(gone()))
        .say(ends("o", OperationState::Succeeded))
}

fn gone() -> Instance {
    let desired = DesiredPower::Absent.into();
    Instance { desired, ..instance("j", 2, "", InstancePhase::Deleted) }
}

fn row(snapshot: Instance, reserved: bool) -> InstanceRow {
    InstanceRow { snapshot, reserved }
}

fn vm(host: &str, instance: &str, power: PowerSeen) -> VmSeen {
    VmSeen { host: host.into(), instance: instance.into(), power }
}

/// What tables and hypervisors hold at the end of [`sound`].
fn closing() -> Closing {
    let tables = Tables {
        instances: vec![row(instance("i", 3, "a", InstancePhase::Ready), true), row(gone(), false)],
        operations: vec![OperationRow {
            id: "o".into(),
            method: "CreateInstance".into(),
            object_id: "i".into(),
            state: OperationState::Succeeded,
        }],
    };
    let truth = Truth {
        vms: vec![vm("a", "i", PowerSeen::Running)],
        hosts: vec!["a".into(), "b".into()],
        disks: Some(vec![DiskSeen { host: "a".into(), instance: "i".into() }]),
    };
    let accounts = Accounts {
        sent: ["m1", "m2"].map(sent).into(),
        handled: ["m1".to_owned()].into(),
        pending: ["m2".to_owned()].into(),
        ..Accounts::default()
    };
    Closing { tables, truth: Some(truth), accounts }
}

fn sent(id: &str) -> Sent {
    Sent {
        service: "gateway".into(),
        id: id.into(),
        subject: "cmd.scheduler.v1.CreateInstance.i".into(),
        published: true,
    }
}

fn at_end(break_it: impl FnOnce(&mut Closing)) -> Vec<Found> {
    let mut closing = closing();
    break_it(&mut closing);
    judge_end(&sound().checker(), &closing)
}

fn truth(closing: &mut Closing) -> &mut Truth {
    closing.truth.as_mut().expect("a truth")
}

/// A platform with this violation.
fn broken(kind: ViolationKind) -> Vec<Found> {
    let starting = |id: &str, revision, host: &str| instance(id, revision, host, InstancePhase::Starting);
    match kind {
        ViolationKind::OverCapacity => {
            let second = changed(starting("k", 2, "a"));
            sound().say(changed(instance("k", 1, "", InstancePhase::Pending))).say(second).found()
        }
        ViolationKind::TooClose => {
            let member = |id: &str, most: u32| {
                let mut member = instance(id, 1, "b", InstancePhase::Starting);
                let spec = member.spec.get_or_insert_default();
                (spec.anti_affinity_group, spec.max_per_host) = ("g".into(), most);
                spec.resources = resources(1);
                changed(member)
            };
            sound().say(member("k", 2)).say(member("l", 2)).say(member("m", 3)).found()
        }
        ViolationKind::UnknownHost => {
            sound().say(changed(instance("k", 1, "nowhere", InstancePhase::Starting))).found()
        }
        ViolationKind::TwoOwners => {
            let spec = VmSpec { instance_id: "i".into(), ..VmSpec::default() };
            let order =
                VmIntended { host_id: "b".into(), generation: 1, spec: Some(spec), ..VmIntended::default() };
            sound().say(order).found()
        }
        ViolationKind::GenerationWentBack => {
            let older = Instance { generation: 0, ..instance("i", 4, "", InstancePhase::Pending) };
            sound().say(changed(older)).found()
        }
        ViolationKind::RunsTwice => sound().say(seen("b", "i", 1, VmPower::Paused)).found(),
        ViolationKind::RevisionGap => {
            sound().say(changed(instance("i", 5, "a", InstancePhase::Ready))).found()
        }
        ViolationKind::RevisionRepeated => {
            sound().say(changed(instance("i", 3, "a", InstancePhase::Ready))).found()
        }
        ViolationKind::EndedTwice => sound().say(ends("o", OperationState::Failed)).found(),
        ViolationKind::CameBack => {
            let back = Instance { desired: 0, ..instance("j", 3, "", InstancePhase::Pending) };
            sound().say(changed(back)).found()
        }
        ViolationKind::Unreadable => {
            let mut log = sound();
            let last = log.0.last_mut().expect("an event");
            last.payload = vec![0xff].into();
            log.found()
        }
        ViolationKind::Doubled => {
            let found = at_end(|c| truth(c).vms.push(vm("b", "i", PowerSeen::Running)));
            // the second one is nobody's, too
            found.into_iter().filter(|f| f.what.kind() != ViolationKind::Orphan).collect()
        }
        ViolationKind::Lost => at_end(|c| truth(c).vms.clear()),
        ViolationKind::Orphan => at_end(|c| truth(c).vms.push(vm("b", "j", PowerSeen::Off))),
        ViolationKind::WrongPower => at_end(|c| truth(c).vms[0].power = PowerSeen::Off),
        ViolationKind::DiskLost => {
            sound().say(ran("a", "i", 2)).say(seen("a", "i", 3, VmPower::Absent)).found()
        }
        ViolationKind::DeletedUnasked => judge_end(&sound().say(deletion("a", "i", 1)).checker(), &closing()),
        ViolationKind::ReservationLeaked => at_end(|c| c.tables.instances[1].reserved = true),
        ViolationKind::TableDiffers => at_end(|c| c.tables.instances[0].snapshot.revision = 9),
        ViolationKind::NotAsRequested => {
            at_end(|c| c.tables.instances[0].snapshot.desired = DesiredPower::Stopped.into())
        }
        ViolationKind::StuckOperation => at_end(|c| c.tables.operations[0].state = OperationState::Running),
        ViolationKind::DeadLetter => {
            at_end(|c| c.accounts.dead.push(("m9".into(), "cmd.x".into(), "bad".into())))
        }
        ViolationKind::Unpublished => at_end(|c| c.accounts.unpublished.push(("scheduler".into(), 1))),
        ViolationKind::CommandLost => at_end(|c| c.accounts.sent.push(sent("m3"))),
    }
}

#[test]
fn a_sound_platform_has_no_violation() {
    assert_eq!(sound().found(), []);
    assert_eq!(at_end(|_| {}), []);
}

#[test]
fn every_violation_is_found_where_it_arose_and_nothing_else_is() {
    for kind in ViolationKind::iter() {
        let found = broken(kind);
        let kinds: Vec<ViolationKind> = found.iter().map(|f| f.what.kind()).collect();
        let once = kinds.iter().filter(|k| **k == kind).count() >= 1 && kinds.iter().all(|k| *k == kind);
        assert!(once, "{kind:?} was broken, this was found: {found:#?}");
        assert!(found[0].sequence >= 9, "{kind:?} arose at the last event: {found:?}");
        assert!(found[0].sentence.len() > 20, "a sentence says what is wrong: {found:?}");
    }
}

#[test]
fn a_violation_is_found_at_its_prefix_also_when_the_end_looks_sound() {
    // both fit one after the other, but for a moment both were there
    let log = sound()
        .say(changed(instance("k", 1, "a", InstancePhase::Starting)))
        .say(changed(Instance {
            desired: DesiredPower::Absent.into(),
            generation: 1,
            ..instance("k", 2, "", InstancePhase::Deleted)
        }))
        .say(seen("b", "i", 1, VmPower::Running))
        .say(seen("b", "i", 2, VmPower::Absent));
    let found: Vec<(u64, ViolationKind)> = log.found().iter().map(|f| (f.sequence, f.what.kind())).collect();
    let over = (10, ViolationKind::OverCapacity);
    assert_eq!(found, [over, over, (12, ViolationKind::RunsTwice)], "memory and disk, then the VM");
}

#[test]
fn a_disk_goes_by_an_order_or_into_the_quarantine() {
    let held = || quarantined(QuarantineState::Held, QuarantineReason::LeftHost, DropReason::Unspecified);
    let gone = || seen("a", "i", 3, VmPower::Absent);
    let log = || sound().say(ran("a", "i", 2));
    assert_eq!(log().say(deletion("a", "i", 0)).say(gone()).found(), []);
    assert_eq!(log().say(held()).say(gone()).found(), []);
    let never_ran = sound().say(seen("a", "i", 2, VmPower::Stopped)).say(gone());
    assert_eq!(never_ran.found(), [], "nothing was on it");
    let given_back =
        quarantined(QuarantineState::GivenBack, QuarantineReason::LeftHost, DropReason::Unspecified);
    let lost_again = log().say(held()).say(gone()).say(given_back).say(seen("a", "i", 4, VmPower::Absent));
    assert_eq!(lost_again.found().len(), 1, "it was in use again");
    let dropped =
        |reason, why| log().say(held()).say(quarantined(QuarantineState::Dropped, reason, why)).found().len();
    assert_eq!(dropped(QuarantineReason::LeftHost, DropReason::Expired), 0);
    assert_eq!(dropped(QuarantineReason::LeftHost, DropReason::Ordered), 0);
    assert_eq!(dropped(QuarantineReason::Deleted, DropReason::Room), 0);
    assert_eq!(dropped(QuarantineReason::LeftHost, DropReason::Room), 1);
    assert_eq!(dropped(QuarantineReason::Deleted, DropReason::Gone), 1);
    let nobody_looked = seen("a", "i", 3, VmPower::Unknown);
    assert_eq!(log().say(nobody_looked).found(), []);
    let missing = at_end(|c| truth(c).disks = Some(Vec::new()));
    assert_eq!(missing.len(), 1, "also when no event told of it: {missing:?}");
}

#[test]
fn a_gpu_is_promised_once() {
    let holds = |id: &str, milli: u32, gpus: &[u32]| {
        let mut instance = instance(id, 1, "b", InstancePhase::Starting);
        let spec = instance.spec.get_or_insert_default();
        (spec.gpus, spec.gpu_milli, spec.resources) = (gpus.len() as u32, milli, resources(1));
        instance.gpu_indexes = gpus.to_vec();
        changed(instance)
    };
    let mut with_gpus = host("b").host.expect("a host");
    (with_gpus.revision, with_gpus.gpus) = (2, 2);
    let log = || sound().say(HostChanged { host: Some(with_gpus.clone()), operations: Vec::new() });
    let shared = log().say(holds("k", 500, &[0])).say(holds("l", 500, &[0])).say(holds("m", 0, &[1]));
    assert_eq!(shared.found(), []);
    for wrong in [holds("n", 1, &[0]), holds("n", 0, &[1]), holds("n", 0, &[2])] {
        let found =
            log().say(holds("k", 500, &[0])).say(holds("l", 500, &[0])).say(holds("m", 0, &[1])).say(wrong);
        let kinds: Vec<ViolationKind> = found.found().iter().map(|f| f.what.kind()).collect();
        assert_eq!(kinds, [ViolationKind::OverCapacity]);
    }
}

#[test]
fn copies_of_events_and_commands_under_way_are_no_violations() {
    let mut log = sound();
    let copies: Vec<Entry> =
        log.0.iter().enumerate().map(|(n, e)| Entry { sequence: 10 + n as u64, ..e.clone() }).collect();
    log.0.extend(copies);
    assert_eq!(log.found(), []);
    let unpublished = |c: &mut Closing| c.accounts.sent.push(Sent { published: false, ..sent("m4") });
    assert_eq!(at_end(unpublished), [], "it waits in the outbox");
    let dead = at_end(|c| {
        c.accounts.sent.push(sent("m5"));
        c.accounts.dead.push(("m5".into(), "cmd.x".into(), "bad".into()));
    });
    assert!(dead.iter().all(|f| f.what.kind() == ViolationKind::DeadLetter), "dead, not lost: {dead:?}");
    // an order is no event: it is never part of the log
    assert_eq!(EnsureVm::KIND, Kind::Command);
}

#[test]
fn an_answer_after_the_gateway_stopped_waiting_is_no_second_end() {
    use contracts::gateway::v1::OperationAbandoned;
    let progress = |state: OperationState| OperationProgress {
        operation_id: "x".into(),
        state: state.into(),
        ..OperationProgress::default()
    };
    let abandoned =
        OperationAbandoned { operation_id: "x".into(), operations: vec![progress(OperationState::Failed)] };
    assert_eq!(sound().say(abandoned).say(ends("x", OperationState::Succeeded)).found(), []);
}

#[test]
fn hosts_that_were_not_asked_are_not_judged() {
    let found = at_end(|c| {
        truth(c).vms.clear();
        truth(c).hosts.retain(|host| host == "b");
    });
    assert_eq!(found, []);
}

#[test]
fn a_host_that_shrinks_throws_nobody_out() {
    let mut smaller = host("a").host.expect("a host");
    (smaller.revision, smaller.capacity) = (2, resources(10));
    let log = sound().say(HostChanged { host: Some(smaller), operations: Vec::new() });
    assert_eq!(log.found(), []);
    let placed = changed(instance("k", 1, "a", InstancePhase::Starting));
    assert!(!log.say(placed).found().is_empty(), "but nothing new fits");
}

/// What an event means that this build does not know cannot be guessed: not even by the service that says it.
#[test]
fn an_event_nobody_knows_is_found() {
    for service in ["scheduler", "storage", "host_driver", "gateway", "warehouse"] {
        let mut log = sound();
        let last = log.0.last_mut().expect("an event");
        (last.subject.service, last.subject.name) = (service.to_owned(), "ThingMoved".to_owned());
        let [found] = &log.found()[..] else { panic!("{service}: {:?}", log.found()) };
        assert!(matches!(found.what, Violation::Unreadable { .. }), "{service}: {found}");
        assert!(found.sentence.contains(&format!("knows no event {service}.v1.ThingMoved")), "{found}");
    }
}
