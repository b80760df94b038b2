//! Resident memory of the whole node: its process and its broker's.

use crate::Effort;
use crate::figure::{Figure, Judged, Round, Target, Unit};
use anyhow::{Context, Result};
use std::time::Duration;
use stories::node::Node;

const MIB: f64 = 1024.0;

/// Measures a node that has nothing to do.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let mut rounds = Vec::new();
    for _ in 0..effort.rounds {
        let node = Node::start(&["--driver", "simulated"]).await;
        // what a start needs is given back by then
        tokio::time::sleep(Duration::from_secs(5)).await;
        rounds.push(Round { ours: resident_mib(&node.pids())?, baseline: None });
    }
    Ok(vec![Figure {
        name: "memory of an idle node with its broker".into(),
        baseline: String::new(),
        unit: Unit::Mebibytes,
        target: Target { judged: Judged::Ours, floor: 150.0, aim: 80.0 },
        rounds,
    }])
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
