//! Workloads that look like real ones, from a seed: the same seed and options give the same files.
//!
//! | what | distribution |
//! |---|---|
//! | arrivals, `steady` and `gpu-cluster` | a Poisson process whose rate follows the day: 1 + 0.6 sin, least at midnight |
//! | arrivals, `bursty` | 30 % as above; 70 % in bursts of 40 on average (geometric), each within half a minute |
//! | lifetimes | log-normal with σ = 1.6 (most are short), and for one in twenty Pareto with α = 1.3 (a few live very long) |
//! | CPUs | 0.25 to 1 for 45 %, 2 for 30 %, 4 to 8 for 20 %, 16 to 32 for 5 % |
//! | memory | 2, 4 or 8 GiB for each CPU: 25, 50, 25 % |
//! | disk | 10 to 200 GiB, log-uniform |
//! | groups | 15 % come as services of 2 to 6 members, of which 1 or 2 may share a host |
//! | zones | 5 % insist on one |
//! | GPUs, `gpu-cluster` | 60 % want some: of these 50 % a share of 10 to 90 %, 30 % one, 12 % two, 5 % four, 3 % eight; every fifth insists on a model |
//!
//! Lifetimes are stretched so that [`LOAD`] of all CPUs is taken on average, as far as so many instances can take it. What
//! would end after the last hour never ends.

use super::rows::{HOST_COLUMNS, HostRow, INSTANCE_COLUMNS, InstanceRow, Workload};
use berth::cli::local::Profile;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::io::Write;

/// Share of all CPUs that is taken on average.
pub const LOAD: f64 = 0.7;
/// Seconds of the workload: one day.
pub const HORIZON_S: f64 = 86_400.0;
const SHORTEST_S: f64 = 30.0;

/// How big the workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Hosts.
    pub hosts: usize,
    /// Instances.
    pub instances: usize,
}

/// A workload of this kind and size.
pub fn generate(profile: Profile, size: Size, seed: u64) -> Workload {
    let mut chance = SmallRng::seed_from_u64(seed);
    let hosts: Vec<HostRow> = (0..size.hosts).map(|number| host(profile, number)).collect();
    let arrivals = arrivals(profile, size.instances, &mut chance);
    let mut instances = Vec::with_capacity(size.instances);
    let (mut service, mut left) = (0, 0);
    let mut like = InstanceRow::default();
    for (number, created_at_s) in arrivals.into_iter().enumerate() {
        // the members of a service are alike and come one after the other
        if left == 0 {
            like = instance(profile, &hosts, &mut chance);
            if chance.random_bool(0.15 / 4.0) {
                left = chance.random_range(2..=6);
                service += 1;
                like.group = format!("service-{service}");
                like.max_per_host = chance.random_range(1..=2);
            }
        }
        left = usize::saturating_sub(left, 1);
        let row = InstanceRow { name: format!("i-{number:06}"), created_at_s, ..like.clone() };
        if left == 0 {
            like.group.clear();
        }
        instances.push(row);
    }
    let mut workload = Workload { hosts, instances };
    live_and_die(&mut workload, &mut chance);
    workload
}

fn host(profile: Profile, number: usize) -> HostRow {
    let (kind, [vcpus, memory_gib, disk_gib], gpus, model) = match (profile, number % 10) {
        (Profile::GpuCluster, 0..4) => ("a100", [128, 1024, 8192], 8, "a100"),
        (Profile::GpuCluster, 4..7) => ("t4", [64, 256, 4096], 4, "t4"),
        (Profile::GpuCluster, _) => ("cpu", [64, 256, 4096], 0, ""),
        (_, 0..7) => ("large", [64, 256, 4096], 0, ""),
        (_, _) => ("small", [32, 128, 2048], 0, ""),
    };
    HostRow {
        name: format!("host-{number:05}"),
        vcpus_milli: vcpus * 1000,
        memory_mib: memory_gib << 10,
        disk_gib,
        gpus,
        gpu_model: model.to_owned(),
        zone: ["a", "b", "c"][number % 3].to_owned(),
        labels: BTreeMap::from([("kind".to_owned(), kind.to_owned())]),
    }
}

