//! `berth simulate`.

use super::GlobalArgs;
use crate::client::{Exit, Failure};
use crate::output::{Progress, note, print};
use crate::simulate::generate::{self, Profile, Size};
use crate::simulate::platform::Folder;
use crate::simulate::report::policy_name;
use crate::simulate::{Options, Pace, Report, Workload, read, render, run};
use chassis::{Telemetry, TelemetrySettings};
use clap::{Args, Subcommand};
use contracts::scheduler::v1::PlacementPolicy;
use std::path::{Path, PathBuf};

/// Run a workload through the whole system, with simulated hosts and virtual time
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Everything is real but hypervisors and clock: gateway, broker, scheduler and host-driver with their databases. It runs in a
folder of its own (in memory when there is room) that goes with it, or in --data-dir, which stays. nats-server must be installed.

hosts.csv:     name,vcpus_milli,memory_mib,disk_gib,gpus,gpu_model,zone,labels
workload.csv:  name,vcpus_milli,memory_mib,disk_gib,gpus,gpu_milli,group,max_per_host,labels,created_at_s,deleted_at_s

Labels are written k=v;k2=v2. A label of an instance whose key some host has (zone, gpu.model, …) is required of its host.
At most max_per_host (1 if empty) members of a group share a host. deleted_at_s is empty for instances that stay.

Ends with 1 when an invariant was violated: see `violations` with -o json.

Examples:
  berth simulate generate --hosts 100 --instances 2000 --seed 7 --profile steady --out example
  berth simulate --hosts example/hosts.csv --workload example/workload.csv
  berth simulate --hosts example/hosts.csv --workload example/workload.csv --policies pack,spread -o json
  berth simulate --hosts example/hosts.csv --workload example/workload.csv --speed 600 --overcommit-vcpus 400"
)]
pub struct SimulateArgs {
    #[command(subcommand)]
    command: Option<SimulateCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum SimulateCommand {
    Generate(GenerateArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Hosts, one a line
    #[arg(long, value_name = "FILE", required = true)]
    hosts: Option<PathBuf>,
    /// Instances, one a line
    #[arg(long, value_name = "FILE", required = true)]
    workload: Option<PathBuf>,
    /// max, or how many virtual seconds pass in a real one
    #[arg(long, value_name = "max|N", default_value = "max", value_parser = speed)]
    speed: Pace,
    /// Placement policies to compare: pack, spread
    #[arg(long, value_name = "LIST", default_value = "spread", value_delimiter = ',', value_parser = policy)]
    policies: Vec<PlacementPolicy>,
    /// Resolution of virtual time: what happens within it happens at once [default: 1, coarser above 1000 s]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    tick: Option<u64>,
    /// Percent of the CPUs that may be promised
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    overcommit_vcpus: u32,
    /// Percent of the memory that may be promised
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    overcommit_memory: u32,
    /// Percent of the disk that may be promised
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    overcommit_disk: u32,
    /// Samples of the fleet over time
    #[arg(long, value_name = "COUNT", default_value_t = 24, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    samples: u32,
}

/// Make a workload that looks like a real one: hosts.csv and workload.csv of one day
#[derive(Debug, Args)]
#[command(after_help = "The same seed and options make the same files.

Profiles: steady (people and services, more by day), bursty (batches of dozens at once), gpu-cluster (training and inference on
shared and whole GPUs). Lifetimes are log-normal with a long tail, and such that 70 % of all CPUs are taken on average.

Examples:
  berth simulate generate --hosts 100 --instances 2000 --seed 7 --profile steady --out example
  berth simulate generate --hosts 40 --instances 5000 --profile gpu-cluster --out gpus")]
struct GenerateArgs {
    /// How many hosts
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    hosts: u32,
    /// How many instances
    #[arg(long, value_name = "COUNT", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    instances: u32,
    /// Where chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What kind of cluster
    #[arg(long, value_enum, default_value = "steady")]
    profile: Profile,
    /// Folder to write into; made when it is missing
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

fn speed(text: &str) -> Result<Pace, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Pace::Max),
        Ok(factor) if factor.is_finite() && (0.001..=1_000_000.0).contains(&factor) => {
            Ok(Pace::Times(factor))
        }
        _ => Err(format!("{text:?}: write max, or how many virtual seconds pass in a real one, such as 60")),
    }
}

