//! Properties (A) to (D) against a check that is slow, obvious and shares no code with the solver.

use super::*;
use crate::host::{Driver, DriverCaps};
use crate::instance::Policy;
use crate::resources::{Gpus, Overcommit, Resources};
use kernel::{Bytes, HostId, InstanceId, MilliVcpus};
use proptest::prelude::*;
use std::collections::BTreeMap;

const GIB: u64 = 1 << 30;

pub(super) fn plain_request() -> Request {
    Request {
        resources: amounts(2, 4, 10),
        driver: None,
        architecture: "x86_64".into(),
        direct_kernel: false,
        require: BTreeMap::new(),
        avoid: BTreeMap::new(),
        affinity: None,
        anti_affinity: None,
        max_per_host: 1,
        gpus: Gpus::default(),
        failed_hosts: Vec::new(),
        policy: Policy::Spread,
    }
}

pub(super) fn amounts(cpus: u64, memory: u64, disk: u64) -> Resources {
    Resources { vcpus: MilliVcpus(cpus * 1000), memory: Bytes(memory * GIB), disk: Bytes(disk * GIB) }
}

fn caps(driver: Driver, direct_kernel_boot: bool, disk_boot: bool) -> DriverCaps {
    DriverCaps {
        driver,
        version: "1".into(),
        acceleration: "kvm".into(),
        direct_kernel_boot,
        disk_boot,
        guest_agent: true,
        console: true,
        pause: true,
    }
}

fn group(name: &str) -> GroupKey {
    GroupKey { tenant: "acme".into(), name: name.into() }
}

fn any_resources() -> impl Strategy<Value = Resources> {
    (0..9_u64, 0..9_u64, 0..9_u64).prop_map(|(cpus, memory, disk)| amounts(cpus, memory, disk))
}

fn any_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let pair = (prop::sample::select(vec!["zone", "disk"]), prop::sample::select(vec!["a", "b"]));
    prop::collection::btree_map(
        pair.clone().prop_map(|(key, _)| key.to_owned()),
        pair.prop_map(|(_, value)| value.to_owned()),
        0..3,
    )
}

fn any_driver() -> impl Strategy<Value = Driver> {
    prop::sample::select(Driver::ALL.to_vec())
}

pub(super) fn any_host() -> impl Strategy<Value = HostRow> {
    let driver = (any_driver(), any::<bool>(), any::<bool>());
    let driver = driver.prop_map(|(driver, kernel, disk)| caps(driver, kernel, disk));
    let drivers = prop::collection::vec(driver, 0..3);
    let often = || prop::bool::weighted(0.85);
    let gpus = prop_oneof![1 => Just(0_u32), 1 => 1..4_u32];
    (1..40_u128, often(), often(), any_resources(), any_labels(), drivers, often(), gpus).prop_map(
        |(id, up, open, limit, labels, mut drivers, x86, gpus)| {
            drivers.sort_by_key(|caps| caps.driver);
            drivers.dedup_by_key(|caps| caps.driver);
            HostRow {
                id: HostId::from_u128(id),
                name: format!("h{id}"),
                up,
                cordoned: !open,
                trouble: String::new(),
                cordon_reason: String::new(),
                limit,
                overcommit: Overcommit::default(),
                labels,
                drivers,
                architecture: if x86 { "x86_64" } else { "aarch64" }.into(),
                gpus,
                agent_id: String::new(),
            }
        },
    )
}

fn any_group() -> impl Strategy<Value = Option<GroupKey>> {
    prop::option::weighted(0.3, prop::sample::select(vec!["g1", "g2"]).prop_map(group))
}

pub(super) fn any_resident() -> impl Strategy<Value = Resident> {
    let gpus = (any_gpus(), prop::collection::btree_set(0..4_u32, 3));
    (1..40_u128, any::<u64>(), any_resources(), any_group(), any_group(), 0..4_u32, gpus).prop_map(
        |(host, id, resources, affinity, anti_affinity, max_per_host, (gpus, indexes))| Resident {
            instance: InstanceId::from_u128(id.into()),
            host: HostId::from_u128(host),
            resources: Resources {
                vcpus: MilliVcpus(resources.vcpus.0 / 4),
                memory: Bytes(resources.memory.0 / 4),
                disk: Bytes(resources.disk.0 / 4),
            },
            affinity,
            anti_affinity,
            max_per_host,
            gpus,
            gpu_indexes: indexes.into_iter().take(gpus.count as usize).collect(),
        },
    )
}

