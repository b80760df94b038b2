//! From where on something is worth a word.

use std::time::Duration;

/// Thresholds of all checks.
#[derive(Debug, Clone)]
pub struct Thresholds {
    /// Percent of a disk, or of its inodes, that should be free; below the second it is a problem.
    pub free_percent: (u64, u64),
    /// Bytes of memory that should be available; below the second it is a problem.
    pub memory_bytes: (u64, u64),
    /// Files a process should be allowed to open; below the second it is a problem.
    pub open_files: (u64, u64),
    /// How far two clocks may be apart; beyond the second it is a problem.
    pub clock_offset: (Duration, Duration),
    /// How much the wall clock may gain or lose against the monotonic one while we look.
    pub clock_jump: Duration,
    /// How long before the end of a certificate one is warned.
    pub certificate: Duration,
    /// How old a command may be that nobody has taken.
    pub message_age: Duration,
    /// Messages a reader may be behind; beyond the second it is a problem.
    pub lag: (u64, u64),
    /// How old a committed message may be that is not published; beyond the second it is a problem.
    pub outbox_age: (Duration, Duration),
}

impl Default for Thresholds {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            free_percent: (15, 5),
            memory_bytes: (512 << 20, 128 << 20),
            open_files: (8192, 1024),
            clock_offset: (Duration::from_millis(500), seconds(5)),
            clock_jump: Duration::from_millis(100),
            certificate: seconds(30 * 24 * 3600),
            message_age: seconds(60),
            lag: (1_000, 100_000),
            outbox_age: (seconds(10), seconds(60)),
        }
    }
}
