//! Rows go from the commit to the relay in memory, so that it need not read back what was just written.
//!
//! With SQLite rows are committed in the order of their numbers, and none is left out: the relay can tell from the
//! numbers alone that it has every row. Whenever it cannot, it reads the table, which is the truth. Rows that nobody
//! fetches are forgotten: they are in the table.

use crate::outbox::Waiting;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Rows, and bytes of their payloads, that may wait here.
const ROWS: usize = 4_096;
const BYTES: usize = 16 << 20;

/// Between those who commit and the relay of a service.
#[derive(Default)]
pub(crate) struct Handoff {
    wake: Notify,
    said: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The relay has fetched every row up to this one. `None`: it has to read the table to find out.
    fetched: Option<i64>,
    rows: BTreeMap<i64, Waiting>,
    bytes: usize,
}

impl State {
    fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }
}

impl Handoff {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether rows are wanted: without a relay nobody fetches them.
    pub fn is_wanted(&self) -> bool {
        self.state().fetched.is_some()
    }

    /// Rows were committed; `None` = nobody knows their numbers.
    pub fn committed(&self, rows: Option<Vec<Waiting>>) {
        if let Some(rows) = rows {
            let mut state = self.state();
            if let Some(fetched) = state.fetched {
                for row in rows.into_iter().filter(|row| row.seq > fetched) {
                    state.bytes += row.payload.len();
                    state.rows.insert(row.seq, row);
                }
                if state.rows.len() > ROWS || state.bytes > BYTES {
                    state.fetched = None;
                    state.clear();
                }
            }
        }
        self.said.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Resolves when something was committed since the last time.
    pub async fn notified(&self) {
        self.wake.notified().await;
    }

    /// Whether something was committed since this was asked last.
    pub fn has_news(&self) -> bool {
        self.said.swap(false, Ordering::SeqCst)
    }

    /// The next rows, if they are here without a gap.
    pub fn fetch(&self, limit: usize) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        let mut next = state.fetched? + 1;
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(row) = state.rows.remove(&next)
        {
            state.bytes -= row.payload.len();
            next += 1;
            rows.push(row);
        }
        state.fetched = Some(next - 1);
        (!rows.is_empty()).then_some(rows)
    }

    /// The relay has read the table: every row up to this one.
    pub fn read_up_to(&self, seq: i64) {
        let mut state = self.state();
        let fetched = state.fetched.map_or(seq, |fetched| fetched.max(seq));
        state.fetched = Some(fetched);
        let later = state.rows.split_off(&(fetched + 1));
        state.bytes = later.values().map(|row| row.payload.len()).sum();
        state.rows = later;
    }

    /// Rows that were fetched may have to be published again: only the table knows.
    pub fn distrust(&self) {
        let mut state = self.state();
        state.fetched = None;
        state.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(seqs: impl IntoIterator<Item = i64>) -> Option<Vec<Waiting>> {
        let row = |seq| Waiting {
            seq,
            stream: "EVENTS".to_owned(),
            subject: String::new(),
            headers: BTreeMap::new(),
            payload: vec![0; 10],
        };
        Some(seqs.into_iter().map(row).collect())
    }

    fn fetched(handoff: &Handoff) -> Option<Vec<i64>> {
        handoff.fetch(100).map(|rows| rows.iter().map(|row| row.seq).collect())
    }

    #[test]
    fn nothing_is_kept_before_the_table_was_read() {
        let handoff = Handoff::default();
        handoff.committed(rows([1, 2]));
        assert_eq!((fetched(&handoff), handoff.has_news(), handoff.has_news()), (None, true, false));
        handoff.read_up_to(2);
        handoff.committed(rows([3, 4]));
        assert_eq!(fetched(&handoff), Some(vec![3, 4]));
        assert_eq!(fetched(&handoff), None);
    }

    #[test]
    fn a_row_that_is_not_here_yet_holds_up_those_after_it() {
        let handoff = Handoff::default();
        handoff.read_up_to(0);
        handoff.committed(rows([2, 3]));
        assert_eq!(fetched(&handoff), None);
        handoff.committed(rows([1]));
        assert_eq!(fetched(&handoff), Some(vec![1, 2, 3]));
        // one that told nobody its number: the table is read, and what is here up to there is not given out again
        handoff.committed(None);
        handoff.committed(rows([5, 6]));
        assert_eq!(fetched(&handoff), None);
        handoff.read_up_to(5);
        assert_eq!(fetched(&handoff), Some(vec![6]));
    }

    #[test]
    fn what_has_to_be_read_again_is_not_given_out() {
        let handoff = Handoff::default();
        handoff.read_up_to(0);
        handoff.committed(rows([1]));
        handoff.distrust();
        handoff.committed(rows([2]));
        assert_eq!((fetched(&handoff), handoff.is_wanted()), (None, false));
    }

    #[test]
    fn there_is_a_limit() {
        let handoff = Handoff::default();
        handoff.read_up_to(0);
        handoff.committed(rows(1..=ROWS as i64));
        assert!(handoff.is_wanted());
        handoff.committed(rows([ROWS as i64 + 1]));
        assert!(!handoff.is_wanted());
        assert_eq!(handoff.state().bytes, 0);
    }
}
