//! How full a fleet gets: ours against spreading, best fit and fragmentation gradient descent, on workloads from a seed.
//!
//! The workload with GPUs is made in the manner of the published trace that gradient descent was measured on (1,213
//! hosts, "openb" in Alibaba's cluster-trace-gpu-v2023): most hosts with eight or two GPUs, 13 % of the tasks without a
//! GPU, 38 % with a share of one, 47 % with one, a few with two, four or eight. Tasks come until 130 % of the GPUs are
//! asked for, nobody goes, and who finds no room is turned away. What is allocated in the end is compared.

use super::properties::plain_request;
use super::*;
use crate::host::{Driver, DriverCaps};
use crate::instance::Policy;
use crate::resources::{Gpus, Overcommit, Resources};
use kernel::{Bytes, HostId, InstanceId, MilliVcpus};
use std::collections::BTreeMap;

const GIB: u64 = 1 << 30;
const HOSTS: usize = 100;
/// Parts of all that may be allocated.
const WHOLE: u64 = 10_000;

/// Numbers that look random and are the same in every run (Knuth's constants for MMIX).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_of<T: Copy>(&mut self, weighted: &[(u64, T)]) -> T {
        let mut at = self.roll(weighted.iter().map(|(weight, _)| weight).sum());
        let hit = weighted.iter().find(|(weight, _)| {
            let hit = at < *weight;
            at = at.saturating_sub(*weight);
            hit
        });
        hit.expect("less than the sum was rolled").1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Task {
    amounts: [u64; 3],
    gpus: (u32, u32),
}

#[derive(Debug, Clone)]
struct Node {
    limit: [u64; 3],
    free: [u64; 3],
    gpus: Vec<u32>,
}

impl Node {
    fn new(cpus: u64, memory: u64, gpus: usize) -> Self {
        let limit = [cpus * 1000, memory * GIB, 8000 * GIB];
        Self { limit, free: limit, gpus: vec![Gpus::WHOLE; gpus] }
    }

    fn fits(&self, task: &Task) -> bool {
        let (count, milli) = task.gpus;
        let gpus = self.gpus.iter().filter(|free| **free >= milli).count();
        (0..3).all(|kind| self.free[kind] >= task.amounts[kind]) && gpus >= count as usize
    }

    /// The GPUs that a task gets: those with the least left.
    fn gpus_for(&self, task: &Task) -> Vec<usize> {
        let (count, milli) = task.gpus;
        let mut fitting: Vec<usize> = (0..self.gpus.len()).filter(|gpu| self.gpus[*gpu] >= milli).collect();
        fitting.sort_by_key(|gpu| self.gpus[*gpu]);
        fitting.truncate(count as usize);
        fitting
    }

    fn take(&mut self, task: &Task, gpus: &[usize]) {
        (0..3).for_each(|kind| self.free[kind] -= task.amounts[kind]);
        gpus.iter().for_each(|gpu| self.gpus[*gpu] -= task.gpus.1);
    }

    fn gpus_left(&self) -> u64 {
        self.gpus.iter().map(|free| u64::from(*free)).sum()
    }
}

fn gpu_fleet(dice: &mut Dice, cpus_percent: u64) -> Vec<Node> {
    let kinds = [
        (49, (8, 96, 768)),
        (6, (8, 128, 768)),
        (4, (8, 96, 384)),
        (35, (2, 96, 384)),
        (6, (2, 64, 256)),
        (6, (1, 64, 256)),
        (6, (4, 64, 384)),
        (10, (0, 96, 384)),
    ];
    let mut host = || {
        let (gpus, cpus, memory) = dice.one_of(&kinds);
        Node::new(cpus * cpus_percent / 100, memory, gpus)
    };
    (0..HOSTS).map(|_| host()).collect()
}

