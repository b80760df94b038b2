//! When to try again and when to give up.

use kernel::Timestamp;
use std::time::Duration;

/// How a failure is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The hypervisor is away or busy: nobody's fault, does not count.
    Unavailable,
    /// It may work next time.
    Transient,
    /// It will never work with this intent: "image digest mismatch".
    Permanent,
}

/// How often and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Failed attempts after which no more are made.
    pub give_up_after: u32,
    /// Delay after the first failure; doubles with each.
    pub first_delay: Duration,
    /// The longest delay.
    pub longest_delay: Duration,
    /// Delay while the hypervisor is away.
    pub unavailable_delay: Duration,
}

impl Default for Patience {
    /// Five attempts over about 15 seconds.
    fn default() -> Self {
        Self {
            give_up_after: 5,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(60),
            unavailable_delay: Duration::from_secs(1),
        }
    }
}

impl Patience {
    /// The delay after `failures` failures in a row.
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.first_delay.saturating_mul(1 << doublings).min(self.longest_delay)
    }
}

/// The failures in a row of one intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// Failures in a row that count.
    pub failed: u32,
    /// Not before.
    pub next_at: Timestamp,
    /// No further attempt without a new intent.
    pub gave_up: bool,
}

impl Attempts {
    /// The books after one more failure. `tireless` work (cleaning up) never gives up.
    pub fn after_failure(
        self,
        severity: Severity,
        patience: &Patience,
        tireless: bool,
        now: Timestamp,
    ) -> Self {
        if severity == Severity::Unavailable {
            return Self { next_at: now.after(patience.unavailable_delay), ..self };
        }
        let failed = self.failed.saturating_add(1);
        let exhausted = severity == Severity::Permanent || failed >= patience.give_up_after;
        Self { failed, next_at: now.after(patience.delay(failed)), gave_up: exhausted && !tireless }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(times: u32, severity: Severity) -> Attempts {
        (0..times).fold(Attempts::default(), |a, _| {
            a.after_failure(severity, &Patience::default(), false, Timestamp(0))
        })
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let patience = Patience::default();
        let delays: Vec<u64> = (1..=8).map(|n| patience.delay(n).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn five_failures_are_enough() {
        assert!(!fail(4, Severity::Transient).gave_up);
        assert!(fail(5, Severity::Transient).gave_up);
    }

    #[test]
    fn what_can_never_work_is_tried_once() {
        assert!(fail(1, Severity::Permanent).gave_up);
    }

    #[test]
    fn an_absent_hypervisor_is_waited_for() {
        let attempts = fail(1000, Severity::Unavailable);
        assert_eq!((attempts.failed, attempts.gave_up), (0, false));
        assert!(attempts.next_at > Timestamp(0));
    }

    #[test]
    fn cleaning_up_never_gives_up() {
        let attempts =
            Attempts::default().after_failure(Severity::Permanent, &Patience::default(), true, Timestamp(0));
        assert!(!attempts.gave_up);
    }
}
