//! What `berth simulate` understands.

use clap::{Args, Subcommand, ValueEnum};
use contracts::scheduler::v1::PlacementPolicy;
use std::path::PathBuf;

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
    #[allow(missing_docs)] // a comment would take the place of their own
    pub command: Option<SimulateCommand>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// What else `berth simulate` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)] // each is described by its arguments
pub enum SimulateCommand {
    Generate(GenerateArgs),
}

#[derive(Debug, Args)]
#[allow(missing_docs)] // shown among those of `berth simulate`
pub struct RunArgs {
    /// Hosts, one a line
    #[arg(long, value_name = "FILE", required = true)]
    pub hosts: Option<PathBuf>,
    /// Instances, one a line
    #[arg(long, value_name = "FILE", required = true)]
    pub workload: Option<PathBuf>,
    /// max, or how many virtual seconds pass in a real one
    #[arg(long, value_name = "max|N", default_value = "max", value_parser = speed)]
    pub speed: Pace,
    /// Placement policies to compare: pack, spread
    #[arg(long, value_name = "LIST", default_value = "spread", value_delimiter = ',', value_parser = policy)]
    pub policies: Vec<PlacementPolicy>,
    /// Resolution of virtual time: what happens within it happens at once [default: 1, coarser above 1000 s]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub tick: Option<u64>,
    /// Percent of the CPUs that may be promised
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub overcommit_vcpus: u32,
    /// Percent of the memory that may be promised
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub overcommit_memory: u32,
    /// Percent of the disk that may be promised
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub overcommit_disk: u32,
    /// Samples of the fleet over time
    #[arg(long, value_name = "COUNT", default_value_t = 24, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub samples: u32,
}

/// Make a workload that looks like a real one: hosts.csv and workload.csv of one day
#[derive(Debug, Args)]
#[command(after_help = "The same seed and options make the same files.

Profiles: steady (people and services, more by day), bursty (batches of dozens at once), gpu-cluster (training and inference on
shared and whole GPUs). Lifetimes are log-normal with a long tail, and such that 70 % of all CPUs are taken on average.

Examples:
  berth simulate generate --hosts 100 --instances 2000 --seed 7 --profile steady --out example
  berth simulate generate --hosts 40 --instances 5000 --profile gpu-cluster --out gpus")]
pub struct GenerateArgs {
    /// How many hosts
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub hosts: u32,
    /// How many instances
    #[arg(long, value_name = "COUNT", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub instances: u32,
    /// Where chance comes from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What kind of cluster
    #[arg(long, value_enum, default_value = "steady")]
    pub profile: Profile,
    /// Folder to write into; made when it is missing
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}

/// How fast virtual time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the system can.
    Max,
    /// So many virtual seconds in a real one.
    Times(f64),
}

/// What kind of cluster a generated workload is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// People and services: more by day, less by night
    Steady,
    /// Batches: many at once, then nothing
    Bursty,
    /// Training and inference on shared and whole GPUs
    GpuCluster,
}

/// "pack", "spread".
pub fn policy_name(policy: PlacementPolicy) -> &'static str {
    match policy {
        PlacementPolicy::Pack => "pack",
        _ => "spread",
    }
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
