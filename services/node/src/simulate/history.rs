//! What happened to each instance, taken from the event log alone.

use super::drive::{Driven, Plan, second_of};
use super::rows::Workload;
use bus::Envelope;
use contracts::common::v1::Refusal;
use contracts::scheduler::v1::{Instance, InstanceChanged, InstancePhase, InstanceRefused};
use kernel::Message as _;
use prost::Message;
use std::collections::HashMap;

/// CPUs in thousandths, memory and disk in bytes, GPUs in thousandths.
pub type Amounts = [u64; 4];

/// What an instance holds on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Id of the host.
    pub host: String,
    /// Of each resource.
    pub amounts: Amounts,
    /// Which GPUs.
    pub gpus: Vec<u32>,
    /// Thousandths of each of them.
    pub gpu_milli: u64,
}

/// A reservation came or went.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Seconds of virtual time.
    pub at_s: f64,
    /// Index of the instance.
    pub instance: usize,
    /// It came; otherwise it went.
    pub comes: bool,
    /// What came or went.
    pub held: Held,
}

/// One instance from its request to its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Life {
    /// Second of its request.
    pub asked_s: f64,
    /// It was accepted.
    pub accepted: bool,
    /// Second of its first placement.
    pub placed_s: Option<f64>,
    /// Name of its last host.
    pub host: String,
    /// Second of its end.
    pub deleted_s: Option<f64>,
    /// Why it was refused, or why it waited last.
    pub refusal: Option<Refusal>,
    /// It was refused.
    pub refused: bool,
}

/// The lives of all instances.
pub struct History {
    /// By index of the instance.
    pub lives: Vec<Life>,
    /// Reservations, in the order of the log.
    pub changes: Vec<Change>,
    ids: HashMap<String, usize>,
    held: HashMap<usize, Held>,
}

impl History {
    /// Nothing has happened yet but what the gateway refused.
    pub fn new(workload: &Workload, plan: &Plan, driven: &Driven) -> Self {
        let mut lives = vec![Life::default(); workload.instances.len()];
        for (second, moment) in &plan.moments {
            for index in &moment.creates {
                lives[*index].asked_s = *second as f64;
            }
        }
        for (index, reason) in &driven.refused {
            lives[*index].refused = true;
            let message = reason.clone();
            lives[*index].refusal =
                Some(Refusal { code: "INVALID_REQUEST".to_owned(), message, ..Refusal::default() });
        }
        Self { lives, changes: Vec::new(), ids: driven.ids.clone(), held: HashMap::new() }
    }

    /// Takes one event in. What cannot be read is the checker's to tell.
    pub fn take(&mut self, envelope: &Envelope) {
        if envelope.subject.service != InstanceChanged::SERVICE
            || !envelope.subject.name.starts_with("Instance")
        {
            return;
        }
        let bytes = envelope.payload.clone();
        if envelope.subject.name == "InstanceRefused" {
            let refused = InstanceRefused::decode(bytes).ok().and_then(|event| event.instance);
            if let Some(instance) = refused
                && let Some(index) = self.ids.get(&instance.id)
            {
                (self.lives[*index].refused, self.lives[*index].refusal) = (true, instance.refusal);
            }
        } else if let Some(instance) = InstanceChanged::decode(bytes).ok().and_then(|event| event.instance) {
            self.instance(instance);
        }
    }

    fn instance(&mut self, now: Instance) {
        let Some(index) = self.ids.get(&now.id).copied() else { return };
        let (life, at_s) = (&mut self.lives[index], second_of(now.updated_at_us));
        life.accepted = true;
        if now.phase() == InstancePhase::Pending && now.refusal.is_some() {
            life.refusal.clone_from(&now.refusal);
        }
        if now.phase() == InstancePhase::Deleted {
            life.deleted_s = Some(at_s);
        }
        let lives = !now.host_id.is_empty() && now.phase() != InstancePhase::Deleted;
        let wanted = lives.then(|| held(&now));
        if self.held.get(&index) == wanted.as_ref() {
            return;
        }
        let mut change = |comes, held| self.changes.push(Change { at_s, instance: index, comes, held });
        if let Some(held) = self.held.remove(&index) {
            change(false, held);
        }
        if let Some(held) = wanted {
            change(true, held.clone());
            life.host.clone_from(&now.host_name);
            life.placed_s.get_or_insert(at_s);
            self.held.insert(index, held);
        }
    }
}

fn held(instance: &Instance) -> Held {
    let spec = instance.spec.clone().unwrap_or_default();
    let resources = spec.resources.unwrap_or_default();
    let gpu_milli = if spec.gpu_milli == 0 { 1000 } else { u64::from(spec.gpu_milli) };
    Held {
        host: instance.host_id.clone(),
        amounts: [
            resources.vcpus_milli,
            resources.memory_bytes,
            resources.disk_bytes,
            instance.gpu_indexes.len() as u64 * gpu_milli,
        ],
        gpus: instance.gpu_indexes.clone(),
        gpu_milli,
    }
}
