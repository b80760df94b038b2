//! What the scheduler counts.

use crate::domain::lifecycle::{OperationStanding, OperationStep};
use kernel::quota::Quota;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use std::time::Duration;

/// The scheduler's instruments.
#[derive(Debug, Clone)]
pub struct Metrics {
    placements: Counter<u64>,
    waiting: Gauge<u64>,
    longest_wait: Gauge<f64>,
    passed_over: Counter<u64>,
    hosts: Gauge<u64>,
    decision: Histogram<f64>,
    operations: Counter<u64>,
    fleet_reads: Counter<u64>,
    over_quota: Counter<u64>,
    told_again: Counter<u64>,
}

impl Metrics {
    /// Instruments of this meter.
    pub fn new(meter: &Meter) -> Self {
        Self {
            placements: meter
                .u64_counter("berth_scheduler_placements")
                .with_description("Placement decisions, by outcome: placed, refused.")
                .build(),
            waiting: meter
                .u64_gauge("berth_scheduler_waiting_instances")
                .with_description("Instances that wait for a host.")
                .build(),
            longest_wait: meter
                .f64_gauge("berth_scheduler_longest_wait_seconds")
                .with_description(
                    "How long ago the first of the instances that wait for a host was asked for.",
                )
                .build(),
            passed_over: meter
                .u64_counter("berth_scheduler_rows_passed_over")
                .with_description("Damaged rows that a pass went on without, each pass anew, by loop.")
                .build(),
            hosts: meter
                .u64_gauge("berth_scheduler_hosts")
                .with_description("Hosts, by state: up, unreachable.")
                .build(),
            decision: meter
                .f64_histogram("berth_scheduler_decision_seconds")
                .with_description("Time the solver took for one decision, with its explanation.")
                .with_boundaries(vec![0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0])
                .build(),
            fleet_reads: meter
                .u64_counter("berth_scheduler_fleet_reads")
                .with_description(
                    "Times that hosts and reservations were read from the tables: whole, changes.",
                )
                .build(),
            over_quota: meter
                .u64_counter("berth_scheduler_quota_refusals")
                .with_description("Instances that were refused because of a quota, by quota.")
                .build(),
            told_again: meter
                .u64_counter("berth_scheduler_orders_told_again")
                .with_description("Orders that a host had not answered and was told again.")
                .build(),
            operations: meter
                .u64_counter("berth_scheduler_operations")
                .with_description("Operations that ended, by state: succeeded, failed, superseded.")
                .build(),
        }
    }

    /// A decision was made.
    pub fn decided(&self, placed: bool, took: Duration) {
        let outcome = if placed { "placed" } else { "refused" };
        self.placements.add(1, &[KeyValue::new("outcome", outcome)]);
        self.decision.record(took.as_secs_f64(), &[]);
    }

    /// The fleet was read from the tables: "whole", or the "changes" that others made.
    pub fn fleet_read(&self, what: &'static str) {
        self.fleet_reads.add(1, &[KeyValue::new("what", what)]);
    }

    /// So many orders were told again.
    pub fn told_again(&self, orders: u64) {
        if orders > 0 {
            self.told_again.add(orders, &[]);
        }
    }

    /// An instance was refused because these quotas had no room.
    pub fn over_quota(&self, quotas: &[Quota]) {
        for quota in quotas {
            self.over_quota.add(1, &[KeyValue::new("quota", quota.name())]);
        }
    }

    /// So many instances wait, the first of them for so long.
    pub fn waiting(&self, count: u64, longest: Duration) {
        self.waiting.record(count, &[]);
        self.longest_wait.record(longest.as_secs_f64(), &[]);
    }

    /// So many hosts answer, and so many do not.
    pub fn hosts(&self, up: usize, unreachable: usize) {
        for (state, count) in [("up", up), ("unreachable", unreachable)] {
            self.hosts.record(count as u64, &[KeyValue::new("state", state)]);
        }
    }

    /// A pass went on without a row that is damaged.
    pub fn passed_over(&self, pass: &'static str) {
        self.passed_over.add(1, &[KeyValue::new("loop", pass)]);
    }

    /// Operations moved on.
    pub fn progressed(&self, operations: &[OperationStep]) {
        for progress in operations {
            let state = match progress.standing {
                OperationStanding::Running => continue,
                OperationStanding::Succeeded => "succeeded",
                OperationStanding::Failed => "failed",
                OperationStanding::Superseded => "superseded",
            };
            self.operations.add(1, &[KeyValue::new("state", state)]);
        }
    }
}