fn any_gpus() -> impl Strategy<Value = Gpus> {
    prop_oneof![
        3 => Just(Gpus::default()),
        1 => (1..4_u32).prop_map(|count| Gpus { count, milli: 1000 }),
        1 => prop::sample::select(vec![250, 500, 999]).prop_map(|milli| Gpus { count: 1, milli }),
    ]
}

pub(super) fn any_request() -> impl Strategy<Value = Request> {
    (
        any_resources(),
        prop::option::weighted(0.3, any_driver()),
        prop::sample::select(vec!["", "x86_64", "aarch64", "riscv64"]),
        any::<bool>(),
        prop_oneof![3 => Just(BTreeMap::new()), 1 => any_labels()],
        prop_oneof![3 => Just(BTreeMap::new()), 1 => any_labels()],
        any_group(),
        any_group(),
        prop::collection::vec((1..40_u128).prop_map(HostId::from_u128), 0..3),
        (any::<bool>(), 1..4_u32, any_gpus()),
    )
        .prop_map(
            |(
                resources,
                driver,
                arch,
                direct_kernel,
                require,
                avoid,
                affinity,
                anti_affinity,
                failed_hosts,
                (pack, max_per_host, gpus),
            )| Request {
                resources,
                driver,
                architecture: arch.into(),
                direct_kernel,
                require,
                avoid,
                affinity,
                anti_affinity,
                max_per_host,
                gpus,
                failed_hosts,
                policy: if pack { Policy::Pack } else { Policy::Spread },
            },
        )
}

type World = (Vec<HostRow>, Vec<Resident>, Request);

fn any_world() -> impl Strategy<Value = World> {
    (prop::collection::vec(any_host(), 0..25), prop::collection::vec(any_resident(), 0..20), any_request())
        .prop_map(|(mut hosts, residents, request)| {
            hosts.sort_by_key(|host| host.id);
            hosts.dedup_by_key(|host| host.id);
            (hosts, residents, request)
        })
}

