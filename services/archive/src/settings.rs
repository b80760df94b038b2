//! Settings of the service.

use crate::domain::due::SegmentLimits;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `sqlite:///path/file.db` or `postgres://user:password@host/database`.
    pub database_url: String,
    /// Where segments go: `file:///absolute/folder` or `s3://bucket/prefix`.
    pub url: String,
    /// The key that signs checkpoints; made when it is missing.
    pub key_file: PathBuf,
    /// Events in one segment at most.
    pub segment_events: u64,
    /// Bytes of events in one segment, about, before compression.
    pub segment_bytes: u64,
    /// Seconds after which events are archived though they do not fill a segment.
    pub segment_age_s: u64,
    /// Milliseconds between two looks at the stream.
    pub period_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: "sqlite:///var/lib/berth/archive/archive.db".into(),
            url: "file:///var/lib/berth/archive/store".into(),
            key_file: "/var/lib/berth/keys/archive.key".into(),
            segment_events: 10_000,
            segment_bytes: 8 << 20,
            segment_age_s: 300,
            period_ms: 5_000,
        }
    }
}

impl Settings {
    /// When a segment is sealed; an error says what would be right.
    pub(crate) fn limits(&self) -> anyhow::Result<SegmentLimits> {
        anyhow::ensure!(self.segment_events > 0, "segment_events is 0; a segment holds at least one event");
        anyhow::ensure!(
            (1..=256 << 20).contains(&self.segment_bytes),
            "segment_bytes is {}; write 1 to {}",
            self.segment_bytes,
            256 << 20
        );
        Ok(SegmentLimits {
            events: self.segment_events,
            bytes: self.segment_bytes,
            age: Duration::from_secs(self.segment_age_s),
        })
    }

    pub(crate) fn period(&self) -> Duration {
        Duration::from_millis(self.period_ms.max(10))
    }
}
