//! Numbers for operators.

use opentelemetry::metrics::{Gauge, Meter};

/// The instruments of the service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    segments: Gauge<u64>,
    bytes: Gauge<u64>,
    lag: Gauge<u64>,
}

impl Metrics {
    /// Instruments of this meter.
    pub fn new(meter: &Meter) -> Self {
        let gauge = |name, description| meter.u64_gauge(name).with_description(description).build();
        Self {
            segments: gauge("berth_archive_segments", "Segments in the archive."),
            bytes: gauge("berth_archive_bytes", "Bytes of all segments in the archive."),
            lag: gauge("berth_archive_lag_events", "Events of the stream that are not archived yet."),
        }
    }

    /// How much the archive holds.
    pub fn size(&self, segments: u64, bytes: u64) {
        self.segments.record(segments, &[]);
        self.bytes.record(bytes, &[]);
    }

    /// How far it is behind.
    pub fn lag(&self, events: u64) {
        self.lag.record(events, &[]);
    }
}
