//! When to try again and when to give up.

use kernel::Timestamp;
use std::time::Duration;

/// How a failure is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// It holds for the whole host, or the hypervisor is away or busy: waited out, and counts against no VM.
    Host,
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
    /// The longest delay while something holds for the whole host.
    pub longest_wait: Duration,
}

impl Default for Patience {
    /// Five attempts over about 15 seconds.
    fn default() -> Self {
        Self {
            give_up_after: 5,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(60),
            longest_wait: Duration::from_secs(30),
        }
    }
}

impl Patience {
    /// The delay after `failures` failures in a row.
    pub fn delay(&self, failures: u32) -> Duration {
        self.growing(failures).min(self.longest_delay)
    }

    /// The delay after the host kept the work from being done so often in a row.
    pub fn wait(&self, times: u32) -> Duration {
        self.growing(times).min(self.longest_wait)
    }

    fn growing(&self, times: u32) -> Duration {
        self.first_delay.saturating_mul(1 << times.saturating_sub(1).min(30))
    }
}

/// The failures in a row of one intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// Failures in a row that count.
    pub failed: u32,
    /// How often in a row the host kept the work from being done: that counts for nothing but the pauses.
    pub waited: u32,
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
        if severity == Severity::Host {
            let waited = self.waited.saturating_add(1);
            return Self { waited, next_at: now.after(patience.wait(waited)), ..self };
        }
        let failed = self.failed.saturating_add(1);
        let exhausted = severity == Severity::Permanent || failed >= patience.give_up_after;
        Self {
            failed,
            waited: 0,
            next_at: now.after(patience.delay(failed)),
            gave_up: exhausted && !tireless,
        }
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
    fn what_holds_for_the_host_is_waited_out_with_growing_pauses() {
        let pauses: Vec<u64> = [1, 2, 3, 1000]
            .map(|times| fail(times, Severity::Host).next_at.since(Timestamp(0)).as_secs())
            .into();
        assert_eq!(pauses, [1, 2, 4, 30]);
        let attempts = fail(1000, Severity::Host);
        assert_eq!((attempts.failed, attempts.gave_up), (0, false));
    }

    #[test]
    fn cleaning_up_never_gives_up() {
        let attempts =
            Attempts::default().after_failure(Severity::Permanent, &Patience::default(), true, Timestamp(0));
        assert!(!attempts.gave_up);
    }
}