fn gpu_task(dice: &mut Dice) -> Task {
    let shares =
        [(8, 100), (14, 200), (10, 250), (16, 300), (14, 400), (18, 500), (8, 600), (5, 700), (7, 800)];
    let (count, milli) = match dice.roll(1000) {
        0..133 => (0, 0),
        133..511 => (1, dice.one_of(&shares)),
        511..981 => (1, Gpus::WHOLE),
        981..985 => (2, Gpus::WHOLE),
        985..990 => (4, Gpus::WHOLE),
        _ => (8, Gpus::WHOLE),
    };
    let cpus = match (count, milli) {
        (0, _) => dice.one_of(&[(30, 4), (30, 8), (20, 16), (10, 32), (3, 64)]),
        (1, 0..Gpus::WHOLE) => dice.one_of(&[(15, 2), (30, 4), (20, 6), (25, 8), (8, 12), (2, 16)]),
        (1, _) => dice.one_of(&[(10, 4), (25, 8), (30, 10), (25, 12), (8, 16), (2, 32)]),
        (several, _) => u64::from(several) * dice.one_of(&[(30, 8), (50, 11), (20, 12)]),
    };
    let memory = cpus * dice.one_of(&[(20, 2), (50, 4), (20, 6), (10, 8)]);
    Task { amounts: [cpus * 1000, memory.min(700) * GIB, 10 * GIB], gpus: (count, milli) }
}

fn cpu_fleet(dice: &mut Dice) -> Vec<Node> {
    let kinds = [(4, (32, 128)), (4, (64, 256)), (2, (96, 768)), (2, (128, 512))];
    let mut host = || {
        let (cpus, memory) = dice.one_of(&kinds);
        Node::new(cpus, memory, 0)
    };
    (0..HOSTS).map(|_| host()).collect()
}

fn cpu_task(dice: &mut Dice) -> Task {
    let sizes = [(10, 500), (20, 1000), (30, 2000), (15, 4000), (12, 8000), (5, 16_000), (2, 32_000)];
    let cpus = dice.one_of(&sizes);
    let memory = cpus * dice.one_of(&[(25, 2), (50, 4), (25, 8)]) * GIB / 1000;
    Task { amounts: [cpus, memory, (10 + dice.roll(10) * 10) * GIB], gpus: (0, 0) }
}

/// Tasks that ask for so many percent of what `of` counts.
fn offered(nodes: &[Node], percent: u64, dice: &mut Dice, make: fn(&mut Dice) -> Task) -> Vec<Task> {
    let gpus: u64 = nodes.iter().map(Node::gpus_left).sum();
    let all = if gpus > 0 { gpus } else { nodes.iter().map(|node| node.limit[0]).sum() };
    let (mut sum, mut tasks) = (0, Vec::new());
    while sum * 100 < all * percent {
        let task = make(dice);
        sum += if gpus > 0 { u64::from(task.gpus.0 * task.gpus.1) } else { task.amounts[0] };
        tasks.push(task);
    }
    tasks
}

enum Packer {
    Ours(Policy),
    /// Least left of CPUs, memory and GPUs, each measured by the largest host.
    BestFit,
    /// Fragmentation gradient descent, as it was published; it knows the kinds of task beforehand.
    GradientDescent,
}

fn best_fit(nodes: &[Node], task: &Task) -> Option<(usize, Vec<usize>)> {
    let left = |node: &Node| {
        let gpus = node.gpus_left().saturating_sub(u64::from(task.gpus.0 * task.gpus.1));
        let memory = (node.free[1] - task.amounts[1]) >> 20;
        (node.free[0] - task.amounts[0]) * 1000 / 128 + memory * 1000 / 768 + gpus * 1000 / 8
    };
    let fitting = (0..nodes.len()).filter(|host| nodes[*host].fits(task));
    let host = fitting.min_by_key(|host| (left(&nodes[*host]), *host))?;
    Some((host, nodes[host].gpus_for(task)))
}

/// GPUs that typical tasks cannot use, each task by how frequent it is.
fn fragments(node: &Node, typical: &[(i64, Task)]) -> i64 {
    let of = |task: &Task| {
        let useless = |free: &&u32| !node.fits(task) || task.gpus.0 == 0 || **free < task.gpus.1;
        node.gpus.iter().filter(useless).map(|free| i64::from(*free)).sum::<i64>()
    };
    typical.iter().map(|(weight, task)| weight * of(task)).sum()
}

