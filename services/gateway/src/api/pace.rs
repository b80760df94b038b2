//! How many requests a token may send: evenly spread over time, with a reserve for bursts of a second.

use crate::translate::status;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use kernel::Refusal;
use std::num::NonZeroU32;
use tonic::{Code, Status};

/// Tokens that are remembered at most before those that rest are forgotten.
const REMEMBERED: usize = 10_000;

/// The pace of every token. `None`: no limit.
pub struct Pace(Option<DefaultKeyedRateLimiter<String>>);

impl Pace {
    /// So many requests in a second for each token; 0 = no limit.
    pub fn new(requests_per_second: u32) -> Self {
        Self(NonZeroU32::new(requests_per_second).map(|rate| RateLimiter::keyed(Quota::per_second(rate))))
    }

    /// Refuses, with the time after which to come again, when a token sends too much.
    pub fn check(&self, token_id: &str) -> Result<(), Status> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        let Err(early) = limiter.check_key(&token_id.to_owned()) else { return Ok(()) };
        let wait = early.wait_time_from(DefaultClock::default().now());
        let text = "this token sends more requests than it may in a second: send fewer, or try again later";
        let refusal = Refusal::new("TOO_MANY_REQUESTS", text);
        Err(status::refused_for_now(Code::ResourceExhausted, refusal, wait.as_secs() + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_is_slowed_and_others_are_not() {
        let pace = Pace::new(5);
        let taken = (0..50).filter(|_| pace.check("eager").is_ok()).count();
        assert!((5..50).contains(&taken), "{taken}");
        let refused = pace.check("eager").expect_err("too many");
        assert_eq!(contracts::status::retry_after_s(&refused), Some(1));
        assert!(pace.check("other").is_ok());
        let free = Pace::new(0);
        assert!((0..10_000).all(|_| free.check("eager").is_ok()));
    }
}
