//! What goes wrong, and when.

use crate::fault::Fault;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Faults by chance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultSettings {
    /// Where chance comes from.
    pub seed: u64,
    /// Share of operations that fail without having happened, 0 to 1; by operation: {"start": 0.1}. "*" = any other.
    pub failures: HashMap<String, f64>,
    /// Share of operations that happen and yet are reported as lost, 0 to 1; by operation.
    pub lost_replies: HashMap<String, f64>,
}

impl Default for FaultSettings {
    fn default() -> Self {
        Self { seed: 1, failures: HashMap::new(), lost_replies: HashMap::new() }
    }
}

/// Whether the operation happens before the fault is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It does not happen.
    Before,
    /// It happens and the reply is lost.
    After,
}

/// Faults by chance and by script.
pub struct Faults {
    settings: FaultSettings,
    chance: SmallRng,
    calls: HashMap<String, u64>,
    scripted: Vec<(String, u64, When, Fault)>,
}

impl Faults {
    /// Faults by chance alone.
    pub fn new(settings: FaultSettings) -> Self {
        let chance = SmallRng::seed_from_u64(settings.seed);
        Self { settings, chance, calls: HashMap::new(), scripted: Vec::new() }
    }

    /// The `nth` call of `operation` from now (1 = the next) fails.
    pub fn script(&mut self, operation: &str, nth: u64, when: When, fault: Fault) {
        let call = self.calls(operation) + nth;
        self.scripted.push((operation.to_owned(), call, when, fault));
    }

    /// How often `operation` was called.
    pub fn calls(&self, operation: &str) -> u64 {
        self.calls.get(operation).copied().unwrap_or(0)
    }

    /// Counts a call and decides what becomes of it.
    pub fn next(&mut self, operation: &str) -> Option<(When, Fault)> {
        let call = self.calls.entry(operation.to_owned()).or_default();
        *call += 1;
        let call = *call;
        if let Some(at) = self.scripted.iter().position(|(name, nth, ..)| name == operation && *nth == call) {
            let (_, _, when, fault) = self.scripted.swap_remove(at);
            return Some((when, fault));
        }
        let share =
            |of: &HashMap<String, f64>| of.get(operation).or_else(|| of.get("*")).copied().unwrap_or(0.0);
        let (failing, losing) = (share(&self.settings.failures), share(&self.settings.lost_replies));
        if failing > 0.0 && self.chance.random::<f64>() < failing {
            return Some((When::Before, Fault::Failed(format!("simulated failure of {operation}"))));
        }
        if losing > 0.0 && self.chance.random::<f64>() < losing {
            return Some((
                When::After,
                Fault::Unavailable(format!("simulated loss of the reply to {operation}")),
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripted_fault_comes_once_at_its_call() {
        let mut faults = Faults::new(FaultSettings::default());
        faults.script("start", 2, When::After, Fault::NotFound);
        let seen: Vec<bool> = (0..4).map(|_| faults.next("start").is_some()).collect();
        assert_eq!(seen, [false, true, false, false]);
        assert_eq!(faults.next("stop"), None);
    }

    #[test]
    fn chance_repeats_itself() {
        let settings = FaultSettings { failures: [("*".to_owned(), 0.3)].into(), ..FaultSettings::default() };
        let run = || {
            let mut faults = Faults::new(settings.clone());
            (0..200).map(|_| faults.next("start").is_some()).collect::<Vec<_>>()
        };
        let first = run();
        assert_eq!(first, run());
        let failed = first.iter().filter(|f| **f).count();
        assert!((30..100).contains(&failed), "{failed} of 200");
    }
}