fn policy(text: &str) -> Result<PlacementPolicy, String> {
    let known = [PlacementPolicy::Pack, PlacementPolicy::Spread];
    let found = known.into_iter().find(|policy| policy_name(*policy) == text);
    found.ok_or_else(|| format!("{text:?} is no policy: write pack, spread or pack,spread"))
}

pub(super) async fn simulate(args: SimulateArgs, global: &GlobalArgs) -> Result<(), Failure> {
    match args.command {
        Some(SimulateCommand::Generate(args)) => write(&args),
        None => compare(args.run, global).await,
    }
}

fn write(args: &GenerateArgs) -> Result<(), Failure> {
    let size = Size { hosts: args.hosts as usize, instances: args.instances as usize };
    let workload = generate::generate(args.profile, size, args.seed);
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("writing {}: {error}", path.display()))
    };
    std::fs::create_dir_all(&args.out).map_err(|e| failed(&args.out, &e))?;
    let (hosts, instances) = (args.out.join("hosts.csv"), args.out.join("workload.csv"));
    let create = |path: &Path| std::fs::File::create(path).map_err(|e| failed(path, &e));
    generate::write_hosts(&workload.hosts, create(&hosts)?).map_err(|e| failed(&hosts, &e))?;
    generate::write_instances(&workload.instances, create(&instances)?)
        .map_err(|e| failed(&instances, &e))?;
    print(&format!("{}\n{}\n", hosts.display(), instances.display()))
}

async fn compare(args: RunArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let (Some(hosts), Some(instances)) = (&args.hosts, &args.workload) else {
        return Err(Failure::usage("name the files: --hosts FILE --workload FILE"));
    };
    let workload = read::workload(hosts, instances)?;
    let logs = TelemetrySettings { log: "error".to_owned(), ..TelemetrySettings::default() };
    let _telemetry = Telemetry::start("berth", &logs)?;
    let mut policies = args.policies.clone();
    policies.dedup();
    let mut reports: Vec<Report> = Vec::new();
    for policy in policies {
        if reports.iter().any(|report| report.policy == policy_name(policy)) {
            continue;
        }
        reports.push(one(&workload, policy, &args, global).await?);
    }
    let value = serde_json::to_value(serde_json::json!({ "policies": reports }));
    let value = value.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    global.output.unwrap_or_default().print_value(&value, || render::render(&reports))?;
    let violated: u64 = reports.iter().map(|r| r.checked.violations.len() as u64 + r.checked.surplus).sum();
    match violated {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Failed, format!("{count} invariants were violated"))),
    }
}

async fn one(
    workload: &Workload,
    policy: PlacementPolicy,
    args: &RunArgs,
    global: &GlobalArgs,
) -> Result<Report, Failure> {
    let options = Options {
        policy,
        overcommit_percent: [args.overcommit_vcpus, args.overcommit_memory, args.overcommit_disk],
        pace: args.speed,
        tick_s: args.tick,
        samples: args.samples as usize,
    };
    let folder = match &global.data_dir {
        Some(path) => Folder::Kept(path.join(policy_name(policy))),
        None => Folder::Temporary,
    };
    let progress = Progress::new(global.quiet);
    let name = policy_name(policy);
    let report = run(workload, &options, folder, |text| progress.say(&format!("{name}: {text}"))).await;
    progress.done();
    if report.is_err() && global.data_dir.is_none() {
        note("with --data-dir the databases and the event log of a failed run stay to be looked at");
    }
    Ok(report?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_and_policies_are_read_or_explained() {
        assert_eq!((speed("max"), speed("2.5")), (Ok(Pace::Max), Ok(Pace::Times(2.5))));
        for bad in ["0", "-1", "fast", "inf", "nan", ""] {
            assert!(speed(bad).is_err(), "{bad}");
        }
        assert_eq!(policy("pack"), Ok(PlacementPolicy::Pack));
        assert!(policy("best").expect_err("refused").contains("pack,spread"));
    }
}
