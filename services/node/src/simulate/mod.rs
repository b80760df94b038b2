//! `berth simulate`: a workload through the whole durable system in virtual time.
//!
//! Gateway, broker, scheduler and host-driver run as they do in a node, with their databases and a nats-server; only
//! the hypervisors are simulated, and the clock. [`VirtualClock`] stands still while work is in flight and moves to the
//! next event of the workload when everybody is done ([`quiet`]). Timers of the scheduler follow the virtual clock;
//! signs of life follow the real one, so that no jump makes a host look dead.
//!
//! - [`rows`], [`read`]: the CSV files, and what is wrong with them, line by line
//! - [`generate`]: workloads that look like real ones
//! - [`platform`], [`drive`], [`quiet`]: the run
//! - [`history`], [`measure`], [`report`]: what came of it, taken from the event log alone

pub mod clock;
pub mod drive;
pub mod generate;
pub mod history;
pub mod measure;
pub mod platform;
pub mod quiet;
pub mod read;
pub mod render;
pub mod report;
pub mod rows;

pub use berth::cli::local::Pace;
pub use clock::VirtualClock;
pub use drive::Plan;
pub use report::Report;
pub use rows::{HostRow, InstanceRow, Workload};

use checker::judge_with;
use contracts::scheduler::v1::PlacementPolicy;
use history::History;
use platform::{Folder, Platform};
use std::time::Instant;

/// How a workload is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which of the hosts with room is best.
    pub policy: PlacementPolicy,
    /// How far CPUs, memory and disk may be promised, in percent: 100 = no overcommit.
    pub overcommit_percent: [u32; 3],
    /// How fast virtual time runs.
    pub pace: Pace,
    /// Resolution of virtual time in seconds; `None` = chosen by the length of the workload.
    pub tick_s: Option<u64>,
    /// How many samples of the utilisation are reported.
    pub samples: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: PlacementPolicy::Spread,
            overcommit_percent: [100; 3],
            pace: Pace::Max,
            tick_s: None,
            samples: 24,
        }
    }
}

/// Runs a workload in `folder` and says what came of it. `news` hears how far it is.
pub async fn run(
    workload: &Workload,
    options: &Options,
    folder: Folder,
    mut news: impl FnMut(&str),
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let plan = Plan::of(workload, options.tick_s);
    let platform = Platform::start(workload, options.overcommit_percent, folder).await?;
    let set_up = begun.elapsed();
    let driven = drive::drive(&platform, workload, &plan, options, &mut news).await?;
    news("judging every event");
    let mut history = History::new(workload, &plan, &driven);
    let truth = crate::check::ask(&platform.hosts).await?;
    let judged = judge_with(&platform.connection, &platform.databases, Some(truth), |envelope| {
        history.take(envelope);
    })
    .await?;
    let host_ids: Vec<String> = platform.hosts.all().map(|host| host.id.to_string()).collect();
    let report = report::of(workload, options, &plan, &driven, &history, judged, (set_up, &host_ids));
    platform.stop().await;
    Ok(report)
}
