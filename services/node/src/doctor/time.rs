//! Where the checks get the time from.

use kernel::{Clock, SystemClock, Timestamp};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The two clocks of a machine.
pub trait Time: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// The clock that only goes forward, since some moment.
    fn elapsed(&self) -> Duration;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemTime;

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Time for SystemTime {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn elapsed(&self) -> Duration {
        BEGAN.elapsed()
    }
}