/// The slow check: what a person would write down for one host, in the documented order.
fn verdict((hosts, residents, request): &World, host: &HostRow) -> Option<Filter> {
    let known = |id: HostId| hosts.iter().any(|row| row.id == id);
    let on = |id: HostId| residents.iter().filter(move |resident| resident.host == id);
    let right = |caps: &&DriverCaps| request.driver.is_none_or(|driver| driver == caps.driver);
    let boots =
        |caps: &DriverCaps| if request.direct_kernel { caps.direct_kernel_boot } else { caps.disk_boot };
    if !host.up {
        return Some(Filter::State);
    }
    if host.cordoned {
        return Some(Filter::Cordon);
    }
    if !host.drivers.iter().any(|caps| right(&caps)) {
        return Some(Filter::Driver);
    }
    let architecture = request.architecture.is_empty() || request.architecture == host.architecture;
    if !architecture || !host.drivers.iter().filter(right).any(boots) {
        return Some(Filter::Image);
    }
    if request.require.iter().any(|(key, value)| host.labels.get(key) != Some(value))
        || request.avoid.iter().any(|(key, value)| host.labels.get(key) == Some(value))
    {
        return Some(Filter::Labels);
    }
    if let Some(group) = &request.affinity {
        let member = |resident: &Resident| resident.affinity.as_ref() == Some(group) && known(resident.host);
        if residents.iter().any(member) && !on(host.id).any(member) {
            return Some(Filter::Affinity);
        }
    }
    if let Some(group) = &request.anti_affinity {
        let rivals: Vec<u32> = on(host.id)
            .filter(|resident| resident.anti_affinity.as_ref() == Some(group))
            .map(|resident| resident.max_per_host.max(1))
            .collect();
        let together = rivals.len() as u32 + 1;
        if together > request.max_per_host || rivals.iter().any(|most| together > *most) && !rivals.is_empty()
        {
            return Some(Filter::AntiAffinity);
        }
    }
    if request.failed_hosts.contains(&host.id) {
        return Some(Filter::FailedBefore);
    }
    let taken = |index: u32| {
        on(host.id).filter(|r| r.gpu_indexes.contains(&index)).map(|r| r.gpus.milli).sum::<u32>()
    };
    let free: Vec<u32> = (0..host.gpus).map(|index| 1000_u32.saturating_sub(taken(index))).collect();
    let enough = match request.gpus {
        Gpus { count: 0, .. } => true,
        Gpus { count, milli: 1000 } => free.iter().filter(|free| **free == 1000).count() >= count as usize,
        Gpus { milli, .. } => free.iter().any(|free| *free >= milli),
    };
    if !enough {
        return Some(Filter::Gpu);
    }
    let used =
        |pick: fn(&Resources) -> u64| on(host.id).map(|resident| pick(&resident.resources)).sum::<u64>();
    let fits = |pick: fn(&Resources) -> u64| {
        let asked = pick(&request.resources);
        asked == 0 || used(pick) + asked <= pick(&host.limit)
    };
    let all = fits(|r| r.vcpus.0) && fits(|r| r.memory.0) && fits(|r| r.disk.0);
    (!all).then_some(Filter::Capacity)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_and_d_the_chosen_host_really_fits_and_one_is_chosen_if_any_does(world in any_world()) {
        let fleet = Fleet::new(world.0.clone(), world.1.clone());
        let fitting: Vec<HostId> =
            world.0.iter().filter(|host| verdict(&world, host).is_none()).map(|host| host.id).collect();
        match decide(&fleet, &world.2).index {
            Some(index) => prop_assert!(fitting.contains(&fleet.host(index).id)),
            None => prop_assert!(fitting.is_empty(), "{fitting:?} would do"),
        }
        prop_assert_eq!(decide(&fleet, &world.2).refusal.is_some(), fitting.is_empty());
    }

    #[test]
    fn b_every_rejection_names_the_filter_that_was_first(world in any_world()) {
        let fleet = Fleet::new(world.0.clone(), world.1.clone());
        let decision = decide(&fleet, &world.2);
        for rejection in &decision.rejections {
            let host = world.0.iter().find(|host| host.id == rejection.host).expect("a host of this world");
            prop_assert_eq!(Some(rejection.filter), verdict(&world, host), "{}", &rejection.reason);
            prop_assert!(!rejection.reason.is_empty());
        }
        let counted: usize = decision.rejected_by.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(counted, decision.rejections.len());
        prop_assert_eq!(counted + decision.candidates.len().max(world.0.len() - counted), world.0.len());
    }

    #[test]
    fn c_the_order_of_hosts_and_residents_does_not_matter(world in any_world(), turn in 0..25_usize) {
        let decision = decide(&Fleet::new(world.0.clone(), world.1.clone()), &world.2);
        let (mut hosts, mut residents) = (world.0.clone(), world.1.clone());
        hosts.reverse();
        residents.reverse();
        if !hosts.is_empty() {
            let middle = turn % hosts.len();
            hosts.rotate_left(middle);
        }
        prop_assert_eq!(&decision, &decide(&Fleet::new(hosts, residents), &world.2));
    }

    #[test]
    fn a_placing_one_after_the_other_never_exceeds_a_limit(
        hosts in prop::collection::vec(any_host(), 1..8),
        requests in prop::collection::vec(any_request(), 1..30),
    ) {
        let mut fleet = Fleet::new(hosts, []);
        let mut taken: BTreeMap<HostId, [u64; 3]> = BTreeMap::new();
        let mut gpus: BTreeMap<(HostId, u32), u32> = BTreeMap::new();
        for (number, request) in (0_u128..).zip(&requests) {
            let decision = decide(&fleet, request);
            let Some(index) = decision.index else { continue };
            let host = fleet.host(index).id;
            prop_assert_eq!(decision.gpu_indexes.len() as u32, request.gpus.count);
            for gpu in &decision.gpu_indexes {
                *gpus.entry((host, *gpu)).or_default() += request.gpus.milli;
                prop_assert!(*gpu < fleet.host(index).gpus);
            }
            let used = taken.entry(host).or_default();
            for (sum, amount) in used.iter_mut().zip(request.resources.amounts()) {
                *sum += amount;
            }
            fleet.reserve(Resident {
                instance: InstanceId::from_u128(number),
                host,
                resources: request.resources,
                affinity: request.affinity.clone(),
                anti_affinity: request.anti_affinity.clone(),
                max_per_host: request.max_per_host,
                gpus: request.gpus,
                gpu_indexes: decision.gpu_indexes,
            });
        }
        prop_assert!(gpus.values().all(|milli| *milli <= 1000), "{:?}", gpus);
        for (host, used) in taken {
            let index = fleet.index_of(host).expect("a chosen host");
            for (used, limit) in used.into_iter().zip(fleet.host(index).limit.amounts()) {
                prop_assert!(used <= limit);
            }
        }
    }
}

