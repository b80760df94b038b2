//! Proof by password: the same answer in the same time for whatever is wrong, and pauses that grow with each wrong try.

use super::Access;
use crate::domain::patience::{OF_A_USER, OF_AN_ADDRESS, Patience, Pause};
use bus::Cause;
use contracts::gateway::v1::{LoginBlocked, UserRecord};
use gateway_api::domain::violation::excerpt;
use gateway_api::translate::status;
use kernel::{PLATFORM, Refusal, Timestamp};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::{Code, Status};

/// Pauses are said in events this far apart at least: a flood of logins is no flood of events.
const SAID_APART: Duration = Duration::from_secs(1);
/// Longest name that is remembered, in characters.
const NAME_LIMIT: usize = 64;

/// Wrong tries of this process, and how many there were.
pub struct Logins {
    tries: Mutex<Tries>,
    counted: Counter<u64>,
}

struct Tries {
    users: Patience,
    addresses: Patience,
    said_at: Timestamp,
}

/// A try under way: counted as a wrong one until it is known to be right.
pub struct Try {
    user: String,
    address: String,
    pause: Option<Pause>,
}

impl Logins {
    /// Nobody tried yet.
    pub fn new(meter: &Meter) -> Self {
        let tries = Tries {
            users: Patience::new(OF_A_USER),
            addresses: Patience::new(OF_AN_ADDRESS),
            said_at: Timestamp(i64::MIN),
        };
        let counted = meter
            .u64_counter("berth_gateway_logins")
            .with_description("Passwords that were looked at, or not, by what came of it.")
            .build();
        Self { tries: Mutex::new(tries), counted }
    }

    fn tries(&self) -> MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, outcome: &'static str) {
        self.counted.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// Begins a try, unless the user or the address has to wait.
    fn begin(&self, user: &str, address: &str, now: Timestamp) -> Result<Try, Status> {
        let user = excerpt(user, NAME_LIMIT);
        let mut tries = self.tries();
        let until = tries.users.blocked(&user, now).max(tries.addresses.blocked(address, now));
        if let Some(until) = until {
            drop(tries);
            self.count("blocked");
            let seconds = until.since(now).as_secs() + 1;
            let text = format!("too many wrong logins: try again in {seconds} s");
            let refusal = Refusal::new("TOO_MANY_LOGINS", text);
            return Err(status::refused_for_now(Code::ResourceExhausted, refusal, seconds));
        }
        let of_user = tries.users.tried(&user, now);
        let of_address = tries.addresses.tried(address, now);
        let pause = of_user.or(of_address);
        Ok(Try { user, address: address.to_owned(), pause })
    }

    fn right(&self, done: &Try) {
        let mut tries = self.tries();
        tries.users.right(&done.user);
        tries.addresses.forgive(&done.address);
        drop(tries);
        self.count("right");
    }

    /// Whether it is time to say that somebody has to wait.
    fn may_say(&self, now: Timestamp) -> bool {
        let mut tries = self.tries();
        let due = tries.said_at == Timestamp(i64::MIN) || now.since(tries.said_at) >= SAID_APART;
        if due {
            tries.said_at = now;
        }
        due
    }
}

impl Access {
    /// Refuses when this is not the password of the user, or not of one that may come in by password at all. What
    /// `and` finds beside the password counts like it.
    pub(super) async fn prove(
        &self,
        name: &str,
        record: Option<&UserRecord>,
        password: &str,
        address: &str,
        and: impl FnOnce(&UserRecord) -> bool,
    ) -> Result<(), Status> {
        let now = self.desk.clock().now();
        let attempt = self.logins.begin(name, address, now)?;
        let known = record.and_then(|record| record.password.as_ref());
        let known = known.map(|sealed| self.sealer.open(sealed)).transpose().map_err(status::broken)?;
        let known = known.and_then(|hash| String::from_utf8(hash).ok());
        let whole = password.len() <= kernel::limits::PASSWORD;
        let looked_at = if whole { password } else { "" };
        let same = self.passwords.is_right(looked_at, known).await.map_err(status::broken)? && whole;
        let proven = same && record.is_some_and(and);
        if proven {
            self.logins.right(&attempt);
            return Ok(());
        }
        self.wrong(&attempt, now).await
    }

    /// Refuses a login whose password was looked at already, as if that had been wrong: no second look, which would take
    /// longer than other wrong logins do.
    pub(super) async fn deny(&self, name: &str, address: &str) -> Result<(), Status> {
        let now = self.desk.clock().now();
        let attempt = self.logins.begin(name, address, now)?;
        self.wrong(&attempt, now).await
    }

    async fn wrong(&self, attempt: &Try, now: Timestamp) -> Result<(), Status> {
        self.logins.count("wrong");
        if let Some(pause) = attempt.pause
            && self.logins.may_say(now)
        {
            self.say_blocked(attempt, pause).await?;
        }
        let text =
            "the user, the password or the one-time code is wrong; a code is needed once codes are set up";
        Err(status::refused(Code::Unauthenticated, Refusal::new("LOGIN_FAILED", text), ""))
    }

    async fn say_blocked(&self, attempt: &Try, pause: Pause) -> Result<(), Status> {
        tracing::warn!(
            user = attempt.user,
            address = attempt.address,
            failures = pause.failures,
            "logins have to wait"
        );
        let cause = Cause::own(gateway_api::SERVICE_NAME).for_tenant(PLATFORM);
        let mut work = self.desk.begin(cause).await.map_err(status::broken)?;
        work.say(&LoginBlocked {
            user: attempt.user.clone(),
            address: attempt.address.clone(),
            failures: pause.failures,
            blocked_until_us: pause.until.micros(),
        });
        work.commit().await.map_err(status::broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_an_address_have_to_wait_each_for_itself() {
        let meter = opentelemetry::global::meter("test");
        let logins = Logins::new(&meter);
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for _ in 0..6 {
            assert!(logins.begin("ann", "::1", at(0)).is_ok());
        }
        let refused = logins.begin("ann", "::2", at(0)).err().expect("ann has to wait, from anywhere");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(contracts::status::retry_after_s(&refused), Some(2));
        assert!(logins.begin("bob", "::1", at(0)).is_ok(), "others from there do not");
        for n in 0..14 {
            let _ = logins.begin(&format!("user-{n}"), "::1", at(0));
        }
        assert!(logins.begin("eve", "::1", at(0)).is_err(), "the address tried 21 users");
        assert!(logins.begin("eve", "::2", at(0)).is_ok());
        assert!(logins.may_say(at(0)) && !logins.may_say(at(0)) && logins.may_say(at(2)));
    }

    #[test]
    fn the_right_password_clears_the_user() {
        let logins = Logins::new(&opentelemetry::global::meter("test"));
        for _ in 0..50 {
            let attempt = logins.begin("ann", "::1", Timestamp(0)).expect("not blocked");
            logins.right(&attempt);
        }
    }
}
