//! Which hosts have a label.

use crate::solver::request::Request;
use crate::solver::rows::HostRow;
use std::collections::{BTreeMap, HashMap};

/// By key, by value: the hosts with it, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct LabelHosts {
    by_value: HashMap<String, HashMap<String, Hosts>>,
    /// By host: one bit for each of the labels that many hosts have.
    pub bits: Vec<u32>,
}

#[derive(Debug, Clone, Default)]
struct Hosts {
    all: Vec<u32>,
    bit: u32,
}

/// One in so many hosts has a label, or fewer: then these are looked at one by one.
pub(super) const FEW: usize = 8;

impl LabelHosts {
    pub fn of(rows: &[HostRow]) -> Self {
        let mut by_value: HashMap<String, HashMap<String, Hosts>> = HashMap::new();
        for (host, row) in (0..).zip(rows) {
            for (key, value) in &row.labels {
                let values = by_value.entry(key.clone()).or_default();
                values.entry(value.clone()).or_default().all.push(host);
            }
        }
        let mut bits = vec![0; rows.len()];
        let many =
            by_value.values_mut().flat_map(HashMap::values_mut).filter(|h| h.all.len() > rows.len() / FEW);
        // should there be more of them than bits, the others are looked up by name
        for (hosts, number) in many.zip(0..u32::BITS) {
            hosts.bit = 1 << number;
            hosts.all.iter().for_each(|host| bits[*host as usize] |= hosts.bit);
        }
        Self { by_value, bits }
    }

    /// The bits that a host has that is right for the request, and those that it has not. None: bits do not tell.
    pub fn asked(&self, request: &Request) -> Option<[u32; 2]> {
        let mut asked = [0; 2];
        for label in &request.require {
            asked[0] |= self.known(label).map(|hosts| hosts.bit).filter(|bit| *bit > 0)?;
        }
        for label in &request.avoid {
            // nobody has a label that is not known
            let Some(hosts) = self.known(label) else { continue };
            asked[1] |= Some(hosts.bit).filter(|bit| *bit > 0)?;
        }
        Some(asked)
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

    fn hosts(&self, label: (&String, &String)) -> &[u32] {
        self.known(label).map_or(&[], |hosts| hosts.all.as_slice())
    }

    fn known(&self, (key, value): (&String, &String)) -> Option<&Hosts> {
        self.by_value.get(key).and_then(|values| values.get(value))
    }
}
