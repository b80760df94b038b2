//! Placement decisions in process, as the scheduler makes them: [`solver::decide`] over 10,000 hosts, with all constraints,
//! and what follows from each in memory. What it answers is the record that is said and kept.

use crate::Effort;
use crate::figure::{Figure, Judged, Target, Unit};
use crate::measure::{in_turn, per_second};
use anyhow::Result;
use kernel::{Bytes, HostId, InstanceId, MilliVcpus};
use scheduler::placement::host::{Driver, DriverCaps};
use scheduler::placement::instance::Policy;
use scheduler::placement::resources::{Gpus, Overcommit, Resources};
use scheduler::placement::solver::{self, Fleet, GroupKey, HostRow, Request, Resident};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::time::Instant;

/// Hosts of the fleet.
const HOSTS: u64 = 10_000;
/// Instances that are there when the clock starts: about seven tenths of the CPUs are promised.
const RESIDENTS: u64 = 60_000;
/// Decisions of a round.
const DECISIONS: usize = 100_000;

/// Numbers that look random and are the same in every run (Knuth's constants for MMIX).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn amounts(vcpus_milli: u64, memory_mib: u64, disk_gib: u64) -> Resources {
    Resources { vcpus: MilliVcpus(vcpus_milli), memory: Bytes(memory_mib << 20), disk: Bytes(disk_gib << 30) }
}

/// Four kinds of machine in three zones; one in fifty closed or silent; one in eight with GPUs.
fn host(number: u64, dice: &mut Dice) -> HostRow {
    let (cpus, memory, disk) = [(32, 128, 2000), (64, 256, 4000), (96, 768, 8000), (128, 512, 2000)]
        [usize::try_from(dice.roll(4)).unwrap_or(0)];
    let caps = DriverCaps {
        driver: Driver::Libvirt,
        version: "1".into(),
        acceleration: "kvm".into(),
        direct_kernel_boot: true,
        disk_boot: true,
        guest_agent: true,
        console: true,
        pause: true,
    };
    let labels = [("zone", format!("z{}", number % 3)), ("rack", format!("r{}", number / 40))];
    HostRow {
        id: HostId::from_u128(u128::from(number)),
        name: format!("host-{number:05}"),
        up: dice.roll(100) > 0,
        trouble: String::new(),
        cordoned: dice.roll(100) == 0,
        cordon_reason: String::new(),
        limit: amounts(cpus * 4000, memory << 10, disk),
        overcommit: Overcommit { vcpus: 400, ..Overcommit::default() },
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        drivers: vec![caps],
        architecture: if number.is_multiple_of(20) { "aarch64" } else { "x86_64" }.into(),
        gpus: if number.is_multiple_of(8) { 8 } else { 0 },
        agent_id: String::new(),
    }
}

/// As tenants ask: most for room only, one in five in a group, one in ten for a zone, some for GPUs or a rack.
fn request(dice: &mut Dice) -> Request {
    let cpus = [500, 1000, 2000, 4000, 8000, 16_000][usize::try_from(dice.roll(6)).unwrap_or(0)];
    let group = |name: u64| Some(GroupKey { tenant: format!("t{}", name % 50), name: format!("g{name}") });
    let mut request = Request {
        resources: amounts(cpus, cpus * (1 + dice.roll(4)), 10 + dice.roll(8) * 10),
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
        policy: if dice.roll(2) == 0 { Policy::Spread } else { Policy::Pack },
    };
    match dice.roll(40) {
        0..4 => drop(request.require.insert("zone".into(), format!("z{}", dice.roll(3)))),
        4 => drop(request.require.insert("rack".into(), format!("r{}", dice.roll(250)))),
        5 => drop(request.avoid.insert("zone".into(), format!("z{}", dice.roll(3)))),
        6..13 => {
            request.anti_affinity = group(dice.roll(2000));
            request.max_per_host = 1 + u32::try_from(dice.roll(3)).unwrap_or(0);
        }
        13 => request.affinity = group(2000 + dice.roll(2000)),
        14 => request.gpus = Gpus { count: 1, milli: 250 },
        15 => request.gpus = Gpus { count: 1 + u32::try_from(dice.roll(4)).unwrap_or(0), milli: 1000 },
        _ => {}
    }
    request
}

