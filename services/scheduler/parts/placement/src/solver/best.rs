//! The best hosts that a search has seen so far.

use super::filters;
use super::fleet::{Fleet, Slot};
use super::request::Prepared;
use super::score;

/// Higher scores first, of equal ones the lower host number.
#[derive(Debug)]
pub(super) struct Best {
    kept: Vec<(i64, u32)>,
    room: usize,
}

impl Best {
    /// Keeps up to `room` hosts.
    pub fn new(room: usize) -> Self {
        Self { kept: Vec::with_capacity(room), room }
    }

    /// Takes the host if it would do and is better than one that is kept.
    pub fn offer(&mut self, fleet: &Fleet, prepared: &Prepared<'_>, slot: &Slot) {
        if !filters::pass_cheap(prepared, slot) {
            return;
        }
        let (mut score, number) = (score::at_most(fleet, prepared, slot), slot.host);
        if !self.could_take(score, number)
            || !(prepared.plain || filters::pass_costly(fleet, prepared, number as usize))
        {
            return;
        }
        // a host that is not better than the last that is kept need not be known exactly
        let bearable =
            if self.kept.len() < self.room { i64::MAX } else { score - self.kept[self.room - 1].0 };
        score -= score::lost_gpus(fleet, prepared, slot, bearable);
        if !self.could_take(score, number) {
            return;
        }
        if self.kept.len() == self.room {
            self.kept.pop();
        }
        let place = self.kept.partition_point(|(kept, other)| (*kept, number) > (score, *other));
        self.kept.insert(place, (score, number));
    }

    /// A host with this score and a number that is not lower would be kept.
    pub fn could_take(&self, score: i64, first: u32) -> bool {
        self.kept.len() < self.room
            || self.kept.last().is_none_or(|(lowest, host)| (score, *host) > (*lowest, first))
    }

    pub fn into_kept(self) -> Vec<(i64, u32)> {
        self.kept
    }
}
