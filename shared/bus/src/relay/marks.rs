//! Rows the server has taken and the database does not know of yet.
//!
//! A mark of its own for each message would be a transaction, and a sync of the disk, for each; so a few are collected.
//! Who dies before they are written finds the rows in the stream again, or publishes them under the same ids.

use super::publish::Acknowledged;
use crate::connection::Identity;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// Written when nothing more was published for so long,
const QUIET: Duration = Duration::from_millis(5);
/// and at the latest after this,
const LONGEST: Duration = Duration::from_millis(20);
/// or when there are so many.
const MOST: usize = 200;

/// Collected marks, all of one connection.
#[derive(Default)]
pub(super) struct Marks {
    taken_on: Option<Identity>,
    /// (row, place in its stream)
    places: Vec<(i64, i64)>,
    rows: HashSet<i64>,
    newest: BTreeMap<String, i64>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Marks {
    /// Keeps what the server has taken on a connection.
    pub fn note(&mut self, on: &Identity, acknowledged: &[Acknowledged<'_>]) {
        if acknowledged.is_empty() {
            return;
        }
        for ack in acknowledged {
            self.places.push((ack.row.seq, ack.sequence));
            self.rows.insert(ack.row.seq);
            let newest = self.newest.entry(ack.row.stream.clone()).or_default();
            *newest = (*newest).max(ack.sequence);
        }
        self.taken_on = Some(on.clone());
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The row was taken.
    pub fn holds(&self, row: i64) -> bool {
        self.rows.contains(&row)
    }

    /// Rows and where their streams keep them.
    pub fn places(&self) -> &[(i64, i64)] {
        &self.places
    }

    /// The last place in each stream.
    pub fn newest(&self) -> &BTreeMap<String, i64> {
        &self.newest
    }

    /// When they have to be written.
    pub fn due(&self) -> Option<Instant> {
        let (first, last) = (self.first?, self.last?);
        Some(if self.len() >= MOST { first } else { (last + QUIET).min(first + LONGEST) })
    }

    /// A server that went away may have lost what it had taken: on another connection the marks prove nothing.
    pub fn are_of(&self, present: &Identity) -> bool {
        self.taken_on.as_ref() == Some(present)
    }
}
