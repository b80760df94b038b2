//! Benchmarks: what Berth costs, as ratios to the bare thing it is made of, both run in turn in one run.
#![forbid(unsafe_code)]

pub mod api;
pub mod bus_paths;
pub mod bus_service;
pub mod event_streams;
pub mod figure;
pub mod hosts;
pub mod kinds;
pub mod libvirt;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod placements;
pub mod rebuild;
pub mod report;
pub mod run;
pub mod solver;

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
        name: "solver",
        about: "placement decisions in process, over 10,000 hosts in use",
        run: |effort| Box::pin(solver::run(effort)),
    },
    Benchmark {
        name: "placements",
        about: "create commands to decisions, reservations and events that are committed and acknowledged",
        run: |effort| Box::pin(placements::run(effort)),
    },
    Benchmark {
        name: "bus",
        about: "command to event through inbox, tables and outbox, against bare publishing; its latency",
        run: |effort| Box::pin(bus_paths::events(effort)),
    },
    Benchmark {
        name: "rebuild",
        about: "a table from the stream of events, against a bare ordered read",
        run: |effort| Box::pin(rebuild::run(effort)),
    },
    Benchmark {
        name: "events",
        about: "events replayed and delivered by the gateway to 1 and 50 readers, against bare ordered consumers",
        run: |effort| Box::pin(event_streams::run(effort)),
    },
    Benchmark {
        name: "refill",
        about: "a wiped stream of a million events, filled again from the outbox",
        run: |effort| Box::pin(bus_paths::refill(effort)),
    },
    Benchmark {
        name: "hosts",
        about: "orders followed by one process of many simulated hosts",
        run: |effort| Box::pin(hosts::run(effort)),
    },
    Benchmark {
        name: "libvirt",
        about: "from an order to a running guest, against virsh create of the same definition",
        run: |effort| Box::pin(libvirt::run(effort)),
    },
    Benchmark {
        name: "kinds",
        about: "objects of declared kinds created through the API and listed, and questions to their owner",
        run: |effort| Box::pin(kinds::run(effort)),
    },
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