/// Moments in order, in seconds with milliseconds.
fn arrivals(profile: Profile, count: usize, chance: &mut SmallRng) -> Vec<f64> {
    let mut moments = Vec::with_capacity(count);
    while moments.len() < count {
        let at = by_day(chance);
        if profile == Profile::Bursty && chance.random_bool(0.7 / 40.0 / (0.3 + 0.7 / 40.0)) {
            let mut size = 1;
            while chance.random_bool(1.0 - 1.0 / 40.0) && size < 400 {
                size += 1;
            }
            let burst = (0..size).map(|_| (at + chance.random_range(0.0..30.0)).min(HORIZON_S - 1.0));
            moments.extend(burst.collect::<Vec<_>>());
        } else {
            moments.push(at);
        }
    }
    moments.truncate(count);
    for moment in &mut moments {
        *moment = (*moment * 1000.0).round() / 1000.0;
    }
    moments.sort_by(f64::total_cmp);
    moments
}

/// A moment of the day: by rejection, under the rate 1 + 0.6 sin.
fn by_day(chance: &mut SmallRng) -> f64 {
    loop {
        let at = chance.random_range(0.0..HORIZON_S);
        let rate = 1.0 + 0.6 * ((at / HORIZON_S - 0.25) * std::f64::consts::TAU).sin();
        if chance.random_range(0.0..1.6) < rate {
            return at;
        }
    }
}

fn instance(profile: Profile, hosts: &[HostRow], chance: &mut SmallRng) -> InstanceRow {
    let one_of = |chance: &mut SmallRng, values: &[u64]| values[chance.random_range(0..values.len())];
    let vcpus_milli = match chance.random_range(0..100) {
        0..45 => one_of(chance, &[250, 500, 1000]),
        45..75 => 2000,
        75..95 => one_of(chance, &[4000, 8000]),
        _ => one_of(chance, &[16_000, 32_000]),
    };
    let mib_per_cpu = one_of(chance, &[2048, 4096, 4096, 8192]);
    let disk_gib = (10.0 * 20f64.powf(chance.random_range(0.0..1.0))) as u64;
    let mut row = InstanceRow {
        vcpus_milli,
        memory_mib: (vcpus_milli * mib_per_cpu / 1000).max(256),
        disk_gib,
        ..InstanceRow::default()
    };
    if profile == Profile::GpuCluster && chance.random_bool(0.6) {
        (row.gpus, row.gpu_milli) = match chance.random_range(0..100) {
            0..50 => (1, 100 * chance.random_range(1..10)),
            50..80 => (1, 1000),
            80..92 => (2, 1000),
            92..97 => (4, 1000),
            _ => (8, 1000),
        };
        // a GPU is fed by a few CPUs
        row.vcpus_milli = (u64::from(row.gpus) * 8000 * u64::from(row.gpu_milli) / 1000).max(500);
        row.memory_mib = row.vcpus_milli * 4096 / 1000;
        let models: Vec<&HostRow> = hosts.iter().filter(|h| h.gpus >= row.gpus).collect();
        if chance.random_bool(0.2) && !models.is_empty() {
            let model = models[chance.random_range(0..models.len())].gpu_model.clone();
            row.labels.insert("gpu.model".to_owned(), model);
        }
    }
    if chance.random_bool(0.05) && !hosts.is_empty() {
        let zone = hosts[chance.random_range(0..hosts.len())].zone.clone();
        row.labels.insert("zone".to_owned(), zone);
    }
    row
}

/// Gives every instance its lifetime.
fn live_and_die(workload: &mut Workload, chance: &mut SmallRng) {
    let mut lifetimes: Vec<f64> = workload
        .instances
        .iter()
        .map(|_| {
            if chance.random_bool(0.05) {
                return chance.random_range(f64::EPSILON..1.0).powf(-1.0 / 1.3);
            }
            let (u, v): (f64, f64) = (chance.random_range(f64::EPSILON..1.0), chance.random_range(0.0..1.0));
            // Box and Muller: a normal variable of two uniform ones
            (1.6 * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).exp()
        })
        .collect();
    let capacity: u64 = workload.hosts.iter().map(|h| h.vcpus_milli).sum();
    let aim = LOAD * capacity as f64 * HORIZON_S;
    // what is cut off at the end of the day makes room for longer lives: a few rounds come close enough
    for _ in 0..8 {
        let taken: f64 = workload
            .instances
            .iter()
            .zip(&lifetimes)
            .map(|(row, life)| row.vcpus_milli as f64 * life.clamp(0.0, HORIZON_S - row.created_at_s))
            .sum();
        let factor = (aim / taken.max(1.0)).clamp(0.001, 10_000.0);
        lifetimes.iter_mut().for_each(|life| *life *= factor);
    }
    for (row, life) in workload.instances.iter_mut().zip(lifetimes) {
        let end = row.created_at_s + life.max(SHORTEST_S);
        row.deleted_at_s = (end < HORIZON_S).then(|| (end * 1000.0).round() / 1000.0);
    }
}

