//! Benchmarks: what Berth costs, as ratios to the bare thing it is made of, both run in turn in one run.
#![forbid(unsafe_code)]

pub mod api;
pub mod figure;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod report;
pub mod run;

use anyhow::Result;
use figure::Figure;
use futures::future::LocalBoxFuture;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How often ours and the baseline run, in turn. At least 3: a median of fewer says nothing.
    pub rounds: usize,
    /// Divides the amount of work of each round: 1 = all of it; more, to try a benchmark out.
    pub shrink: usize,
}

impl Effort {
    /// An amount of work, shrunk, never below one.
    pub fn amount(&self, whole: usize) -> usize {
        (whole / self.shrink.max(1)).max(1)
    }
}

/// One benchmark: a name to call it by, what it measures, and how.
pub struct Benchmark {
    /// For the command line.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// Runs it.
    pub run: fn(Effort) -> LocalBoxFuture<'static, Result<Vec<Figure>>>,
}

/// All benchmarks, in the order in which they run.
pub const ALL: &[Benchmark] = &[
    Benchmark {
        name: "memory",
        about: "resident memory of a whole node, idle and with many simulated hosts and instances",
        run: |effort| Box::pin(memory::run(effort)),
    },
    Benchmark {
        name: "api",
        about: "instances created through the API until they run, and how long calls take meanwhile",
        run: |effort| Box::pin(api::run(effort)),
    },
];
