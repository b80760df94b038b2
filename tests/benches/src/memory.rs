//! Resident memory of the whole node: its process and its broker's.

use crate::Effort;
use crate::api::Cloud;
use crate::figure::{Figure, Judged, Round, Target, Unit};
use crate::measure::per_second;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use stories::node::Node;

const MIB: f64 = 1024.0;
/// What was in use for a moment is given back by then.
const SETTLED: Duration = Duration::from_secs(5);

/// Hosts and instances of a large platform in one process.
const HOSTS: usize = 10_000;
const INSTANCES: usize = 100_000;

/// Measures a node that has nothing to do, and one that has much.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    Ok(vec![idle(effort).await?, large(effort).await?])
}

/// Filled once, and looked at several times.
async fn large(effort: Effort) -> Result<Figure> {
    let (hosts, instances) = (effort.amount(HOSTS), effort.amount(INSTANCES));
    let cloud = Cloud::start(hosts).await?;
    let last = cloud.until_running(instances).await?;
    let began = Instant::now();
    cloud.create(0..instances).await?;
    let took = last.await??.duration_since(began);
    eprintln!("{instances} instances on {hosts} hosts: {:.0}/s", per_second(instances, took));
    let mut rounds = Vec::new();
    for _ in 0..effort.rounds {
        tokio::time::sleep(SETTLED).await;
        rounds.push(Round { ours: resident_mib(&cloud.node.pids())?, baseline: None });
    }
    Ok(Figure {
        name: format!("memory of a node with {hosts} simulated hosts and {instances} instances"),
        baseline: String::new(),
        unit: Unit::Mebibytes,
        target: Target { judged: Judged::Ours, floor: 4096.0, aim: 1536.0 },
        rounds,
    })
}

async fn idle(effort: Effort) -> Result<Figure> {
    let mut rounds = Vec::new();
    for _ in 0..effort.rounds {
        let node = Node::start(&["--driver", "simulated"]).await;
        // what a start needs is given back by then
        tokio::time::sleep(SETTLED).await;
        rounds.push(Round { ours: resident_mib(&node.pids())?, baseline: None });
    }
    Ok(Figure {
        name: "memory of an idle node with its broker".into(),
        baseline: String::new(),
        unit: Unit::Mebibytes,
        target: Target { judged: Judged::Ours, floor: 150.0, aim: 80.0 },
        rounds,
    })
}

/// Resident memory of these processes together, in MiB.
pub fn resident_mib(pids: &[u32]) -> Result<f64> {
    let mut kib = 0.0;
    for pid in pids {
        let path = format!("/proc/{pid}/status");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        kib += line.trim().trim_end_matches("kB").trim().parse::<f64>().context("VmRSS")?;
    }
    Ok(kib / MIB)
}
