//! Finds the best hosts without looking at all of them. Hosts of one kind of machine are a [`Class`]: what a request takes
//! of them is worked out once for all, and a tree over them tells of whole parts that none of their hosts would do or
//! score higher.
//!
//! The index decides only what need not be looked at. It stays true when a host changes, because the bounds above the
//! host are made anew; it becomes less sharp as hosts drift apart, and is made anew after as many changes as there
//! are hosts.

use super::best::Best;
use super::class::{Class, Likeness};
use super::demand::{Demand, Machine};
use super::fleet::{Fleet, KINDS};
use super::request::Prepared;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Classes at most, or twice as many: kinds of machine that are rarer share one with those that are next to them.
const MOST_CLASSES: usize = 128;

/// All hosts, class by class.
#[derive(Debug, Clone)]
pub(super) struct Index {
    classes: Vec<Class>,
    /// Class and place in it of each host.
    places: Vec<(u32, u32)>,
    changes: usize,
}

impl Index {
    pub fn new(fleet: &Fleet) -> Self {
        let likeness = Likeness::of(fleet);
        let classes = together(by_machine(fleet), fleet.len());
        let classes: Vec<Class> =
            classes.into_iter().map(|hosts| Class::new(fleet, &likeness, hosts)).collect();
        let mut places = vec![(0, 0); fleet.len()];
        for (number, class) in (0..).zip(&classes) {
            for (place, slot) in (0..).zip(class.slots()) {
                places[slot.host as usize] = (number, place);
            }
        }
        Self { classes, places, changes: 0 }
    }

    /// A host is no longer what it was; its kind of machine is. Answers whether the trees have become too blunt.
    pub fn changed(&mut self, fleet: &Fleet, host: usize) -> bool {
        let (class, place) = self.places[host];
        self.classes[class as usize].changed(fleet, place as usize);
        self.changes += 1;
        self.changes > self.places.len().max(1024)
    }

    /// The sums of what the classes let pass: labels, GPUs, room.
    pub fn pass(&self, fleet: &Fleet, prepared: &Prepared<'_>, asked: [u32; KINDS]) -> [usize; 3] {
        self.classes.iter().fold([0; 3], |sum, class| {
            let passed = class.pass(fleet, prepared, asked);
            [0, 1, 2].map(|place: usize| sum[place] + passed[place])
        })
    }

    /// Offers all hosts that could be among the best.
    pub fn search(&self, fleet: &Fleet, prepared: &Prepared<'_>, best: &mut Best) {
        // classes that differ by labels alone are neighbours: what is taken of one is taken of the next
        let mut demands: Vec<(&Machine, Demand)> = Vec::new();
        let mut promising = Vec::with_capacity(self.classes.len());
        for class in &self.classes {
            let machine = class.machine();
            if !machine.could_do(prepared) {
                continue;
            }
            if !demands.last().is_some_and(|(known, _)| known.is_as_large_as(machine)) {
                demands.push((machine, Demand::of(prepared, machine)));
            }
            let number = demands.len() - 1;
            if let Some((score, first)) = class.bound(&demands[number].1, 1) {
                promising.push(((score, Reverse(first)), class, number));
            }
        }
        // few of them are looked into: the best is looked for as often
        while let Some(place) = (0..promising.len()).max_by_key(|place| promising[*place].0) {
            let ((score, Reverse(first)), class, number) = promising.swap_remove(place);
            if !best.could_take(score, first) {
                break;
            }
            class.search(fleet, prepared, &demands[number].1, best, 1);
        }
    }

    #[cfg(test)]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }
}

/// The hosts of each kind of machine, kinds that are alike next to each other.
fn by_machine(fleet: &Fleet) -> Vec<Vec<u32>> {
    let mut kinds: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for (host, number) in (0..fleet.len()).zip(0..) {
        let limits = [0, 1, 2].map(|kind: usize| fleet.reciprocal[kind][host]);
        let is = (fleet.gpus.count[host], fleet.architecture[host], fleet.traits[host]);
        kinds.entry((is, limits, fleet.labels_of(host))).or_default().push(number);
    }
    kinds.into_values().collect()
}

/// As many classes as there may be.
fn together(kinds: Vec<Vec<u32>>, hosts: usize) -> Vec<Vec<u32>> {
    if kinds.len() <= MOST_CLASSES {
        return kinds;
    }
    let enough = hosts.div_ceil(MOST_CLASSES);
    let mut classes: Vec<Vec<u32>> = Vec::new();
    for kind in kinds {
        match classes.last_mut().filter(|last| last.len() + kind.len() <= enough) {
            Some(last) => last.extend(kind),
            None => classes.push(kind),
        }
    }
    classes
}