fn open_host(id: u128, limit: Resources) -> HostRow {
    HostRow {
        id: HostId::from_u128(id),
        name: format!("h{id}"),
        up: true,
        cordoned: false,
        trouble: String::new(),
        cordon_reason: String::new(),
        limit,
        overcommit: Overcommit::default(),
        labels: BTreeMap::new(),
        drivers: vec![caps(Driver::Libvirt, true, true)],
        architecture: "x86_64".into(),
        gpus: 0,
        agent_id: String::new(),
    }
}

fn resident(host: u128, resources: Resources) -> Resident {
    Resident {
        instance: InstanceId::from_u128(host),
        host: HostId::from_u128(host),
        resources,
        affinity: None,
        anti_affinity: None,
        max_per_host: 0,
        gpus: Gpus::default(),
        gpu_indexes: Vec::new(),
    }
}

#[test]
fn pack_fills_the_fuller_host_and_spread_the_emptier_one() {
    let hosts = vec![open_host(1, amounts(8, 32, 100)), open_host(2, amounts(8, 32, 100))];
    let fleet = Fleet::new(hosts, [resident(2, amounts(2, 8, 25))]);
    let with = |policy| Request { policy, ..plain_request() };
    assert_eq!(decide(&fleet, &with(Policy::Pack)).index, Some(1));
    assert_eq!(decide(&fleet, &with(Policy::Spread)).index, Some(0));
}

#[test]
fn pack_puts_together_what_complements_each_other() {
    // the first has memory left over, the second nothing in particular; both are equally full
    let hosts = vec![open_host(1, amounts(8, 8, 8)), open_host(2, amounts(8, 8, 8))];
    let fleet = Fleet::new(hosts, [resident(1, amounts(6, 0, 3)), resident(2, amounts(3, 3, 3))]);
    let asks = |cpus, memory| Request {
        resources: amounts(cpus, memory, 1),
        policy: Policy::Pack,
        ..plain_request()
    };
    assert_eq!(decide(&fleet, &asks(1, 4)).index, Some(0));
    assert_eq!(decide(&fleet, &asks(2, 1)).index, Some(1));
}

#[test]
fn equal_hosts_go_to_the_lowest_id() {
    let hosts = (1..=3).rev().map(|id| open_host(id, amounts(8, 32, 100))).collect();
    let fleet = Fleet::new(hosts, []);
    let chosen = decide(&fleet, &plain_request()).index.map(|index| fleet.host(index).id);
    assert_eq!(chosen, Some(HostId::from_u128(1)));
}

#[test]
fn a_rejection_says_what_is_missing() {
    let fleet = Fleet::new(vec![open_host(1, amounts(8, 3, 100))], []);
    let decision = decide(&fleet, &plain_request());
    assert_eq!(decision.rejections[0].reason, "3 GiB memory free of 3 GiB, 4 GiB asked");
    let refusal = decision.refusal.expect("no room");
    assert_eq!(refusal.message, "no host has room for 2 vCPU, 4 GiB memory, 10 GiB disk");
    assert_eq!(refusal.reasons, ["1 host lacks memory"]);
}

#[test]
fn who_needs_no_gpu_leaves_them_to_who_does() {
    let hosts =
        vec![HostRow { gpus: 8, ..open_host(1, amounts(64, 256, 900)) }, open_host(2, amounts(8, 32, 100))];
    let fleet = Fleet::new(hosts, []);
    for policy in [Policy::Pack, Policy::Spread] {
        assert_eq!(decide(&fleet, &Request { policy, ..plain_request() }).index, Some(1));
        let gpus = Gpus { count: 2, milli: 1000 };
        assert_eq!(decide(&fleet, &Request { policy, gpus, ..plain_request() }).gpu_indexes, [0, 1]);
    }
    let gpus = Gpus { count: 9, milli: 1000 };
    let decision = decide(&fleet, &Request { gpus, ..plain_request() });
    let reasons: Vec<&str> = decision.rejections.iter().map(|rejection| rejection.reason.as_str()).collect();
    assert_eq!(reasons, ["8 of 8 GPUs entirely free, 9 asked", "has no GPU"]);
    let refusal = decision.refusal.expect("too many");
    assert_eq!(refusal.message, "no host has room for 2 vCPU, 4 GiB memory, 10 GiB disk, 9 GPUs");
    assert_eq!(refusal.reasons, ["1 host has no GPU", "1 host lacks free GPUs"]);
}