fn gradient_descent(nodes: &[Node], task: &Task, typical: &[(i64, Task)]) -> Option<(usize, Vec<usize>)> {
    let mut best: Option<(i64, usize, Vec<usize>)> = None;
    for (host, node) in nodes.iter().enumerate().filter(|(_, node)| node.fits(task)) {
        let before = fragments(node, typical);
        // a share on each GPU for itself
        let ways = match task.gpus {
            (1, milli) => {
                (0..node.gpus.len()).filter(|gpu| node.gpus[*gpu] >= milli).map(|gpu| vec![gpu]).collect()
            }
            _ => vec![node.gpus_for(task)],
        };
        for gpus in ways {
            let mut after = node.clone();
            after.take(task, &gpus);
            let grown = fragments(&after, typical) - before;
            if best.as_ref().is_none_or(|(least, ..)| grown < *least) {
                best = Some((grown, host, gpus));
            }
        }
    }
    best.map(|(_, host, gpus)| (host, gpus))
}

fn typical(tasks: &[Task]) -> Vec<(i64, Task)> {
    let mut kinds: BTreeMap<Task, i64> = BTreeMap::new();
    tasks.iter().for_each(|task| *kinds.entry(*task).or_default() += 1);
    let mut kinds: Vec<(i64, Task)> = kinds.into_iter().map(|(task, count)| (count, task)).collect();
    kinds.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    kinds.truncate(24);
    kinds
}

fn row(number: usize, node: &Node) -> HostRow {
    let caps = DriverCaps {
        driver: Driver::Simulated,
        version: "1".into(),
        acceleration: "none".into(),
        direct_kernel_boot: true,
        disk_boot: true,
        guest_agent: true,
        console: true,
        pause: true,
    };
    HostRow {
        id: HostId::from_u128(number as u128),
        name: format!("h{number}"),
        up: true,
        trouble: String::new(),
        cordoned: false,
        cordon_reason: String::new(),
        limit: resources(node.limit),
        overcommit: Overcommit::default(),
        labels: BTreeMap::new(),
        drivers: vec![caps],
        architecture: "x86_64".into(),
        gpus: node.gpus.len() as u32,
        agent_id: String::new(),
    }
}

fn resources([vcpus, memory, disk]: [u64; 3]) -> Resources {
    Resources { vcpus: MilliVcpus(vcpus), memory: Bytes(memory), disk: Bytes(disk) }
}

/// Decides, and reserves what was decided.
fn ours(fleet: &mut Fleet, task: &Task, policy: Policy, number: usize) -> Option<(usize, Vec<usize>)> {
    let gpus = Gpus { count: task.gpus.0, milli: task.gpus.1 };
    let request = Request { resources: resources(task.amounts), gpus, policy, ..plain_request() };
    let decision = decide(fleet, &request);
    let host = decision.index?;
    let chosen = decision.gpu_indexes.iter().map(|gpu| *gpu as usize).collect();
    fleet.reserve(Resident {
        instance: InstanceId::from_u128(number as u128),
        host: fleet.host(host).id,
        resources: request.resources,
        affinity: None,
        anti_affinity: None,
        max_per_host: 0,
        gpus,
        gpu_indexes: decision.gpu_indexes,
    });
    Some((host, chosen))
}

/// The fleet as the packer leaves it.
fn packed(packer: &Packer, nodes: &[Node], tasks: &[Task]) -> Vec<Node> {
    let mut nodes = nodes.to_vec();
    let rows = nodes.iter().enumerate().map(|(number, node)| row(number, node)).collect();
    let mut fleet = Fleet::new(rows, []);
    let known = typical(tasks);
    for (number, task) in tasks.iter().enumerate() {
        let found = match packer {
            Packer::Ours(policy) => ours(&mut fleet, task, *policy, number),
            Packer::BestFit => best_fit(&nodes, task),
            Packer::GradientDescent => gradient_descent(&nodes, task, &known),
        };
        if let Some((host, gpus)) = found {
            nodes[host].take(task, &gpus);
        }
    }
    nodes
}

