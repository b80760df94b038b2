//! When to try again what the world did not give.

use std::time::Duration;

/// How often, and how long apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// Wait after the first failure; doubles with each further one.
    pub first_wait: Duration,
    /// No wait is longer.
    pub longest_wait: Duration,
}

impl Retry {
    /// The wait after `failures` tries that failed, or `None` when enough were made.
    pub fn wait_after(&self, failures: u32) -> Option<Duration> {
        if failures >= self.attempts.max(1) {
            return None;
        }
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(self.first_wait.saturating_mul(factor).min(self.longest_wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        let seconds = Duration::from_secs;
        let retry = Retry { attempts: 5, first_wait: seconds(2), longest_wait: seconds(10) };
        let waits: Vec<_> = (1..=5).map(|failures| retry.wait_after(failures)).collect();
        assert_eq!(waits, [Some(seconds(2)), Some(seconds(4)), Some(seconds(8)), Some(seconds(10)), None]);
        let many = Retry { attempts: u32::MAX, ..retry };
        assert_eq!(many.wait_after(4_000_000_000), Some(seconds(10)));
    }
}
