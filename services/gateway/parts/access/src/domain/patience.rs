//! How long wrong logins are not looked at: longer with each one, and never for ever.

use kernel::Timestamp;
use std::collections::HashMap;
use std::time::Duration;

/// Names or addresses that are remembered at most.
const REMEMBERED: usize = 10_000;
/// What nobody tried for this long is forgotten.
const FORGET: Duration = Duration::from_secs(15 * 60);

/// How many wrong tries are free, and how long the longest pause is.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Wrong tries in a row without a pause.
    pub free: u32,
    /// The first pause is a second, each one after it twice as long, up to this.
    pub longest: Duration,
}

/// For one user: a person mistypes a few times; a longer pause would let strangers lock users out.
pub const OF_A_USER: Rules = Rules { free: 5, longest: Duration::from_secs(60) };
/// For one address: many people may come from one.
pub const OF_AN_ADDRESS: Rules = Rules { free: 20, longest: Duration::from_secs(900) };

#[derive(Debug, Clone, Copy)]
struct Tries {
    failures: u32,
    last: Timestamp,
    blocked_until: Timestamp,
}

/// Wrong tries by name or address.
#[derive(Debug)]
pub struct Patience {
    rules: Rules,
    tries: HashMap<String, Tries>,
}

/// A pause that a try began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Wrong tries in a row, this one included.
    pub failures: u32,
    /// Until when no more are looked at.
    pub until: Timestamp,
}

impl Patience {
    /// Nothing was tried yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, tries: HashMap::new() }
    }

    /// Until when tries of `key` are not looked at; `None` = they are.
    pub fn blocked(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        self.tries.get(key).map(|tries| tries.blocked_until).filter(|until| now < *until)
    }

    /// Counts a try as a wrong one; [`Self::right`] takes it back. Counted before the password is looked at, so that
    /// many at once do not pass together.
    pub fn tried(&mut self, key: &str, now: Timestamp) -> Option<Pause> {
        self.forget(now);
        let tries =
            self.tries.entry(key.to_owned()).or_insert(Tries { failures: 0, last: now, blocked_until: now });
        tries.failures = tries.failures.saturating_add(1);
        tries.last = now;
        let beyond = tries.failures.checked_sub(self.rules.free + 1)?;
        let pause = Duration::from_secs(1 << beyond.min(20)).min(self.rules.longest);
        tries.blocked_until = now.after(pause);
        Some(Pause { failures: tries.failures, until: tries.blocked_until })
    }

    /// A try was right: nothing is held against `key` any more.
    pub fn right(&mut self, key: &str) {
        self.tries.remove(key);
    }

    /// A try of `key` was not a wrong one after all; those before it stay counted.
    pub fn forgive(&mut self, key: &str) {
        if let Some(tries) = self.tries.get_mut(key) {
            tries.failures = tries.failures.saturating_sub(1);
            tries.blocked_until = tries.last;
        }
    }

    fn forget(&mut self, now: Timestamp) {
        if self.tries.len() < REMEMBERED {
            return;
        }
        self.tries.retain(|_, tries| now < tries.last.after(FORGET));
        // a flood of made-up names: the oldest go, so that memory stays bounded
        while self.tries.len() >= REMEMBERED {
            let oldest = self.tries.iter().min_by_key(|(_, tries)| tries.last).map(|(key, _)| key.clone());
            match oldest {
                Some(key) => drop(self.tries.remove(&key)),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn pauses_grow_to_a_limit_and_end_with_the_right_password() {
        let mut patience = Patience::new(OF_A_USER);
        let at = Timestamp(0);
        for _ in 0..5 {
            assert_eq!(patience.tried("ann", at), None);
            assert_eq!(patience.blocked("ann", at), None);
        }
        for (nth, seconds) in [(6, 1), (7, 2), (8, 4), (9, 8), (10, 16), (11, 32), (12, 60), (13, 60)] {
            let pause = patience.tried("ann", at).expect("a pause");
            assert_eq!((pause.failures, pause.until), (nth, Timestamp(seconds * S)));
        }
        assert_eq!(patience.blocked("ann", Timestamp(59 * S)), Some(Timestamp(60 * S)));
        assert_eq!(patience.blocked("ann", Timestamp(60 * S)), None);
        assert_eq!(patience.blocked("bob", at), None);
        patience.right("ann");
        assert_eq!(patience.tried("ann", at), None);
    }

    #[test]
    fn a_right_login_leaves_the_wrong_ones_of_its_address_counted() {
        let mut patience = Patience::new(Rules { free: 1, longest: Duration::from_secs(9) });
        assert_eq!(patience.tried("::1", Timestamp(0)), None);
        assert!(patience.tried("::1", Timestamp(0)).is_some());
        patience.forgive("::1");
        assert_eq!(patience.blocked("::1", Timestamp(0)), None);
        assert!(patience.tried("::1", Timestamp(0)).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let mut patience = Patience::new(OF_A_USER);
        for n in 0..REMEMBERED + 50 {
            patience.tried(&n.to_string(), Timestamp(n as i64));
        }
        assert!(patience.tries.len() <= REMEMBERED);
        assert!(!patience.tries.contains_key("0") && patience.tries.contains_key("10049"));
    }
}
