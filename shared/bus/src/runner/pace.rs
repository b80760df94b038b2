//! How many messages go into one transaction.
//!
//! Many save syncs of the disk; but SQLite has one writer, and whoever answers a person waits behind the transaction. So
//! their number follows the time it takes to handle them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Messages in one transaction.
const LEAST: usize = 20;
pub(super) const MOST: usize = 500;
/// How long handlers should hold a transaction open.
const AIM: Duration = Duration::from_millis(20);

/// Learns from each transaction.
pub(super) struct Pace(AtomicUsize);

impl Pace {
    /// Begins with as many as are allowed.
    pub fn new() -> Self {
        Self(AtomicUsize::new(MOST))
    }

    /// How many to take on.
    pub fn messages(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// So many were handled in this time.
    pub fn note(&self, messages: usize, took: Duration) {
        let present = self.messages();
        if took > AIM {
            let fit = messages as f64 * AIM.as_secs_f64() / took.as_secs_f64();
            self.0.store((fit as usize).clamp(LEAST, MOST), Ordering::Relaxed);
        } else if messages >= present && took < AIM / 2 {
            self.0.store((present * 2).min(MOST), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_messages_go_in_small_numbers_and_fast_ones_in_large() {
        let pace = Pace::new();
        assert_eq!(pace.messages(), MOST);
        pace.note(MOST, Duration::from_millis(100));
        assert_eq!(pace.messages(), 100);
        pace.note(100, Duration::from_secs(10));
        assert_eq!(pace.messages(), LEAST);
        // few messages prove nothing about many
        pace.note(LEAST - 1, Duration::ZERO);
        assert_eq!(pace.messages(), LEAST);
        for _ in 0..10 {
            pace.note(pace.messages(), Duration::from_millis(1));
        }
        assert_eq!(pace.messages(), MOST);
        // between half the time and all of it the number stays
        pace.note(MOST, Duration::from_millis(15));
        assert_eq!(pace.messages(), MOST);
    }
}