#[test]
fn the_one_who_bears_the_fewest_rules_its_host() {
    let member = |id: u128, max_per_host| Resident {
        instance: InstanceId::from_u128(id),
        anti_affinity: Some(group("db")),
        max_per_host,
        ..resident(1, amounts(0, 0, 0))
    };
    let asked = |max_per_host| Request { anti_affinity: Some(group("db")), max_per_host, ..plain_request() };
    let why = |residents: &[Resident], max_per_host| {
        let fleet = Fleet::new(vec![open_host(1, amounts(8, 32, 100))], residents.to_vec());
        decide(&fleet, &asked(max_per_host)).rejections.first().map(|rejection| rejection.reason.clone())
    };
    assert_eq!(why(&[member(1, 3), member(2, 3)], 3), None);
    assert_eq!(
        why(&[member(1, 3), member(2, 3)], 2).as_deref(),
        Some("already has 2 members of anti-affinity group \"db\", at most 2 may share a host")
    );
    assert_eq!(
        why(&[member(1, 1)], 3).as_deref(),
        Some("already has a member of anti-affinity group \"db\", which wants no other on its host")
    );
}

#[test]
fn groups_of_other_tenants_do_not_matter() {
    let theirs = GroupKey { tenant: "globex".into(), name: "g1".into() };
    let rival = Resident { anti_affinity: Some(theirs), ..resident(1, amounts(1, 1, 1)) };
    let fleet = Fleet::new(vec![open_host(1, amounts(8, 32, 100))], [rival]);
    let request = Request { anti_affinity: Some(group("g1")), ..plain_request() };
    assert_eq!(decide(&fleet, &request).index, Some(0));
}

#[test]
fn at_most_a_hundred_rejections_are_told_and_all_are_counted() {
    let hosts = (1..=150).map(|id| open_host(id, amounts(1, 1, 1))).collect();
    let decision = decide(&Fleet::new(hosts, []), &plain_request());
    assert_eq!(decision.rejections.len(), MAX_REJECTIONS);
    assert_eq!(decision.rejected_by, [(Filter::Capacity, 150)]);
}

/// The hot loop skips what nobody asks; what is asked is asked even when it is the only question.
#[test]
fn a_single_wish_is_enough_to_turn_the_best_host_down() {
    let rival = Resident {
        anti_affinity: Some(group("apart")),
        affinity: Some(group("together")),
        ..resident(1, amounts(0, 0, 0))
    };
    let (mut first, mut second) = (open_host(1, amounts(8, 32, 100)), open_host(2, amounts(8, 32, 100)));
    first.labels.insert("zone".into(), "a".into());
    second.labels.insert("zone".into(), "b".into());
    let fleet = Fleet::new(vec![first.clone(), second.clone()], [rival.clone()]);
    let zone = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
    let plain = plain_request();
    assert_eq!(decide(&fleet, &plain).index, Some(0), "without a wish the lower id wins");
    let wishes = [
        Request { anti_affinity: Some(group("apart")), ..plain.clone() },
        Request { failed_hosts: vec![HostId::from_u128(1)], ..plain.clone() },
        Request { require: zone("b"), ..plain.clone() },
        Request { avoid: zone("a"), ..plain.clone() },
    ];
    for wish in &wishes {
        assert_eq!(decide(&fleet, wish).index, Some(1), "{wish:?}");
        assert_eq!(decide(&fleet, wish).index, Some(1), "{wish:?}");
    }
    // the group is on the second host only
    let fleet =
        Fleet::new(vec![first.clone(), second.clone()], [Resident { host: HostId::from_u128(2), ..rival }]);
    let together = Request { affinity: Some(group("together")), ..plain.clone() };
    assert_eq!(decide(&fleet, &together).index, Some(1));
    // and a fleet of one architecture that is not the image's
    let fleet = Fleet::new(vec![first, second], []);
    assert_eq!(decide(&fleet, &Request { architecture: "aarch64".into(), ..plain }).index, None);
}
