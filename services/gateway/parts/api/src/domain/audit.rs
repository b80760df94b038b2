//! What became of a call, and how often a denied call is written down.

use kernel::Timestamp;
use std::collections::HashMap;
use std::time::Duration;

/// Repeats of a denied call within this time are one record.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Different denied calls that are told apart within a window; whatever comes beyond is one record for each reason.
pub const TOLD_APART: usize = 4_096;
/// The address of records that stand for callers who are not told apart any more.
pub const MANY: &str = "(many)";

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Taken on, or done.
    Ok,
    /// Not possible.
    Refused,
    /// The caller is not known, or may not.
    Denied,
    /// Nobody waited for the answer.
    Unknown,
}

impl Outcome {
    /// What a gRPC code, written in upper case, means for the record.
    pub fn of(code: &str) -> Self {
        match code {
            "OK" => Self::Ok,
            "UNAUTHENTICATED" | "PERMISSION_DENIED" => Self::Denied,
            "CANCELLED" | "DEADLINE_EXCEEDED" => Self::Unknown,
            _ => Self::Refused,
        }
    }

    /// The number of the outcome on the wire and in tables.
    pub fn number(self) -> i32 {
        match self {
            Self::Ok => 1,
            Self::Refused => 2,
            Self::Denied => 3,
            Self::Unknown => 4,
        }
    }

    /// Reads the word of a filter.
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "ok" => Some(Self::Ok),
            "refused" => Some(Self::Refused),
            "denied" => Some(Self::Denied),
            "unknown" => Some(Self::Unknown),
            _ => None,
        }
    }
}

/// Which records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// "" = of all.
    pub tenant: String,
    /// "" = of all.
    pub actor: String,
    /// Id or name, "" = about all.
    pub object: String,
    /// "CreateInstance", "" = all.
    pub operation: String,
    /// `None` = all.
    pub outcome: Option<Outcome>,
    /// 0 = from the first.
    pub since_us: i64,
    /// Before it; 0 = to the newest.
    pub until_us: i64,
}

/// The last part of a method's name: "CreateInstance".
pub fn operation(method: &str) -> &str {
    method.rsplit('/').next().unwrap_or_default()
}

/// What makes two denied calls the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denied {
    /// Where it came from.
    pub address: String,
    /// Through which door.
    pub door: &'static str,
    /// What was called.
    pub method: String,
    /// Who, as far as known.
    pub actor: String,
    /// Why it was denied.
    pub reason: String,
}

/// A record of a denied call that is kept open for repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted<R> {
    /// The record of the first call.
    pub record: R,
    /// Calls it stands for.
    pub count: u64,
    /// When the last of them came.
    pub last_at: Timestamp,
    began: Timestamp,
    told: u64,
}

/// Denied calls of the present window. The first of each kind is told at once, repeats when the window is over: an
/// attacker gets two records a minute, not one for each attempt.
#[derive(Debug)]
pub struct Denials<R> {
    open: HashMap<Denied, Counted<R>>,
}

impl<R> Default for Denials<R> {
    fn default() -> Self {
        Self { open: HashMap::new() }
    }
}

impl<R: Clone> Denials<R> {
    /// Counts a call; answers what has to be told now. `join` puts what a repeat says into the record of the first.
    pub fn note(
        &mut self,
        denied: Denied,
        record: R,
        at: Timestamp,
        join: impl FnOnce(&mut R, R),
    ) -> Option<Counted<R>> {
        if let Some(known) = self.open.get_mut(&denied) {
            join(&mut known.record, record);
            known.count += 1;
            known.last_at = known.last_at.max(at);
            return None;
        }
        let counted = Counted { record, count: 1, last_at: at, began: at, told: 1 };
        self.open.insert(denied, counted.clone());
        Some(counted)
    }

    /// The kind under which a call is counted: its own, or that of the many when there are too many kinds.
    pub fn kind(&self, denied: Denied) -> Denied {
        if self.open.len() < TOLD_APART || self.open.contains_key(&denied) {
            return denied;
        }
        Denied { address: MANY.into(), actor: String::new(), ..denied }
    }

    /// Ends windows that are over at `now`; answers those with repeats that were not told.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Counted<R>> {
        let mut told = Vec::new();
        self.open.retain(|_, counted| {
            let over = now.since(counted.began) >= WINDOW;
            if over && counted.count > counted.told {
                told.push(counted.clone());
            }
            !over
        });
        told
    }

    /// Ends all windows.
    pub fn end(&mut self) -> Vec<Counted<R>> {
        let all = std::mem::take(&mut self.open);
        all.into_values().filter(|counted| counted.count > counted.told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn denied(address: &str) -> Denied {
        Denied {
            address: address.into(),
            door: "grpc",
            method: "m".into(),
            actor: String::new(),
            reason: "UNAUTHENTICATED".into(),
        }
    }

    #[test]
    fn codes_become_outcomes() {
        assert_eq!(Outcome::of("OK"), Outcome::Ok);
        assert_eq!(Outcome::of("PERMISSION_DENIED"), Outcome::Denied);
        assert_eq!(Outcome::of("NOT_FOUND"), Outcome::Refused);
        assert_eq!(Outcome::of("CANCELLED"), Outcome::Unknown);
        assert_eq!((Outcome::read("denied"), Outcome::read("Denied")), (Some(Outcome::Denied), None));
    }

    #[test]
    fn beyond_the_limit_kinds_are_one() {
        let mut denials = Denials::default();
        for at in 0..TOLD_APART {
            let kind = denials.kind(denied(&at.to_string()));
            denials.note(kind, (), Timestamp(0), |(), ()| ());
        }
        assert_eq!(denials.kind(denied("new")).address, MANY);
        assert_eq!(denials.kind(denied("0")).address, "0");
    }

    proptest! {
        #[test]
        fn no_call_is_lost_and_records_are_few(calls in proptest::collection::vec((0u8..3, 0i64..30), 1..200)) {
            let mut denials = Denials::default();
            let (mut now, mut told, mut records) = (0i64, HashMap::new(), 0usize);
            let mut tell = |counted: Counted<usize>, records: &mut usize| {
                *records += 1;
                told.insert(counted.record, counted.count);
            };
            for (index, (address, seconds)) in calls.iter().enumerate() {
                now += seconds * 1_000_000;
                for counted in denials.sweep(Timestamp(now)) {
                    tell(counted, &mut records);
                }
                let kind = denied(&address.to_string());
                if let Some(first) = denials.note(kind, index, Timestamp(now), |_, _| ()) {
                    tell(first, &mut records);
                }
            }
            for counted in denials.end() {
                tell(counted, &mut records);
            }
            prop_assert_eq!(told.values().sum::<u64>(), calls.len() as u64);
            let windows = usize::try_from(now / 60_000_000).unwrap_or(0) + 1;
            prop_assert!(records <= 2 * 3 * windows);
        }
    }
}
