//! The fold over the log. After each event everything it has seen so far is judged.

use super::disks::Disks;
use super::entry::{Entry, Fact};
use super::places::Places;
use super::violation::{Found, Violation};
use contracts::common::v1::{OperationProgress, OperationState};
use contracts::host_driver::v1::{VmObservation, VmPower};
use contracts::scheduler::v1::{Instance, InstancePhase};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Violations that are kept; one mistake tends to show itself in every later event.
const KEPT: usize = 1_000;

/// What the log says of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownInstance {
    pub revision: u64,
    generation: u64,
    phase: InstancePhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    state: OperationState,
    abandoned: bool,
}

/// Judges a log, event by event.
#[derive(Debug, Default)]
pub struct Checker {
    seen: HashSet<u128>,
    last: u64,
    events: u64,
    places: Places,
    pub(super) instances: HashMap<String, KnownInstance>,
    /// Newest revision of hosts and images.
    objects: HashMap<(&'static str, String), u64>,
    /// Newest revision of what a host says: about itself ("" as the instance) and about a VM.
    said: HashMap<(String, String), u64>,
    owners: HashMap<(String, u64), String>,
    /// Hosts that say they run an instance.
    runs: HashMap<String, Vec<String>>,
    ends: BTreeMap<String, End>,
    pub(super) disks: Disks,
    found: Vec<Found>,
    surplus: u64,
}

impl Checker {
    /// Takes one event in and judges. Events come in the order of the log.
    pub fn take(&mut self, entry: &Entry) {
        self.last = self.last.max(entry.sequence);
        if !self.seen.insert(entry.id) {
            return;
        }
        self.events += 1;
        let before = self.found.len();
        match Fact::read(entry) {
            Err(unreadable) => self.find(unreadable),
            Ok(fact) => self.judge(fact),
        }
        for found in &mut self.found[before..] {
            found.sequence = entry.sequence;
        }
    }

    /// Events judged, copies not counted.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Sequence of the last event.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What was found, in the order of the log; at most 1,000.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// How many more were found than are kept.
    pub fn surplus(&self) -> u64 {
        self.surplus
    }

    fn find(&mut self, what: Violation) {
        if self.found.len() < KEPT {
            self.found.push(Found::at(self.last, what));
        } else {
            self.surplus += 1;
        }
    }

    fn judge(&mut self, fact: Fact) {
        if let Some(host) = &fact.host {
            self.follows("host", &host.id, host.revision);
            self.places.host(host);
        }
        if let Some(image) = &fact.image {
            self.follows("image", &image.id, image.revision);
        }
        if let Some(instance) = &fact.instance {
            self.instance(instance);
        }
        if let Some((host, revision)) = fact.report {
            self.grows("report of host", host, String::new(), revision);
        }
        if let Some(order) = &fact.intended {
            let instance = order.spec.as_ref().map_or("", |spec| spec.instance_id.as_str());
            self.owned(instance, order.generation, &order.host_id);
            self.disks.intended(order);
        }
        if let Some(lost) = fact.quarantined.as_ref().and_then(|item| self.disks.quarantined(item)) {
            self.find(lost);
        }
        if let Some(observation) = &fact.observed {
            self.observed(observation);
        }
        for progress in &fact.operations {
            self.operation(progress, fact.abandoned);
        }
    }

    /// Revisions of one object: each exactly one after the one before.
    fn follows(&mut self, kind: &'static str, id: &str, got: u64) {
        let had = self.objects.entry((kind, id.to_owned())).or_default();
        let before = std::mem::replace(had, got.max(*had));
        self.step(|| format!("{kind} {id}"), before, got);
    }

    fn step(&mut self, object: impl FnOnce() -> String, had: u64, got: u64) {
        if got <= had {
            self.find(Violation::RevisionRepeated { object: object(), had, got });
        } else if got > had + 1 {
            self.find(Violation::RevisionGap { object: object(), had, got });
        }
    }