/// What is allocated of CPUs, memory and GPUs, in parts of [`WHOLE`].
fn allocated(nodes: &[Node]) -> [u64; 3] {
    let share = |free: fn(&Node) -> u64, all: fn(&Node) -> u64| {
        let (free, all): (u64, u64) = (nodes.iter().map(free).sum(), nodes.iter().map(all).sum());
        ((all - free) * WHOLE).checked_div(all).unwrap_or(0)
    };
    [
        share(|node| node.free[0], |node| node.limit[0]),
        share(|node| node.free[1] >> 20, |node| node.limit[1] >> 20),
        share(Node::gpus_left, |node| node.gpus.len() as u64 * u64::from(Gpus::WHOLE)),
    ]
}

/// GPUs allocated by pack, spread, best fit and gradient descent, of several workloads together.
fn of_gpus(cpus_percent: u64) -> [u64; 4] {
    let mut sums = [0; 4];
    for seed in 1..=3 {
        let mut dice = Dice(seed);
        let nodes = gpu_fleet(&mut dice, cpus_percent);
        let tasks = offered(&nodes, 130, &mut dice, gpu_task);
        let all = [
            Packer::Ours(Policy::Pack),
            Packer::Ours(Policy::Spread),
            Packer::BestFit,
            Packer::GradientDescent,
        ];
        let each = all.map(|packer| allocated(&packed(&packer, &nodes, &tasks))[2]);
        println!(
            "seed {seed}, {cpus_percent} % of the CPUs: pack, spread, best fit, gradient descent: {each:?}"
        );
        assert!(each[0] + 20 >= each[1..].iter().copied().max().unwrap_or(0), "pack is the best of {each:?}");
        (0..4).for_each(|packer| sums[packer] += each[packer] / 3);
    }
    sums
}

#[test]
fn pack_allocates_more_gpus_than_spread_best_fit_and_gradient_descent() {
    let [pack, spread, best_fit, gradient] = of_gpus(100);
    assert!(pack > spread && pack > best_fit && pack >= gradient, "{pack} {spread} {best_fit} {gradient}");
    assert!(pack >= 9_850, "{pack}");
}

#[test]
fn where_cpus_are_scarce_pack_does_not_strand_gpus_without_them() {
    let [pack, spread, best_fit, gradient] = of_gpus(80);
    assert!(
        pack > spread && pack > best_fit + 500 && pack > gradient + 500,
        "{pack} {spread} {best_fit} {gradient}"
    );
}

#[test]
fn pack_allocates_as_much_as_spread_and_leaves_hosts_free() {
    let (mut sums, seeds) = ([0; 3], 5);
    for seed in 1..=seeds {
        let mut dice = Dice(seed);
        let nodes = cpu_fleet(&mut dice);
        let full = offered(&nodes, 130, &mut dice, cpu_task);
        let half = offered(&nodes, 50, &mut dice, cpu_task);
        let in_use = |nodes: &[Node]| nodes.iter().filter(|node| node.free != node.limit).count();
        let all = [Packer::Ours(Policy::Pack), Packer::Ours(Policy::Spread), Packer::BestFit];
        let each = all.map(|packer| {
            let [cpus, memory, _] = allocated(&packed(&packer, &nodes, &full));
            (cpus + memory, in_use(&packed(&packer, &nodes, &half)))
        });
        println!("seed {seed}: CPUs and memory allocated, hosts in use at half the load: {each:?}");
        let [(pack, hosts), (spread, hosts_of_spread), (best_fit, hosts_of_best_fit)] = each;
        // of CPUs and memory together: half a percent is chance
        assert!(pack + WHOLE / 100 >= spread && pack > best_fit + WHOLE / 10, "{each:?}");
        assert!(hosts < hosts_of_spread && hosts <= hosts_of_best_fit, "{each:?}");
        (0..3).for_each(|packer| sums[packer] += each[packer].0);
    }
    assert!(sums[0] >= sums[1], "{sums:?}");
}
