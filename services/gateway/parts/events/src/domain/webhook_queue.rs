//! What waits for one receiver, and what of it may be sent now: of each object the oldest alone, so that a receiver
//! sees the events of an object in their order, whatever fails in between.

use std::collections::{BTreeMap, BTreeSet};

/// A delivery that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    object: String,
    next_at_us: i64,
    under_way: bool,
}

/// Deliveries of one receiver by their position: older ones have smaller numbers.
#[derive(Debug, Default)]
pub struct Queue {
    all: BTreeMap<i64, Waiting>,
}

impl Queue {
    /// Adds a delivery about an object that is to be sent at `next_at_us` or later; one that is known gets this time,
    /// unless it is under way.
    pub fn put(&mut self, position: i64, object: &str, next_at_us: i64) {
        let fresh = || Waiting { object: object.to_owned(), next_at_us, under_way: false };
        let waiting = self.all.entry(position).or_insert_with(fresh);
        if !waiting.under_way {
            waiting.next_at_us = next_at_us;
        }
    }

    /// How many there are, under way or not.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The oldest delivery of each object.
    fn heads(&self) -> impl Iterator<Item = (i64, &Waiting)> {
        let mut seen = BTreeSet::new();
        self.all
            .iter()
            .filter(move |(_, waiting)| seen.insert(waiting.object.as_str()))
            .map(|(at, waiting)| (*at, waiting))
    }

    /// What may be sent now, so that no more than `most` are under way.
    pub fn due(&self, now_us: i64, most: usize) -> Vec<i64> {
        let under_way = self.all.values().filter(|waiting| waiting.under_way).count();
        let due = self.heads().filter(|(_, waiting)| !waiting.under_way && waiting.next_at_us <= now_us);
        due.map(|(at, _)| at).take(most.saturating_sub(under_way)).collect()
    }

    /// When the next one may be sent; `None`: only what is under way, or nothing, is waited for.
    pub fn next_at_us(&self) -> Option<i64> {
        self.heads().filter(|(_, waiting)| !waiting.under_way).map(|(_, waiting)| waiting.next_at_us).min()
    }

    /// It is being sent.
    pub fn begin(&mut self, position: i64) {
        if let Some(waiting) = self.all.get_mut(&position) {
            waiting.under_way = true;
        }
    }

    /// It has to be sent again, not before `next_at_us`. Until then nothing else about its object is sent.
    pub fn again(&mut self, position: i64, next_at_us: i64) {
        if let Some(waiting) = self.all.get_mut(&position) {
            (waiting.under_way, waiting.next_at_us) = (false, next_at_us);
        }
    }

    /// It is done, for better or worse.
    pub fn end(&mut self, position: i64) {
        self.all.remove(&position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(objects: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for (at, object) in (1..).zip(objects) {
            queue.put(at, object, 0);
        }
        queue
    }

    #[test]
    fn of_each_object_the_oldest_alone_is_sent() {
        let mut queue = queue(&["a", "a", "b", "a", "c"]);
        assert_eq!(queue.due(0, 8), [1, 3, 5]);
        assert_eq!(queue.due(0, 2), [1, 3]);
        queue.begin(1);
        assert_eq!(queue.due(0, 8), [3, 5], "a waits for its first");
        assert_eq!(queue.due(0, 1), [0; 0], "one is under way");
        queue.end(1);
        assert_eq!(queue.due(0, 8), [2, 3, 5]);
    }

    #[test]
    fn what_fails_holds_up_its_object_alone() {
        let mut queue = queue(&["a", "b", "a"]);
        queue.begin(1);
        queue.again(1, 100);
        assert_eq!(queue.due(50, 8), [2]);
        assert_eq!(queue.next_at_us(), Some(0));
        queue.end(2);
        assert_eq!((queue.due(50, 8), queue.next_at_us()), (vec![], Some(100)));
        assert_eq!(queue.due(100, 8), [1]);
        queue.end(1);
        assert_eq!((queue.due(100, 8), queue.len()), (vec![3], 1));
        queue.begin(3);
        assert_eq!(queue.next_at_us(), None);
    }

    #[test]
    fn a_delivery_under_way_is_not_hurried() {
        let mut queue = queue(&["a"]);
        queue.begin(1);
        queue.put(1, "a", 5);
        assert!(queue.due(10, 8).is_empty());
        queue.again(1, 100);
        queue.put(1, "a", 5);
        assert_eq!(queue.due(10, 8), [1], "one that waits is");
    }

    proptest! {
        #[test]
        fn every_object_is_delivered_in_order(objects in proptest::collection::vec(0u8..4, 0..40), fails in proptest::collection::vec(any::<bool>(), 200)) {
            let mut queue = Queue::default();
            for (at, object) in (1..).zip(&objects) {
                queue.put(at, &object.to_string(), 0);
            }
            let (mut done, mut fails, mut now) = (Vec::new(), fails.into_iter(), 0);
            while queue.len() > 0 {
                let due = queue.due(now, 3);
                let distinct: BTreeSet<u8> = due.iter().map(|at| objects[*at as usize - 1]).collect();
                prop_assert_eq!(distinct.len(), due.len());
                due.iter().for_each(|at| queue.begin(*at));
                // the last of them is answered first
                for at in due.into_iter().rev() {
                    if fails.next().unwrap_or(false) {
                        queue.again(at, now + 2);
                    } else {
                        queue.end(at);
                        done.push(at);
                    }
                }
                now += 1;
            }
            for object in 0..4 {
                let own: Vec<i64> = done.iter().copied().filter(|at| objects[*at as usize - 1] == object).collect();
                prop_assert!(own.is_sorted());
            }
            prop_assert_eq!(done.len(), objects.len());
        }
    }
}
