//! Which hosts have a label.

use crate::domain::solver::request::Request;
use crate::domain::solver::rows::HostRow;
use std::collections::{BTreeMap, HashMap};

/// By key, by value: the hosts with it, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct LabelHosts(HashMap<String, HashMap<String, Vec<u32>>>);

impl LabelHosts {
    pub fn of(rows: &[HostRow]) -> Self {
        let mut all: HashMap<String, HashMap<String, Vec<u32>>> = HashMap::new();
        for (host, row) in (0..).zip(rows) {
            for (key, value) in &row.labels {
                all.entry(key.clone()).or_default().entry(value.clone()).or_default().push(host);
            }
        }
        Self(all)
    }

    /// The hosts with the rarest of the labels: no other host has all of them.
    pub fn fewest(&self, labels: &BTreeMap<String, String>) -> Option<&[u32]> {
        labels.iter().map(|label| self.hosts(label)).min_by_key(|hosts| hosts.len())
    }

    /// Tells of every one of `count` hosts that lacks a required label or has one that is to be avoided.
    pub fn wrong(&self, count: usize, request: &Request, found: &mut impl FnMut(usize)) {
        if !request.require.is_empty() {
            let mut there = vec![0_usize; count];
            for label in &request.require {
                self.hosts(label).iter().for_each(|host| there[*host as usize] += 1);
            }
            let wanted = request.require.len();
            (0..count).filter(|host| there[*host] < wanted).for_each(&mut *found);
        }
        for label in &request.avoid {
            self.hosts(label).iter().for_each(|host| found(*host as usize));
        }
    }

    fn hosts(&self, (key, value): (&String, &String)) -> &[u32] {
        self.0.get(key).and_then(|values| values.get(value)).map_or(&[], Vec::as_slice)
    }
}