/// Writes the hosts as CSV.
pub fn write_hosts(hosts: &[HostRow], to: impl Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(to);
    writer.write_record(HOST_COLUMNS)?;
    for h in hosts {
        writer.write_record([
            h.name.clone(),
            h.vcpus_milli.to_string(),
            h.memory_mib.to_string(),
            h.disk_gib.to_string(),
            h.gpus.to_string(),
            h.gpu_model.clone(),
            h.zone.clone(),
            labels(&h.labels),
        ])?;
    }
    Ok(writer.flush()?)
}

/// Writes the instances as CSV.
pub fn write_instances(instances: &[InstanceRow], to: impl Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(to);
    writer.write_record(INSTANCE_COLUMNS)?;
    for i in instances {
        writer.write_record([
            i.name.clone(),
            i.vcpus_milli.to_string(),
            i.memory_mib.to_string(),
            i.disk_gib.to_string(),
            i.gpus.to_string(),
            i.gpu_milli.to_string(),
            i.group.clone(),
            if i.group.is_empty() { String::new() } else { i.max_per_host.to_string() },
            labels(&i.labels),
            i.created_at_s.to_string(),
            i.deleted_at_s.map(|at| at.to_string()).unwrap_or_default(),
        ])?;
    }
    Ok(writer.flush()?)
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use clap::ValueEnum;

    const SIZE: Size = Size { hosts: 30, instances: 3_000 };

    #[test]
    fn a_seed_gives_the_same_workload_and_another_another() {
        for profile in Profile::value_variants() {
            assert_eq!(generate(*profile, SIZE, 7), generate(*profile, SIZE, 7));
            assert_ne!(generate(*profile, SIZE, 7), generate(*profile, SIZE, 8));
        }
    }

    #[test]
    fn what_is_written_is_read_back_without_a_mistake() {
        for profile in Profile::value_variants() {
            let workload = generate(*profile, SIZE, 3);
            let (mut hosts, mut instances, mut problems) = (Vec::new(), Vec::new(), Vec::new());
            write_hosts(&workload.hosts, &mut hosts).expect("written");
            write_instances(&workload.instances, &mut instances).expect("written");
            let again = Workload {
                hosts: read::read_hosts("h", hosts.as_slice(), &mut problems),
                instances: read::read_instances("i", instances.as_slice(), &mut problems),
            };
            assert_eq!(problems, []);
            assert_eq!(again, workload);
        }
    }

    #[test]
    fn the_load_is_as_promised_and_lifetimes_have_a_long_tail() {
        let workload = generate(Profile::Steady, SIZE, 1);
        let capacity: f64 = workload.hosts.iter().map(|h| h.vcpus_milli as f64).sum();
        let lives: Vec<f64> =
            workload.instances.iter().map(|i| i.deleted_at_s.unwrap_or(HORIZON_S) - i.created_at_s).collect();
        let taken: f64 = workload.instances.iter().zip(&lives).map(|(i, l)| i.vcpus_milli as f64 * l).sum();
        let load = taken / capacity / HORIZON_S;
        assert!((LOAD - 0.05..LOAD + 0.05).contains(&load), "{load}");
        let mut sorted = lives.clone();
        sorted.sort_by(f64::total_cmp);
        let (median, mean) = (sorted[lives.len() / 2], lives.iter().sum::<f64>() / lives.len() as f64);
        assert!(mean > 1.5 * median, "most are short, some very long: median {median}, mean {mean}");
    }

    #[test]
    fn bursts_come_at_once_and_gpus_only_where_they_were_asked_for() {
        let busiest = |profile| {
            let workload = generate(profile, SIZE, 5);
            let mut minutes = BTreeMap::<u64, usize>::new();
            for row in &workload.instances {
                *minutes.entry((row.created_at_s / 60.0) as u64).or_default() += 1;
            }
            minutes.into_values().max().unwrap_or(0)
        };
        assert!(busiest(Profile::Bursty) > 4 * busiest(Profile::Steady));
        let with_gpus = |profile| generate(profile, SIZE, 5).instances.iter().filter(|i| i.gpus > 0).count();
        assert_eq!(with_gpus(Profile::Steady), 0);
        assert!((1_600..2_000).contains(&with_gpus(Profile::GpuCluster)));
    }
}
