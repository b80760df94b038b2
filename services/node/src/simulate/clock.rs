//! Virtual time.

use kernel::{Clock, Timestamp};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Virtual time begins at 2026-01-01T00:00:00Z, so that two runs of one workload have the same times.
pub const EPOCH: Timestamp = Timestamp(1_767_225_600_000_000);

/// A clock that moves when told to. Each reading is one microsecond later than the one before: what happens at one
/// moment of virtual time still has an order.
#[derive(Debug)]
pub struct VirtualClock(AtomicI64);

impl Default for VirtualClock {
    fn default() -> Self {
        Self(AtomicI64::new(EPOCH.0))
    }
}

impl VirtualClock {
    /// Moves to this long after the beginning, unless it is later already.
    pub fn advance_to(&self, since_epoch: Duration) {
        self.0.fetch_max(EPOCH.after(since_epoch).0, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_but_for_the_order_of_readings_and_never_goes_back() {
        let clock = VirtualClock::default();
        assert_eq!((clock.now(), clock.now().0), (EPOCH, EPOCH.0 + 1));
        clock.advance_to(Duration::from_secs(60));
        clock.advance_to(Duration::from_secs(30));
        assert_eq!(clock.now().since(EPOCH), Duration::from_secs(60));
    }
}
