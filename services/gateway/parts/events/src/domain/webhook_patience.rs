//! How long a receiver of webhooks is given: pauses between attempts, when an event is given up, when nothing is sent to
//! it any more.

use kernel::Timestamp;
use std::time::Duration;

/// The times, as an operator sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Pause after the first attempt that failed; each one doubles it.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// An event is tried for so long.
    pub give_up_after: Duration,
    /// A receiver that took nothing for so long is disabled.
    pub disable_after: Duration,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has it.
    Taken,
    /// The receiver wants nothing any more.
    Gone,
    /// It has to be sent again.
    Failed,
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It arrived.
    Delivered,
    /// It is sent again, not before this time.
    Again(Timestamp),
    /// It is not sent any more.
    GivenUp,
}

/// What a status means; 0 = no answer came. A redirection is a failure: it is not followed.
pub fn answer(status: u32) -> Answer {
    match status {
        200..=299 => Answer::Taken,
        410 => Answer::Gone,
        _ => Answer::Failed,
    }
}

impl Patience {
    /// The pause after so many attempts: doubled each time, between the half and the whole of it by `chance` (0 to 1), so
    /// that receivers that come back are not met by everybody at once. Not shorter than what the receiver asked for, as
    /// long as that is no longer than the longest pause.
    fn pause(&self, attempts: u32, chance: f64, asked: Option<Duration>) -> Duration {
        let doubled = 2u32.saturating_pow(attempts.saturating_sub(1).min(31));
        let whole = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        let pause = whole.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
        pause.max(asked.unwrap_or_default().min(self.longest_pause))
    }

    /// What becomes of a delivery that is tried since `since`, after its `attempts`th attempt was answered at `now`.
    pub fn next(
        &self,
        answer: Answer,
        attempts: u32,
        since: Timestamp,
        now: Timestamp,
        chance: f64,
        asked: Option<Duration>,
    ) -> Next {
        if answer == Answer::Taken {
            return Next::Delivered;
        }
        let again = now.after(self.pause(attempts, chance, asked));
        if again.since(since) > self.give_up_after { Next::GivenUp } else { Next::Again(again) }
    }

    /// Whether a receiver that failed every time since `since` is disabled.
    pub fn is_over(&self, since: Timestamp, now: Timestamp) -> bool {
        now.since(since) >= self.disable_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn patience() -> Patience {
        Patience { first_pause: S(1), longest_pause: S(60), give_up_after: S(600), disable_after: S(6_000) }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let whole: Vec<u64> = (1..=9).map(|n| patience().pause(n, 1.0, None).as_secs()).collect();
        assert_eq!(whole, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(patience().pause(u32::MAX, 1.0, None), S(60));
        assert_eq!(patience().pause(3, 0.0, None), S(2), "half of it at least");
        assert!(patience().pause(3, 0.5, None) > S(2) && patience().pause(3, 0.5, None) < S(4));
    }

    #[test]
    fn what_the_receiver_asks_for_is_kept_within_reason() {
        assert_eq!(patience().pause(1, 0.0, Some(S(30))), S(30));
        assert_eq!(patience().pause(6, 1.0, Some(S(1))), S(32), "it does not shorten a pause");
        assert_eq!(patience().pause(1, 0.0, Some(S(86_400))), S(60));
    }

    #[test]
    fn an_event_is_given_up_after_a_long_time() {
        let next = |answer, now: u64| {
            let now = Timestamp(0).after(S(now));
            patience().next(answer, 9, Timestamp(0), now, 1.0, None)
        };
        assert_eq!(next(Answer::Taken, 9_999), Next::Delivered);
        assert_eq!(next(Answer::Failed, 540), Next::Again(Timestamp(0).after(S(600))));
        assert_eq!(next(Answer::Failed, 541), Next::GivenUp);
    }

    #[test]
    fn a_receiver_is_disabled_after_a_longer_one() {
        assert!(!patience().is_over(Timestamp(0), Timestamp(0).after(S(5_999))));
        assert!(patience().is_over(Timestamp(0), Timestamp(0).after(S(6_000))));
    }

    #[test]
    fn statuses_have_their_meaning() {
        assert_eq!([200, 204, 299].map(answer), [Answer::Taken; 3]);
        assert_eq!([0, 199, 301, 307, 400, 429, 500].map(answer), [Answer::Failed; 7]);
        assert_eq!(answer(410), Answer::Gone);
    }
}
