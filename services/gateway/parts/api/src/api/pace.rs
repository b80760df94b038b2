//! How many requests a token, and a tenant with all its tokens, may send: evenly spread over time, with a reserve for bursts
//! of a second.

use crate::translate::status;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota as Rate, RateLimiter};
use kernel::Refusal;
use kernel::quota::{QUOTA_EXCEEDED, Quota};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::{Code, Status};

/// Tokens and tenants that are remembered at most before those that rest are forgotten.
const REMEMBERED: usize = 10_000;

/// The pace of a tenant, and the limit it was made for.
type Paced = (NonZeroU32, Arc<DefaultDirectRateLimiter>);

/// The pace of every token and every tenant.
pub struct Pace {
    /// `None`: tokens have no limit.
    tokens: Option<DefaultKeyedRateLimiter<String>>,
    tenants: Mutex<HashMap<String, Paced>>,
    refused: Counter<u64>,
}

fn wait(early: &governor::NotUntil<<DefaultClock as Clock>::Instant>) -> Duration {
    early.wait_time_from(DefaultClock::default().now())
}

impl Pace {
    /// So many requests in a second for each token; 0 = no limit.
    pub fn new(requests_per_second: u32, meter: &Meter) -> Self {
        let refused = meter
            .u64_counter("berth_gateway_quota_refusals")
            .with_description("Requests that the gateway refused because of a quota of the tenant, by quota.")
            .build();
        let tokens =
            NonZeroU32::new(requests_per_second).map(|rate| RateLimiter::keyed(Rate::per_second(rate)));
        Self { tokens, tenants: Mutex::default(), refused }
    }

    /// Refuses, with the time after which to come again, when a token sends too much.
    pub fn check(&self, token_id: &str) -> Result<(), Status> {
        let Some(limiter) = &self.tokens else { return Ok(()) };
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        let Err(early) = limiter.check_key(&token_id.to_owned()) else { return Ok(()) };
        let text = "this token sends more requests than it may in a second: send fewer, or try again later";
        let refusal = Refusal::new("TOO_MANY_REQUESTS", text);
        Err(status::refused_for_now(Code::ResourceExhausted, refusal, wait(&early).as_secs() + 1))
    }

    /// The same for all tokens of a tenant together; `None` = no limit. Another limit counts from this request on.
    pub fn check_tenant(&self, tenant: &str, requests_per_second: Option<NonZeroU32>) -> Result<(), Status> {
        let Some(rate) = requests_per_second else { return Ok(()) };
        let Err(early) = self.limiter(tenant, rate).check() else { return Ok(()) };
        self.over_quota(&[Quota::RequestsPerSecond]);
        let text = format!(
            "the tenant {tenant} sends more requests than its quota allows: send fewer, or try again later"
        );
        let reason = format!("{}: {rate} allowed in a second", Quota::RequestsPerSecond.name());
        let refusal = Refusal::new(QUOTA_EXCEEDED, text).because([reason]);
        Err(status::refused_for_now(Code::ResourceExhausted, refusal, wait(&early).as_secs() + 1))
    }

    fn limiter(&self, tenant: &str, rate: NonZeroU32) -> Arc<DefaultDirectRateLimiter> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        match tenants.get(tenant) {
            Some((known, limiter)) if *known == rate => limiter.clone(),
            _ => {
                if tenants.len() >= REMEMBERED {
                    tenants.clear();
                }
                let limiter = Arc::new(RateLimiter::direct(Rate::per_second(rate)));
                tenants.insert(tenant.to_owned(), (rate, limiter.clone()));
                limiter
            }
        }
    }

    /// A request was refused because these quotas had no room.
    pub fn over_quota(&self, quotas: &[Quota]) {
        for quota in quotas {
            self.refused.add(1, &[KeyValue::new("quota", quota.name())]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(of_tokens: u32) -> Pace {
        Pace::new(of_tokens, &opentelemetry::global::meter("test"))
    }

    #[test]
    fn one_token_is_slowed_and_others_are_not() {
        let eager = pace(5);
        let taken = (0..50).filter(|_| eager.check("eager").is_ok()).count();
        assert!((5..50).contains(&taken), "{taken}");
        let refused = eager.check("eager").expect_err("too many");
        assert_eq!(contracts::status::retry_after_s(&refused), Some(1));
        assert!(eager.check("other").is_ok());
        let free = pace(0);
        assert!((0..10_000).all(|_| free.check("eager").is_ok()));
    }

    #[test]
    fn a_tenant_is_slowed_by_its_quota_and_another_quota_counts_at_once() {
        let pace = pace(0);
        let five = NonZeroU32::new(5);
        let taken = (0..50).filter(|_| pace.check_tenant("acme", five).is_ok()).count();
        assert!((5..50).contains(&taken), "{taken}");
        let refused = pace.check_tenant("acme", five).expect_err("too many");
        assert_eq!(contracts::status::retry_after_s(&refused), Some(1));
        let (refusal, _) = contracts::status::details(&refused);
        let refusal = refusal.expect("a refusal");
        assert_eq!((refusal.code.as_str(), refusal.reasons.len()), (QUOTA_EXCEEDED, 1));
        assert!(refusal.reasons[0].contains("requests_per_second: 5"), "{}", refusal.reasons[0]);
        assert!(pace.check_tenant("bravo", five).is_ok(), "another tenant");
        assert!(pace.check_tenant("acme", NonZeroU32::new(6)).is_ok(), "another quota");
        assert!((0..1000).all(|_| pace.check_tenant("acme", None).is_ok()));
    }
}
