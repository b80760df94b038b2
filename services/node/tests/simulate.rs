//! Workloads through the whole system: what the report says is what the files demand, worked out another way.

use berth::cli::local::Profile;
use contracts::scheduler::v1::PlacementPolicy;
use node::simulate::generate::{Size, generate};
use node::simulate::platform::Folder;
use node::simulate::report::Outcome;
use node::simulate::{HostRow, InstanceRow, Options, Plan, Report, Workload, run};

async fn simulate(workload: &Workload, policy: PlacementPolicy) -> Report {
    let options = Options { policy, tick_s: Some(60), ..Options::default() };
    run(workload, &options, Folder::Temporary, |_| {}).await.expect("the simulation ends")
}

fn fate<'r>(report: &'r Report, name: &str) -> (Outcome, &'r str, &'r [String]) {
    let found = report.details.iter().find(|d| d.name == name).expect("every instance is reported");
    (found.outcome, &found.code, &found.reasons)
}

/// What is taken at most at one time if everybody gets a host at once: straight from the rows.
fn peaks(workload: &Workload, plan: &Plan) -> [f64; 2] {
    let (mut taken, mut most) = ([0u64; 2], [0u64; 2]);
    for moment in plan.moments.values() {
        for (indexes, comes) in [(&moment.deletes, false), (&moment.creates, true)] {
            for row in indexes.iter().map(|index| &workload.instances[*index]) {
                for (taken, amount) in taken.iter_mut().zip([row.vcpus_milli, row.memory_mib]) {
                    *taken = if comes { *taken + amount } else { *taken - amount };
                }
            }
            most = [most[0].max(taken[0]), most[1].max(taken[1])];
        }
    }
    let all = |amount: fn(&HostRow) -> u64| workload.hosts.iter().map(amount).sum::<u64>() as f64;
    [most[0] as f64 / all(|h| h.vcpus_milli), most[1] as f64 / all(|h| h.memory_mib)]
}

fn host(name: &str, vcpus: u64, zone: &str) -> HostRow {
    HostRow {
        name: name.into(),
        vcpus_milli: vcpus * 1000,
        memory_mib: vcpus << 10,
        disk_gib: 100,
        zone: zone.into(),
        ..HostRow::default()
    }
}

