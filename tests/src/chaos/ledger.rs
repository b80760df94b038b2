//! What users asked for, and when it was theirs.

use crate::whereabouts::Sought;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks for requests that are overdue.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// In words, with the ids that are known of it.
    pub sought: Sought,
    /// When it was sent first.
    pub at: Instant,
    /// When its operation was known to have ended.
    pub settled: Option<Instant>,
}

/// All requests of a story. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Asked>>>);

/// A request in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry(usize);

impl Ledger {
    fn rows(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is about to be sent.
    pub fn ask(&self, what: String) -> Entry {
        let mut rows = self.rows();
        let sought = Sought { what, ..Sought::default() };
        rows.push(Asked { sought, at: Instant::now(), settled: None });
        Entry(rows.len() - 1)
    }

    /// It was answered.
    pub fn accepted(&self, entry: Entry, operation: &str, instance: &str) {
        let sought = &mut self.rows()[entry.0].sought;
        operation.clone_into(&mut sought.operation);
        instance.clone_into(&mut sought.instance);
    }

    /// Its operation ended.
    pub fn settled(&self, entry: Entry) {
        self.rows()[entry.0].settled = Some(Instant::now());
    }

    /// All requests, in the order in which they were sent.
    pub fn all(&self) -> Vec<Asked> {
        self.rows().clone()
    }

    /// Requests that are not settled.
    pub fn outstanding(&self) -> Vec<Asked> {
        self.rows().iter().filter(|asked| asked.settled.is_none()).cloned().collect()
    }

    /// Resolves when a request is not settled so long after it was asked and the last mishap was over (`calm`).
    pub async fn overdue(&self, calm: Instant, patience: Duration) {
        let mut round = tokio::time::interval(LOOK_EVERY);
        let late = |asked: &Asked| asked.at.max(calm).elapsed() > patience;
        while !self.outstanding().iter().any(late) {
            round.tick().await;
        }
    }

    /// The id of an instance, as the newest answer about it gave it.
    pub fn instance_of(&self, name: &str) -> String {
        let of_it = |asked: &&Asked| asked.sought.what.split(' ').next_back() == Some(name);
        let rows = self.rows();
        rows.iter().rfind(of_it).map_or_else(String::new, |asked| asked.sought.instance.clone())
    }
}

/// How long things took.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// From the last mishap until what was outstanding then was settled.
    pub outstanding: Vec<Duration>,
    /// From asking until settled, of what was asked for after the last mishap.
    pub later: Vec<Duration>,
    /// From asking until settled, of everything.
    pub all: Vec<Duration>,
}

impl Times {
    /// Of everything that is settled; `calm` is the moment after the last mishap.
    pub fn of(ledger: &Ledger, calm: Instant) -> Self {
        let mut times = Self::default();
        for Asked { at, settled, .. } in ledger.all() {
            let Some(settled) = settled else { continue };
            times.all.push(settled - at);
            if at > calm {
                times.later.push(settled - at);
            } else if settled > calm {
                times.outstanding.push(settled - calm);
            }
        }
        times
    }

    /// The times of another run as well.
    pub fn add(&mut self, other: &Self) {
        self.outstanding.extend(&other.outstanding);
        self.later.extend(&other.later);
        self.all.extend(&other.all);
    }

    /// As a person reads them, with a loud last line when what was outstanding took longer than `aim`.
    pub fn report(&self, aim: Duration) -> String {
        let mut text = format!(
            "from the last mishap until what was outstanding was settled: {}\n\
             asked for after the last mishap: {}\neverything, from asking until settled: {}",
            spread(&self.outstanding),
            spread(&self.later),
            spread(&self.all)
        );
        if let Some(p99) = quantile(&self.outstanding, 99).filter(|p99| *p99 > aim) {
            text +=
                &format!("\n!!!!!!!! AIM MISSED: p99 is {p99:.2?}, it should be at most {aim:?} !!!!!!!!");
        }
        text
    }
}

fn spread(times: &[Duration]) -> String {
    let quantile = |percent| quantile(times, percent).unwrap_or_default();
    match times.len() {
        0 => "none".to_owned(),
        count => {
            format!("{count}, p50 {:.2?}, p99 {:.2?}, max {:.2?}", quantile(50), quantile(99), quantile(100))
        }
    }
}

/// The smallest time that so many percent do not exceed (nearest rank); none of nothing.
fn quantile(times: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let of = |percent| quantile(&times, percent).map(|time| time.as_millis());
        assert_eq!((of(50), of(99), of(100)), (Some(100), Some(198), Some(200)));
        assert_eq!(quantile(&times[..1], 99), Some(Duration::from_millis(200)));
        assert_eq!(quantile(&[], 50), None);
    }

    #[test]
    fn what_was_outstanding_is_measured_from_the_last_mishap() {
        let (ledger, second) = (Ledger::default(), Duration::from_secs(1));
        for what in ["before", "across", "after", "never"] {
            ledger.ask(format!("create {what}"));
        }
        let calm = Instant::now() + 10 * second;
        let moments = [(1, Some(2)), (9, Some(13)), (11, Some(12)), (9, None)];
        for (row, (at, settled)) in ledger.rows().iter_mut().zip(moments) {
            row.at = calm - 10 * second + at * second;
            row.settled = settled.map(|settled: u32| calm - 10 * second + settled * second);
        }
        let times = Times::of(&ledger, calm);
        assert_eq!((times.outstanding, times.later), (vec![3 * second], vec![second]));
        assert_eq!(times.all, [second, 4 * second, second]);
        assert_eq!(ledger.outstanding().len(), 1);
    }

    #[tokio::test]
    async fn a_request_is_overdue_by_its_own_time() {
        let (ledger, begun, second) = (Ledger::default(), Instant::now(), Duration::from_secs(1));
        let entry = ledger.ask("create web".to_owned());
        let over = async |calm, patience| {
            tokio::time::timeout(Duration::from_millis(20), ledger.overdue(calm, patience)).await.is_ok()
        };
        ledger.rows()[0].at = begun - 10 * second;
        assert!(over(begun - 5 * second, 4 * second).await && !over(begun - 5 * second, 60 * second).await);
        assert!(!over(begun, 4 * second).await, "the mishaps are only just over");
        ledger.settled(entry);
        assert!(!over(begun - 5 * second, 4 * second).await);
    }

    #[test]
    fn a_missed_aim_is_said_loudly() {
        let times = Times { outstanding: vec![Duration::from_secs(6)], ..Times::default() };
        assert!(times.report(Duration::from_secs(5)).contains("AIM MISSED"));
        assert!(!times.report(Duration::from_secs(7)).contains("AIM MISSED"));
        assert!(!Times::default().report(Duration::ZERO).contains("AIM MISSED"));
    }
}
