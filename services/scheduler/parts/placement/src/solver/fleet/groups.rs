//! Which groups have members on which hosts, and how many of them each host bears.

use crate::solver::rows::GroupKey;
use std::collections::{BTreeMap, HashMap};

/// Members of groups: by group, by host, the most that each member bears there, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Groups(HashMap<GroupKey, BTreeMap<u32, Vec<u32>>>);

impl Groups {
    pub fn join(&mut self, group: &GroupKey, host: u32, bears: u32) {
        let members = self.0.entry(group.clone()).or_default().entry(host).or_default();
        members.insert(members.partition_point(|other| *other <= bears), bears);
    }

    pub fn leave(&mut self, group: &GroupKey, host: u32, bears: u32) {
        let Some(hosts) = self.0.get_mut(group) else { return };
        if let Some(members) = hosts.get_mut(&host) {
            if let Ok(place) = members.binary_search(&bears) {
                members.remove(place);
            }
            if members.is_empty() {
                hosts.remove(&host);
            }
        }
        if hosts.is_empty() {
            self.0.remove(group);
        }
    }

    /// Hosts with a member, ascending.
    pub fn hosts(&self, group: &GroupKey) -> Vec<u32> {
        self.0.get(group).map(|hosts| hosts.keys().copied().collect()).unwrap_or_default()
    }

    /// Members on a host.
    pub fn members(&self, group: &GroupKey, host: u32) -> usize {
        self.0.get(group).and_then(|hosts| hosts.get(&host)).map_or(0, Vec::len)
    }

    /// Hosts that bear no further member, ascending: it would be one too many for it or for one that is there.
    pub fn full(&self, group: &GroupKey, bears: u32) -> Vec<u32> {
        let Some(hosts) = self.0.get(group) else { return Vec::new() };
        let is_full = |members: &Vec<u32>| {
            let least = members.first().copied().unwrap_or(u32::MAX).min(bears);
            u32::try_from(members.len()).map_or(true, |count| count >= least)
        };
        hosts.iter().filter(|(_, members)| is_full(members)).map(|(host, _)| *host).collect()
    }

    /// Hosts from `first` on have moved up by one place.
    pub fn shift(&mut self, first: u32) {
        for hosts in self.0.values_mut() {
            let moved = hosts.split_off(&first);
            hosts.extend(moved.into_iter().map(|(host, members)| (host + 1, members)));
        }
    }

    /// Hosts from `first` on have moved down by one place; nobody is at `first` any more.
    pub fn close_up(&mut self, first: u32) {
        for hosts in self.0.values_mut() {
            let moved = hosts.split_off(&first);
            hosts.extend(moved.into_iter().map(|(host, members)| (host.saturating_sub(1), members)));
        }
    }
}