fn wants(name: &str, vcpus: u64, from: f64, until: Option<f64>) -> InstanceRow {
    InstanceRow {
        name: name.into(),
        vcpus_milli: vcpus * 1000,
        memory_mib: 64,
        created_at_s: from,
        deleted_at_s: until,
        ..InstanceRow::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_policies_place_a_generated_workload_and_the_numbers_are_those_of_the_files() {
    // twice the room that is needed on average: everybody gets a host at once
    let mut workload = generate(Profile::Steady, Size { hosts: 8, instances: 80 }, 7);
    workload.hosts.iter_mut().for_each(|host| {
        (host.vcpus_milli, host.memory_mib) = (host.vcpus_milli * 4, host.memory_mib * 4);
    });
    // what may be asked for, and no host of these has
    let mut impossible = InstanceRow { memory_mib: 24 << 20, ..wants("impossible", 1, 600.0, None) };
    impossible.labels.insert("zone".into(), "a".into());
    workload.instances.push(impossible);
    let mut reports = Vec::new();
    for policy in [PlacementPolicy::Pack, PlacementPolicy::Spread] {
        let report = simulate(&workload, policy).await;
        assert!(report.checked.violations.is_empty(), "{:#?}", report.checked.violations);
        assert!(report.checked.hypervisors_asked && report.checked.events > 80 * 5);
        assert_eq!((report.instances.asked, report.instances.placed), (81, 80));
        assert_eq!((report.instances.waiting, report.instances.placed_after_waiting), (1, 0));
        let (outcome, code, reasons) = fate(&report, "impossible");
        assert_eq!(outcome, Outcome::Waiting);
        assert!(code.starts_with("NO_HOST") && !reasons.is_empty(), "{code}: {reasons:?}");
        let mut placeable = workload.clone();
        placeable.instances.pop();
        let [vcpus, memory] = peaks(&placeable, &Plan::of(&placeable, Some(60)));
        let found = report.peak_utilisation;
        assert!((found.vcpus - vcpus).abs() < 1e-9, "peak of CPUs {} and {vcpus}", found.vcpus);
        assert!((found.memory - memory).abs() < 1e-9, "peak of memory {} and {memory}", found.memory);
        assert!(report.placements_per_s > 0.0 && report.samples.len() == 24);
        reports.push(report);
    }
    assert!(
        reports[0].peak_hosts_used < reports[1].peak_hosts_used,
        "packing keeps hosts free: {} and {}",
        reports[0].peak_hosts_used,
        reports[1].peak_hosts_used
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_that_a_deletion_gives_back_goes_to_who_waited_longest() {
    let hosts = vec![host("h1", 4, "a"), HostRow { gpus: 2, gpu_model: "t4".into(), ..host("h2", 4, "b") }];
    let in_zone = |mut row: InstanceRow, zone: &str| {
        row.labels.insert("zone".into(), zone.into());
        row
    };
    let on_gpus = |mut row: InstanceRow, gpus: u32, gpu_milli: u32| {
        (row.gpus, row.gpu_milli) = (gpus, gpu_milli);
        row
    };
    let grouped = |mut row: InstanceRow| {
        (row.group, row.max_per_host) = ("g".into(), 1);
        row
    };
    let workload = Workload {
        hosts,
        instances: vec![
            in_zone(wants("first", 3, 0.0, Some(600.0)), "a"),
            in_zone(wants("second", 3, 60.0, Some(1200.0)), "a"),
            in_zone(wants("third", 3, 120.0, None), "a"),
            in_zone(wants("gives-up", 3, 180.0, Some(300.0)), "a"),
            on_gpus(wants("share", 1, 0.0, None), 1, 500),
            on_gpus(wants("whole", 1, 0.0, None), 1, 0),
            on_gpus(wants("two", 1, 60.0, None), 2, 0),
            grouped(wants("apart-1", 1, 1800.0, None)),
            grouped(wants("apart-2", 1, 1800.0, None)),
            grouped(wants("apart-3", 1, 1800.0, None)),
        ],
    };
    let report = simulate(&workload, PlacementPolicy::Spread).await;
    assert!(report.checked.violations.is_empty(), "{:#?}", report.checked.violations);
    let waited = |name: &str| report.details.iter().find(|d| d.name == name).map(|d| d.waited_s);
    assert_eq!(waited("first"), Some(0.0));
    assert_eq!(waited("second"), Some(540.0), "until the first is deleted");
    assert_eq!(waited("third"), Some(1080.0), "it came after the second, and waits for it");
    assert_eq!(fate(&report, "gives-up").0, Outcome::NeverPlaced);
    assert_eq!((fate(&report, "share").0, fate(&report, "whole").0), (Outcome::Placed, Outcome::Placed));
    assert_eq!(fate(&report, "two").0, Outcome::Waiting, "one GPU is shared, the other taken");
    assert_eq!(report.peak_utilisation.gpus, Some(0.75));
    let apart: Vec<Outcome> =
        ["apart-1", "apart-2", "apart-3"].iter().map(|name| fate(&report, name).0).collect();
    assert_eq!(apart.iter().filter(|outcome| **outcome == Outcome::Placed).count(), 2, "{apart:?}");
    assert_eq!((report.instances.peak_waiting, report.instances.longest_wait_s), (4, 1740.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn virtual_time_runs_at_the_pace_that_is_asked_for() {
    let workload = Workload {
        hosts: vec![host("h1", 4, "a")],
        instances: vec![wants("one", 1, 0.0, Some(3600.0)), wants("two", 1, 1800.0, None)],
    };
    let pace = node::simulate::Pace::Times(1200.0);
    let options = Options { pace, tick_s: Some(1), ..Options::default() };
    let report = run(&workload, &options, Folder::Temporary, |_| {}).await.expect("ends");
    assert!(report.wall_s >= 3.0, "an hour at 1200 times is three seconds, not {}", report.wall_s);
    assert_eq!(report.instances.placed, 2);
}

#[tokio::test]
async fn a_log_that_was_tampered_with_is_told_by_its_place() {
    use checker::{Checker, Entry, ViolationKind};
    use contracts::scheduler::v1::{Instance, InstanceChanged};
    use kernel::Message;
    let event = |id: u128, revision: u64| {
        let instance = Instance { id: "i".into(), revision, ..Instance::default() };
        let event = InstanceChanged { instance: Some(instance), operations: Vec::new() };
        let subject = "evt.scheduler.v1.InstanceChanged.t.i".parse().expect("a subject");
        Entry { sequence: id as u64, id, subject, payload: event.to_bytes().into() }
    };
    let mut checker = Checker::default();
    for entry in [event(1, 1), event(2, 2), event(3, 4)] {
        checker.take(&entry);
    }
    let found: Vec<_> = checker.found().iter().map(|f| (f.sequence, f.what.kind())).collect();
    assert_eq!(found, [(3, ViolationKind::RevisionGap)]);
}