/// A fleet that is in use: instances come and, once there are enough, as many go.
struct Platform {
    fleet: Fleet,
    requests: Vec<Request>,
    next: usize,
    living: VecDeque<InstanceId>,
    refused: u64,
}

impl Platform {
    fn new() -> Self {
        let mut dice = Dice(7);
        let fleet = Fleet::new((1..=HOSTS).map(|number| host(number, &mut dice)).collect(), []);
        let requests = (0..50_000).map(|_| request(&mut dice)).collect();
        let mut platform = Self { fleet, requests, next: 0, living: VecDeque::new(), refused: 0 };
        while (platform.living.len() as u64) < RESIDENTS && platform.next < 200_000 {
            platform.place(false);
        }
        platform
    }

    /// One decision, and what follows from it in memory.
    fn place(&mut self, one_goes: bool) {
        self.next += 1;
        let request = &self.requests[self.next % self.requests.len()];
        let decision = black_box(solver::decide(&self.fleet, request));
        match decision.index {
            Some(index) => {
                let instance = InstanceId::from_u128(self.next as u128);
                let decided = Resident {
                    instance,
                    host: self.fleet.host(index).id,
                    resources: request.resources,
                    affinity: request.affinity.clone(),
                    anti_affinity: request.anti_affinity.clone(),
                    max_per_host: request.max_per_host,
                    gpus: request.gpus,
                    gpu_indexes: decision.gpu_indexes,
                };
                self.fleet.reserve(decided);
                self.living.push_back(instance);
                if one_goes && let Some(oldest) = self.living.pop_front() {
                    self.fleet.release(oldest);
                }
            }
            None => self.refused += 1,
        }
    }

    fn round(&mut self, count: usize) -> f64 {
        let began = Instant::now();
        for _ in 0..count {
            self.place(true);
        }
        per_second(count, began.elapsed())
    }
}

/// The bare thing: the host with the least memory left that has room, by three columns of numbers.
struct Bare {
    free: [Vec<u64>; 3],
}

impl Bare {
    fn new(fleet: &Fleet) -> Self {
        let column = |kind: usize| (0..fleet.len()).map(|host| fleet.free(host)[kind]).collect();
        Self { free: [column(0), column(1), column(2)] }
    }

    fn best_fit(&self, asked: [u64; 3]) -> Option<usize> {
        let mut best = (u64::MAX, None);
        let hosts = self.free[0].iter().zip(&self.free[1]).zip(&self.free[2]);
        for (host, ((cpus, memory), disk)) in hosts.enumerate() {
            if *cpus >= asked[0] && *memory >= asked[1] && *disk >= asked[2] && *memory < best.0 {
                best = (*memory, Some(host));
            }
        }
        best.1
    }
}

/// Measures decisions against a bare scan.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let count = effort.amount(DECISIONS);
    let platform = RefCell::new(Platform::new());
    let bare = Bare::new(&platform.borrow().fleet);
    let scan = |count: usize| {
        let began = Instant::now();
        for number in 0..count {
            let amount = 1 + (number as u64 % 16);
            black_box(bare.best_fit(black_box([amount * 1000, amount << 30, 10 << 30])));
        }
        per_second(count, began.elapsed())
    };
    let few = (count / 20).max(1);
    let rounds = in_turn(
        effort.rounds,
        || std::future::ready(Ok(platform.borrow_mut().round(count))),
        || std::future::ready(Ok(scan(few))),
    );
    let rounds = rounds.await?;
    eprintln!("of {} requests {} found no host", platform.borrow().next, platform.borrow().refused);
    Ok(vec![Figure {
        name: "placement decisions as production makes them (solver::decide), exact over 10,000 hosts, all constraints, \
               reserved and released"
            .into(),
        baseline: "best fit by a scan over three columns".into(),
        unit: Unit::PerSecond,
        target: Target { judged: Judged::Ours, floor: 50_000.0, aim: 100_000.0 },
        rounds,
    }])
}
