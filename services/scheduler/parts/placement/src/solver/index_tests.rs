//! The tree over the fleet finds what a look at every host finds, also after the fleet has changed.

use super::demand::Demand;
use super::properties::{amounts, any_host, any_request, any_resident};
use super::*;
use crate::resources::{Gpus, Resources};
use kernel::{Bytes, HostId, InstanceId, MilliVcpus};
use proptest::prelude::*;

/// Something that happens to a fleet.
#[derive(Debug, Clone)]
enum Move {
    Reserve(Resident),
    Release(usize),
    Put(HostRow),
    Remove(u128),
    Settle,
    /// Decides, and reserves what was decided.
    Place(Request),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => any_resident().prop_map(Move::Reserve),
        2 => (0..40_usize).prop_map(Move::Release),
        1 => any_host().prop_map(Move::Put),
        1 => (1..40_u128).prop_map(Move::Remove),
        1 => Just(Move::Settle),
        6 => any_odd_request().prop_map(Move::Place),
    ]
}

/// Hosts of a few kinds, more than a leaf holds, partly filled; or of more kinds than there are classes.
fn any_crowd() -> impl Strategy<Value = Fleet> {
    let kinds = prop::collection::vec(any_host(), 1..4);
    let of_a_gpu = prop::sample::select(vec![0_u32, 250, 600, 1000]);
    let fill = prop::collection::vec((0..3_usize, 0..9_u64, 0..9_u64, 0..9_u64, of_a_gpu), 0..200);
    // requests take up to half of a small host, and of a large one less than a hundredth
    (kinds, prop::sample::select(vec![16_u64, 16, 512]), any::<bool>(), fill).prop_map(
        |(kinds, room, uneven, fill)| {
            let mut fleet = Fleet::default();
            for (number, (kind, cpus, memory, disk, milli)) in (0_u64..).zip(fill) {
                let id = HostId::from_u128(1000 + u128::from(number));
                let mut limit = amounts(room, room, room);
                if uneven {
                    limit.memory.0 += number << 22;
                }
                fleet.put(HostRow { id, limit, ..kinds[kind % kinds.len()].clone() });
                let part = |amount: u64| amount * 3 / 2 * room / 16;
                fleet.reserve(Resident {
                    instance: InstanceId::from_u128(number.into()),
                    host: id,
                    resources: Resources {
                        vcpus: MilliVcpus(part(cpus) * 1000),
                        memory: Bytes((part(memory) << 30) + number % 3),
                        disk: Bytes((part(disk) << 30) + 7),
                    },
                    affinity: None,
                    anti_affinity: None,
                    max_per_host: 0,
                    gpus: Gpus { count: u32::from(milli > 0), milli },
                    gpu_indexes: if milli > 0 { vec![0] } else { Vec::new() },
                });
            }
            fleet.settle();
            fleet
        },
    )
}

/// Some that ask for no whole numbers of anything.
fn any_odd_request() -> impl Strategy<Value = Request> {
    (any_request(), any::<bool>()).prop_map(|(mut request, odd)| {
        if odd {
            request.resources.vcpus.0 += 333;
            request.resources.memory.0 += 12_345;
            request.resources.disk.0 += 1;
        }
        request
    })
}

/// No host is better than what is said of the parts of its class.
fn check_bounds(fleet: &Fleet, prepared: &Prepared<'_>) {
    let classes = fleet.index().map(|index| index.classes()).unwrap_or_default();
    let hosts = classes.iter().map(|class| class.slots().len()).sum::<usize>();
    assert!(fleet.index().is_none() || hosts == fleet.len(), "every host is in a class");
    for class in classes {
        let demand = class.machine().could_do(prepared).then(|| Demand::of(prepared, class.machine()));
        for (node, slots) in class.parts() {
            let bound = demand.as_ref().and_then(|demand| class.bound(demand, node));
            for slot in slots {
                let host = slot.host as usize;
                if filters::first_against(fleet, prepared, host).is_some() {
                    continue;
                }
                let (score, request) = (score::of(fleet, prepared, host), prepared.request);
                assert!(
                    bound.is_some_and(|(most, first)| most >= score && first <= slot.host),
                    "{request:?}"
                );
            }
        }
    }
}

fn check(fleet: &Fleet, request: &Request) {
    let prepared = Prepared::new(fleet, request);
    check_bounds(fleet, &prepared);
    // every host is asked, in order
    let verdicts: Vec<Option<Filter>> =
        (0..fleet.len()).map(|host| filters::first_against(fleet, &prepared, host)).collect();
    let fitting = (0..fleet.len()).filter(|host| verdicts[*host].is_none());
    let mut all: Vec<(i64, u32)> =
        fitting.map(|host| (score::of(fleet, &prepared, host), host as u32)).collect();
    all.sort_by_key(|(score, host)| (std::cmp::Reverse(*score), *host));
    all.truncate(MAX_CANDIDATES);
    assert_eq!(best(fleet, &prepared, MAX_CANDIDATES), all, "{request:?}");

    let decision = decide(fleet, request);
    assert_eq!(decision.index, all.first().map(|(_, host)| *host as usize), "{request:?}");
    for filter in Filter::ALL {
        let count = verdicts.iter().filter(|verdict| **verdict == Some(filter)).count();
        let told =
            decision.rejected_by.iter().find(|(other, _)| *other == filter).map_or(0, |(_, count)| *count);
        assert_eq!(told, count, "{filter:?} of {request:?}");
    }
    let rejected = (0..fleet.len()).filter(|host| verdicts[*host].is_some()).map(|host| fleet.host(host).id);
    let most = match decision.index {
        None => MAX_REJECTIONS,
        Some(_) if fleet.len() <= SMALL_FLEET => MAX_REJECTIONS_OF_PLACED,
        Some(_) => 0,
    };
    let named = decision.rejections.iter().map(|rejection| rejection.host);
    assert!(named.eq(rejected.take(most)), "the first by id are named");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_tree_finds_what_looking_at_all_finds(
        fleet in any_crowd(),
        moves in prop::collection::vec(any_move(), 0..20),
        asked in any_odd_request(),
    ) {
        let mut fleet = fleet;
        check(&fleet, &asked);
        for (number, moved) in (10_000_u128..).zip(moves) {
            match moved {
                Move::Reserve(resident) => drop(fleet.reserve(resident)),
                Move::Release(which) => {
                    let mut ids: Vec<InstanceId> = fleet.residents().map(|resident| resident.instance).collect();
                    ids.sort_unstable();
                    if let Some(id) = ids.get(which) {
                        fleet.release(*id);
                    }
                }
                Move::Put(row) => drop(fleet.put(row)),
                Move::Remove(id) => drop(fleet.remove(HostId::from_u128(id))),
                Move::Settle => fleet.settle(),
                Move::Place(request) => {
                    check(&fleet, &request);
                    let decision = decide(&fleet, &request);
                    let Some(host) = decision.host().map(|host| host.host) else { continue };
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
            }
            check(&fleet, &asked);
        }
        // and the columns are those of a fleet that was made in one go
        let anew = Fleet::new(fleet.hosts().to_vec(), fleet.residents().cloned().collect::<Vec<_>>());
        prop_assert!(fleet == anew);
    }
}
