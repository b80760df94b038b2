//! An image, whole.

use super::artifact::{Artifact, Source};
use super::kernel_file::Architecture;
use kernel::{ImageId, Refusal, Timestamp};

/// Where an image is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its files are being fetched and verified.
    Importing,
    /// Instances can boot from it.
    Ready,
    /// It was not taken. Nothing of it is kept.
    Rejected,
    /// No new instance may use it; its files are about to be removed.
    Deleting,
    /// It is gone.
    Deleted,
}

impl Phase {
    /// The word in tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Importing => "importing",
            Self::Ready => "ready",
            Self::Rejected => "rejected",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }

    /// All phases, in the order of life.
    pub const ALL: [Phase; 5] = [Self::Importing, Self::Ready, Self::Rejected, Self::Deleting, Self::Deleted];
}

/// What a caller asked for, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Made by the caller's side.
    pub id: ImageId,
    /// Whose it is.
    pub tenant: String,
    /// Unique among the tenant's images that are importing, ready or deleting.
    pub name: String,
    /// At least one, at most one of each role.
    pub sources: Vec<Source>,
    /// The processor it is for.
    pub architecture: Architecture,
    /// For direct boot.
    pub kernel_cmdline: String,
    /// The guest carries qemu-guest-agent.
    pub guest_agent: bool,
    /// The operation that waits for the import.
    pub operation_id: String,
}

/// An image, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Whose it is.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// Grows by one with each event about it.
    pub revision: u64,
    /// Where it is in its life.
    pub phase: Phase,
    /// What was asked for.
    pub sources: Vec<Source>,
    /// What was taken in; empty until it is ready.
    pub artifacts: Vec<Artifact>,
    /// The processor it is for.
    pub architecture: Architecture,
    /// For direct boot.
    pub kernel_cmdline: String,
    /// The guest carries qemu-guest-agent.
    pub guest_agent: bool,
    /// Why it was rejected.
    pub refusal: Option<Refusal>,
    /// The operation that imports or deletes it, while that is going on.
    pub operation_id: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its newest event was said.
    pub updated_at: Timestamp,
}

impl Image {
    /// Bytes an instance's disk needs at least: 0 when the image has no disk.
    pub fn min_disk_bytes(&self) -> u64 {
        self.artifacts.iter().filter_map(|a| a.disk).map(|d| d.virtual_size).max().unwrap_or(0)
    }
}
