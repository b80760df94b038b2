//! The files of a VM.

pub(crate) mod about;
mod local;
mod quarantine;
mod seed;

pub use local::LocalDisks;
pub use seed::Seed;

use super::fault::Fault;
use async_trait::async_trait;
use host_driver_domain::machine::Paths;
use host_driver_domain::{Condition, DropReason, Files, QuarantineReason, Quarantined, VmSpec};
use kernel::{Bytes, InstanceId, QuarantineId, Timestamp};
use std::collections::BTreeSet;

/// Makes, finds and removes the files of VMs. Every operation is idempotent and survives a kill at any line.
#[async_trait]
pub trait Disks: Send + Sync + 'static {
    /// What was made stays until it is removed, whatever happens to this process: when it is gone, it was lost.
    fn durable(&self) -> bool;
    /// Where the files of a VM are, or will be.
    fn paths(&self, spec: &VmSpec) -> Paths;
    /// What is there.
    async fn observe(&self, spec: &VmSpec) -> Result<Files, Fault>;
    /// Brings the image's files into the cache and verifies them.
    async fn fetch(&self, spec: &VmSpec) -> Result<(), Fault>;
    /// Makes the disks. `user_data` is the opened secret.
    async fn prepare(&self, spec: &VmSpec, generation: u64, user_data: Option<&[u8]>) -> Result<(), Fault>;
    /// Whether there is anything of the VM.
    async fn holds(&self, instance: InstanceId) -> Result<bool, Fault>;
    /// Whether a VM ever ran on the files that are there, or may have.
    async fn has_run(&self, instance: InstanceId) -> Result<bool, Fault>;
    /// Notes, before it is started, that a VM is about to run on its files. Outlives a crash of the host. Answers
    /// whether this is the first time.
    async fn note_run(&self, instance: InstanceId) -> Result<bool, Fault>;
    /// Takes back what [`Disks::note_run`] noted: the hypervisor said that it did not run.
    async fn forget_run(&self, instance: InstanceId) -> Result<(), Fault>;
    /// Puts the VM's files aside, out of reach of any VM. `None`: there were none.
    async fn quarantine(&self, put: &PutAside) -> Result<Option<Quarantined>, Fault>;
    /// Makes quarantined files the VM's own again, for this generation.
    async fn take_back(&self, id: QuarantineId, instance: InstanceId, generation: u64) -> Result<(), Fault>;
    /// Everything that is in quarantine, what is being removed included.
    async fn quarantined(&self) -> Result<InQuarantine, Fault>;
    /// Notes that quarantined files are to be removed for good. From here on they are not given back.
    async fn condemn(&self, id: QuarantineId, reason: DropReason) -> Result<(), Fault>;
    /// Removes quarantined files that were condemned.
    async fn drop_quarantined(&self, id: QuarantineId) -> Result<(), Fault>;
    /// Removes the VM's files.
    async fn remove(&self, instance: InstanceId) -> Result<(), Fault>;
    /// What keeps the host's disk or its images from being used, as it is now.
    async fn conditions(&self) -> Vec<Condition>;
    /// Removes cached image files that none of these digests names and that are not brand-new.
    async fn evict_except(&self, in_use: &BTreeSet<String>, now: Timestamp) -> Result<usize, Fault>;
    /// Room for disks, all of it.
    async fn capacity(&self) -> Result<Bytes, Fault>;
}

/// What lies in quarantine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InQuarantine {
    /// Oldest first.
    pub items: Vec<Quarantined>,
    /// What is there and does not say what it is, by its id: neither gone nor anybody's to remove.
    pub unreadable: Vec<QuarantineId>,
}

/// What is put aside, and why.
#[derive(Debug, Clone)]
pub struct PutAside {
    /// Whose files.
    pub instance: InstanceId,
    /// Whose it is.
    pub tenant: String,
    /// The name its owner gave it.
    pub name: String,
    /// Of the order that is followed; the files' own is taken where they say it.
    pub generation: u64,
    /// SHA-256 of the image files that the disk is an overlay of.
    pub images: Vec<String>,
    /// Why.
    pub reason: QuarantineReason,
    /// When.
    pub at: Timestamp,
}

impl PutAside {
    /// As it lies in quarantine from now on.
    pub fn item(&self, id: QuarantineId, made_for: Option<u64>, size: Bytes) -> Quarantined {
        Quarantined {
            id,
            instance: self.instance,
            tenant: self.tenant.clone(),
            name: self.name.clone(),
            generation: made_for.unwrap_or(self.generation),
            reason: self.reason,
            at: self.at,
            size,
            images: self.images.clone(),
            dropping: None,
        }
    }
}
