//! Numbers for operators.

use crate::domain::image::Phase;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Meter};

/// The instruments of the service. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    imports: Counter<u64>,
    bytes: Counter<u64>,
    images: Gauge<u64>,
    strays: Gauge<u64>,
    lost: Gauge<u64>,
}

impl Metrics {
    /// Instruments of `meter`.
    pub fn new(meter: &Meter) -> Self {
        let gauge = |name, description| meter.u64_gauge(name).with_description(description).build();
        Self {
            imports: meter
                .u64_counter("berth_storage_imports")
                .with_description("Import attempts, by outcome: imported, rejected, retried.")
                .build(),
            bytes: meter
                .u64_counter("berth_storage_imported_bytes")
                .with_description("Bytes of files that were verified and kept.")
                .build(),
            images: gauge("berth_storage_images", "Images, by phase."),
            strays: gauge("berth_storage_stray_files", "Files in the datastore that no image has."),
            lost: gauge(
                "berth_storage_missing_files",
                "Files of ready images that the datastore does not have.",
            ),
        }
    }

    /// An attempt ended.
    pub(crate) fn import(&self, outcome: &'static str) {
        self.imports.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// So many bytes were kept.
    pub(crate) fn kept(&self, bytes: u64) {
        self.bytes.add(bytes, &[]);
    }

    /// Images by phase; phases that have none are 0.
    pub(crate) fn images(&self, counts: &[(String, i64)]) {
        for phase in Phase::ALL {
            let count = counts.iter().find(|(name, _)| name == phase.name()).map_or(0, |(_, count)| *count);
            self.images.record(u64::try_from(count).unwrap_or(0), &[KeyValue::new("phase", phase.name())]);
        }
    }

    /// Files that do not match the tables.
    pub(crate) fn files(&self, strays: usize, lost: usize) {
        self.strays.record(strays as u64, &[]);
        self.lost.record(lost as u64, &[]);
    }
}
