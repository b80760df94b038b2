//! Numbers for operators.

use contracts::host_driver::v1::VmReason;
use host_driver_domain::{QuarantineReason, Quarantined};
use kernel::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use std::time::Duration;

/// The instruments of the service. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    vms: Gauge<u64>,
    actions: Counter<u64>,
    action_seconds: Histogram<f64>,
    drifts: Counter<u64>,
    reasons: Counter<u64>,
    visit_seconds: Histogram<f64>,
    commit_records: Histogram<u64>,
    quarantine_items: Gauge<u64>,
    quarantine_bytes: Gauge<u64>,
    quarantine_oldest: Gauge<f64>,
}

/// Emulated hypervisors answer in milliseconds, images may take minutes to fetch.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0, 300.0];
const POWERS: [&str; 6] = [
    "VM_POWER_RUNNING",
    "VM_POWER_STOPPED",
    "VM_POWER_PAUSED",
    "VM_POWER_ABSENT",
    "VM_POWER_CRASHED",
    "VM_POWER_UNKNOWN",
];

impl Metrics {
    /// Instruments of `meter`.
    pub fn new(meter: &Meter) -> Self {
        let counter = |name, text| meter.u64_counter(name).with_description(text).build();
        let seconds = |name, text| {
            meter.f64_histogram(name).with_description(text).with_boundaries(SECONDS.to_vec()).build()
        };
        let reasons: Counter<u64> =
            counter("berth_host_reasons", "VMs seen not to be as ordered, by the reason that was found.");
        // what begins with the first of its kind has not grown, and no alert would hear of it
        for reason in (1..).map_while(|number| VmReason::try_from(number).ok()) {
            reasons.add(0, &[KeyValue::new("reason", reason_name(reason))]);
        }
        Self {
            vms: meter.u64_gauge("berth_host_vms").with_description("VMs as last seen, by power.").build(),
            actions: counter("berth_host_actions", "What was done to VMs, by action and outcome."),
            action_seconds: seconds("berth_host_action_seconds", "How long it took, by action."),
            drifts: counter("berth_host_drifts", "VMs that left their intent, by kind and what was done."),
            reasons,
            visit_seconds: seconds("berth_host_reconcile_seconds", "How long one look at one VM took."),
            commit_records: meter
                .u64_histogram("berth_host_commit_records")
                .with_description("VMs written down in one transaction.")
                .with_boundaries(vec![1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0])
                .build(),
            quarantine_items: meter
                .u64_gauge("berth_host_quarantine_items")
                .with_description("VMs whose files were put aside and are held, by reason.")
                .build(),
            quarantine_bytes: meter
                .u64_gauge("berth_host_quarantine_bytes")
                .with_description("Bytes that they take on the disks of the hosts, by reason.")
                .build(),
            quarantine_oldest: meter
                .f64_gauge("berth_host_quarantine_oldest_seconds")
                .with_description("Age of the oldest of them, by reason; 0 = none.")
                .build(),
        }
    }

    /// An action was tried.
    pub(crate) fn action(&self, name: &'static str, succeeded: bool, took: Duration) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.actions.add(1, &[KeyValue::new("action", name), KeyValue::new("outcome", outcome)]);
        self.action_seconds.record(took.as_secs_f64(), &[KeyValue::new("action", name)]);
    }

    /// A VM left its intent.
    pub(crate) fn drift(&self, kind: &'static str, action: &'static str) {
        self.drifts.add(1, &[KeyValue::new("kind", kind), KeyValue::new("action", action)]);
    }

    /// A VM is not as ordered for another reason than before; nothing is counted when it is as ordered.
    pub(crate) fn reason(&self, reason: VmReason) {
        if reason != VmReason::Unspecified {
            self.reasons.add(1, &[KeyValue::new("reason", reason_name(reason))]);
        }
    }

    /// A VM was looked at.
    pub(crate) fn visit(&self, took: Duration) {
        self.visit_seconds.record(took.as_secs_f64(), &[]);
    }

    /// So many visits were written down in one transaction.
    pub(crate) fn commit(&self, records: usize) {
        self.commit_records.record(records as u64, &[]);
    }

    /// Files that are held, of all hosts of the process.
    pub(crate) fn quarantine(&self, held: &[Quarantined], now: Timestamp) {
        for reason in QuarantineReason::ALL {
            let of_it = || held.iter().filter(move |item| item.reason == reason);
            let label = [KeyValue::new("reason", reason.name())];
            self.quarantine_items.record(of_it().count() as u64, &label);
            self.quarantine_bytes.record(of_it().map(|item| item.size.0).sum(), &label);
            let oldest = of_it().map(|item| now.since(item.at)).max().unwrap_or_default();
            self.quarantine_oldest.record(oldest.as_secs_f64(), &label);
        }
    }

    /// VMs by power; powers that none has are 0.
    pub(crate) fn powers(&self, counts: &[(String, i64)]) {
        for power in POWERS {
            let count = counts.iter().find(|(name, _)| name == power).map_or(0, |(_, count)| *count);
            let label = power.trim_start_matches("VM_POWER_").to_ascii_lowercase();
            self.vms.record(u64::try_from(count).unwrap_or(0), &[KeyValue::new("power", label)]);
        }
    }
}

fn reason_name(reason: VmReason) -> String {
    reason.as_str_name().trim_start_matches("VM_REASON_").to_ascii_lowercase()
}
