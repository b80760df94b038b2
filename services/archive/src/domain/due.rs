//! When the stream is worth a segment.

use kernel::Timestamp;
use std::time::Duration;

/// When a segment is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// After so many events.
    pub events: u64,
    /// After so many bytes of payload.
    pub bytes: u64,
    /// When its first event has waited for so long.
    pub age: Duration,
}

/// How far the stream is ahead of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Events that are not archived.
    pub events: u64,
    /// Since when there are any.
    pub since: Option<Timestamp>,
    /// The stream is not the one that was archived.
    pub another_stream: bool,
}

/// Whether to read, and whether what is read is sealed also when it does not fill a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing to do yet.
    Later,
    /// There is enough for whole segments; what is left over waits.
    Full,
    /// Whatever is there is sealed.
    All,
}

impl SegmentLimits {
    /// What the backlog calls for.
    pub fn due(&self, backlog: Backlog, now: Timestamp) -> Due {
        let waited = backlog.since.is_some_and(|since| now.since(since) >= self.age);
        if backlog.another_stream || (waited && backlog.events > 0) {
            return Due::All;
        }
        if backlog.events >= self.events { Due::Full } else { Due::Later }
    }

    /// Whether a segment with so much in it is full.
    pub fn full(&self, events: u64, bytes: u64) -> bool {
        events >= self.events || bytes >= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_due_when_it_is_full_or_old() {
        let limits = SegmentLimits { events: 10, bytes: 100, age: Duration::from_secs(60) };
        let backlog =
            |events, since: i64| Backlog { events, since: Some(Timestamp(since)), another_stream: false };
        let now = Timestamp(100_000_000);
        assert_eq!(limits.due(backlog(9, 50_000_000), now), Due::Later);
        assert_eq!(limits.due(backlog(10, 50_000_000), now), Due::Full);
        assert_eq!(limits.due(backlog(1, 40_000_000), now), Due::All);
        assert_eq!(limits.due(Backlog { events: 0, since: None, another_stream: false }, now), Due::Later);
        assert_eq!(limits.due(Backlog { events: 0, since: None, another_stream: true }, now), Due::All);
        assert!(limits.full(10, 0) && limits.full(1, 100) && !limits.full(9, 99));
    }
}
