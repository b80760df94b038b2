//! The files of a VM.

mod local;
mod seed;

pub use local::LocalDisks;
pub use seed::Seed;

use super::fault::Fault;
use crate::domain::machine::Paths;
use crate::domain::{Files, VmSpec};
use async_trait::async_trait;
use kernel::{Bytes, InstanceId, Timestamp};
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
    /// Puts the VM's files aside, out of reach of any VM.
    async fn quarantine(&self, instance: InstanceId) -> Result<(), Fault>;
    /// Removes the VM's files.
    async fn remove(&self, instance: InstanceId) -> Result<(), Fault>;
    /// Removes cached image files that none of these digests names and that are not brand-new.
    async fn evict_except(&self, in_use: &BTreeSet<String>, now: Timestamp) -> Result<usize, Fault>;
    /// Room for disks, all of it.
    async fn capacity(&self) -> Result<Bytes, Fault>;
}