    /// Revisions that only have to grow: a host that lost its tables goes on above everything it ever said.
    fn grows(&mut self, what: &str, host: String, instance: String, got: u64) {
        let object = if instance.is_empty() {
            format!("{what} {host}")
        } else {
            format!("{what} {instance} on {host}")
        };
        let had = self.said.entry((host, instance)).or_default();
        if got <= *had {
            let had = *had;
            self.find(Violation::RevisionRepeated { object, had, got });
        } else {
            *had = got;
        }
    }

    fn instance(&mut self, now: &Instance) {
        let known = self.instances.get(&now.id).cloned();
        let had = known.as_ref().map_or(0, |known| known.revision);
        self.step(|| format!("instance {}", now.id), had, now.revision);
        if now.revision <= had {
            return;
        }
        if let Some(known) = &known {
            if now.generation < known.generation {
                let (had, got) = (known.generation, now.generation);
                self.find(Violation::GenerationWentBack { instance: now.id.clone(), had, got });
            }
            // its disks may be given back, under an ownership of its own
            let restored = now.generation > known.generation;
            if known.phase == InstancePhase::Deleted && now.phase() != InstancePhase::Deleted && !restored {
                self.find(Violation::CameBack { instance: now.id.clone(), phase: phase(now.phase()) });
            }
        }
        if !now.host_id.is_empty() {
            self.owned(&now.id, now.generation, &now.host_id);
        }
        for violation in self.places.instance(now) {
            self.find(violation);
        }
        let known = KnownInstance { revision: now.revision, generation: now.generation, phase: now.phase() };
        self.instances.insert(now.id.clone(), known);
    }

    fn owned(&mut self, instance: &str, generation: u64, host: &str) {
        let owner =
            self.owners.entry((instance.to_owned(), generation)).or_insert_with(|| host.to_owned()).clone();
        if owner != host {
            let hosts = [owner, host.to_owned()];
            self.find(Violation::TwoOwners { instance: instance.to_owned(), generation, hosts });
        }
    }

    fn observed(&mut self, seen: &VmObservation) {
        let (host, instance) = (seen.host_id.clone(), seen.instance_id.clone());
        self.grows("observation of", host.clone(), instance.clone(), seen.revision);
        if let Some(lost) = self.disks.observed(seen) {
            self.find(lost);
        }
        // nobody looked: it is where it was
        if seen.power() == VmPower::Unknown {
            return;
        }
        let running = matches!(seen.power(), VmPower::Running | VmPower::Paused);
        let hosts = self.runs.entry(instance.clone()).or_default();
        hosts.retain(|other| *other != host);
        if running {
            let other = hosts.first().cloned();
            hosts.push(host.clone());
            if let Some(other) = other {
                self.find(Violation::RunsTwice { instance, hosts: [other, host] });
            }
        }
    }

    fn operation(&mut self, progress: &OperationProgress, abandoned: bool) {
        let state = progress.state();
        let ends =
            matches!(state, OperationState::Succeeded | OperationState::Failed | OperationState::Superseded);
        if !ends || progress.operation_id.is_empty() {
            return;
        }
        let end = End { state, abandoned };
        match self.ends.get(&progress.operation_id).copied() {
            None => drop(self.ends.insert(progress.operation_id.clone(), end)),
            // the gateway stopped waiting, and the answer came after all
            Some(first) if first.abandoned || abandoned => {}
            Some(first) => self.find(Violation::EndedTwice {
                operation: progress.operation_id.clone(),
                first: word(first.state),
                second: word(state),
            }),
        }
    }
}

fn word(state: OperationState) -> String {
    state.as_str_name().trim_start_matches("OPERATION_STATE_").to_lowercase()
}

pub(super) fn phase(phase: InstancePhase) -> String {
    phase.as_str_name().trim_start_matches("INSTANCE_PHASE_").to_lowercase()
}
