//! `berth simulate`.

use crate::simulate::generate::{self, Size};
use crate::simulate::platform::Folder;
use crate::simulate::{Options, Report, Workload, read, render, run};
use berth::cli::GlobalArgs;
use berth::cli::local::{GenerateArgs, RunArgs, SimulateArgs, SimulateCommand, policy_name};
use chassis::{Telemetry, TelemetrySettings};
use client::{Exit, Failure};
use contracts::scheduler::v1::PlacementPolicy;
use std::path::Path;
use terminal::output::{ProgressLine, note, print};

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
    let progress = ProgressLine::new(global.quiet);
    let name = policy_name(policy);
    let report = run(workload, &options, folder, |text| progress.say(&format!("{name}: {text}"))).await;
    progress.done();
    if report.is_err() && global.data_dir.is_none() {
        note("with --data-dir the databases and the event log of a failed run stay to be looked at");
    }
    Ok(report?)
}
