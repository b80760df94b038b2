//! An instance as the scheduler knows it.

use super::host::Driver;
use super::resources::{Gpus, Resources};
use kernel::{HostId, InstanceId, OperationId, QuarantineId, Refusal, Timestamp};
use std::collections::BTreeMap;

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No host yet; the refusal says why it waits.
    Pending,
    /// A host is decided and reserved, or boots it again.
    Starting,
    /// The hypervisor runs it; the guest has not answered.
    Running,
    /// The guest agent answered.
    Ready,
    /// Being shut down.
    Stopping,
    /// Shut down; its disks remain.
    Stopped,
    /// Its CPUs are frozen.
    Paused,
    /// Being removed from its host.
    Deleting,
    /// Gone. Final.
    Deleted,
    /// Cannot be started; the refusal says why.
    Failed,
    /// Being cleaned off a host that could not start it.
    Relocating,
}

/// Why a VM is not as it was ordered to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VmReason {
    /// It is held: its host had no room for what the guest wrote.
    IoError,
    /// The guest suspended itself.
    GuestSuspended,
    /// Somebody with access to the hypervisor paused it.
    PausedByHand,
    /// The hypervisor holds it while it works with it.
    HypervisorBusy,
    /// The guest shut itself down.
    GuestShutDown,
    /// The guest crashed, or the hypervisor under it.
    GuestCrashed,
    /// Somebody took its power, or its host went down.
    PowerTaken,
}

/// A VM that is not as ordered, as its host saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unordered {
    /// Why.
    pub reason: VmReason,
    /// The same in the hypervisor's own words.
    pub words: String,
}

/// What the instance should come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Desired {
    /// Up.
    Running,
    /// Shut down.
    Stopped,
    /// Frozen.
    Paused,
    /// Gone.
    Absent,
}

/// When a guest that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    /// Whatever the end.
    Always,
    /// When it crashed or was killed.
    OnFailure,
    /// Not at all.
    Never,
}

/// Which of the hosts with room is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Fill hosts up, keep others free.
    Pack,
    /// Keep load even.
    Spread,
}

/// Ciphertext the scheduler carries and cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key.
    pub key_id: String,
    /// 24 bytes.
    pub nonce: Vec<u8>,
    /// The secret.
    pub ciphertext: Vec<u8>,
}

/// What the user asked for. Fixed at creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Image to boot.
    pub image_id: String,
    /// Its name when the request was made.
    pub image_name: String,
    /// Empty when sizes were given one by one.
    pub flavor_name: String,
    /// What it takes from a host.
    pub resources: Resources,
    /// The guest's own name.
    pub hostname: String,
    /// authorized_keys lines.
    pub ssh_authorized_keys: Vec<String>,
    /// cloud-config or script.
    pub user_data: Option<Sealed>,
    /// The user's own labels.
    pub labels: BTreeMap<String, String>,
    /// None: any driver that can boot the image.
    pub driver: Option<Driver>,
    /// Host labels that must be there.
    pub require_host_labels: BTreeMap<String, String>,
    /// Host labels that must not be there.
    pub avoid_host_labels: BTreeMap<String, String>,
    /// Members share a host; empty: none.
    pub affinity_group: String,
    /// At most `max_per_host` members share a host; empty: none.
    pub anti_affinity_group: String,
    /// 0 = 1: members never share a host.
    pub max_per_host: u32,
    /// GPUs of its host.
    pub gpus: Gpus,
    /// When a guest that ended is started again.
    pub restart_policy: RestartPolicy,
    /// Which host is best.
    pub policy: Policy,
}

/// What an artifact of an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A disk to copy.
    Disk,
    /// A kernel to boot directly.
    Kernel,
    /// Its initial file system.
    Initramfs,
}

/// How the bytes of a disk are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// Sector after sector.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

/// One content-addressed file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it is for.
    pub role: Role,
    /// 64 hex digits.
    pub sha256: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Of disks only.
    pub format: Option<DiskFormat>,
    /// Bytes the guest sees, of disks only.
    pub virtual_size_bytes: u64,
}

/// What the image needs to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Its files.
    pub artifacts: Vec<Artifact>,
    /// For direct kernel boot.
    pub kernel_cmdline: String,
    /// The image carries qemu-guest-agent: ready means that it answered.
    pub guest_agent: bool,
    /// "x86_64", "aarch64"; empty: any.
    pub architecture: String,
}

impl Boot {
    /// The image brings its own kernel, to be booted directly.
    pub fn direct_kernel(&self) -> bool {
        self.artifacts.iter().any(|artifact| artifact.role == Role::Kernel)
    }
}

/// What an unfinished operation is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// Be up for the first time.
    Create,
    /// Be up.
    Start,
    /// Be shut down.
    Stop,
    /// Be up again after a restart.
    Reboot,
    /// Be frozen.
    Pause,
    /// Go on.
    Resume,
    /// Be gone.
    Delete,
    /// Be there again with disks that were put aside, stopped.
    Restore,
}

impl OperationKind {
    /// The request in words: "start".
    pub fn verb(self) -> &'static str {
        match self {
            OperationKind::Create => "create",
            OperationKind::Start => "start",
            OperationKind::Stop => "stop",
            OperationKind::Reboot => "reboot",
            OperationKind::Pause => "pause",
            OperationKind::Resume => "resume",
            OperationKind::Delete => "delete",
            OperationKind::Restore => "restore",
        }
    }
}

/// The operation an instance is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Which.
    pub id: OperationId,
    /// What it waits for.
    pub kind: OperationKind,
    /// Past it the operation is failed; the work goes on.
    pub deadline: Timestamp,
}

/// A named moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// "accepted", "placed", "disks", "ready".
    pub name: String,
    /// When.
    pub at: Timestamp,
}

/// The host an instance has a reservation on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The host.
    pub host: HostId,
    /// Its name when it was chosen.
    pub host_name: String,
    /// The driver that runs it there.
    pub driver: Driver,
    /// Which of the host's GPUs it holds, counted from 0.
    pub gpu_indexes: Vec<u32>,
}

/// An instance, whole. `revision` grows by one with each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Whose it is.
    pub tenant: String,
    /// Unique among the tenant's instances that are not deleted.
    pub name: String,
    /// Grows by one with each change; 0 = not yet accepted.
    pub revision: u64,
    /// What was asked for.
    pub spec: Spec,
    /// What its image needs.
    pub boot: Boot,
    /// Where it is in its life.
    pub phase: Phase,
    /// What it should come to.
    pub desired: Desired,
    /// Where it is. A deleted instance keeps it, for the record; its reservation is gone.
    pub placement: Option<Placement>,
    /// Ownership of the VM on a host: grows with each placement.
    pub generation: u64,
    /// Grows with each change of what the host should do.
    pub intent_revision: u64,
    /// Reboots asked for since it was placed.
    pub reboot_counter: u64,
    /// What it is busy with.
    pub operation: Option<Operation>,
    /// Why it waits, or failed.
    pub refusal: Option<Refusal>,
    /// Addresses the guest has.
    pub addresses: Vec<String>,
    /// What happened since the last request, with the time of each.
    pub steps: Vec<Step>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Hosts on which a first start failed.
    pub failed_hosts: Vec<HostId>,
    /// Newest observation taken into account.
    pub observation_revision: u64,
    /// Seconds a guest gets to shut down, by the newest order to its host; each order has its own.
    pub stop_grace_s: u32,
    /// The hypervisor of its host ran it, or may have: its local disk holds data, so it is never moved by itself.
    pub has_booted: bool,
    /// Quarantined files that its host is to make its disks again.
    pub restoring: Option<QuarantineId>,
    /// The newest intent that its host was seen to follow.
    pub confirmed_intent: u64,
    /// Its VM was last seen not to be as ordered.
    pub unordered: Option<Unordered>,
}

/// What a new instance is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its id.
    pub id: InstanceId,
    /// Whose it is.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// What was asked for.
    pub spec: Spec,
    /// What its image needs.
    pub boot: Boot,
}

impl Instance {
    /// An instance nobody has accepted yet (revision 0).
    pub fn draft(draft: Draft, now: Timestamp) -> Self {
        Self {
            id: draft.id,
            tenant: draft.tenant,
            name: draft.name,
            revision: 0,
            spec: draft.spec,
            boot: draft.boot,
            phase: Phase::Pending,
            desired: Desired::Running,
            placement: None,
            generation: 0,
            intent_revision: 0,
            reboot_counter: 0,
            operation: None,
            refusal: None,
            addresses: Vec::new(),
            steps: Vec::new(),
            created_at: now,
            updated_at: now,
            failed_hosts: Vec::new(),
            observation_revision: 0,
            stop_grace_s: 0,
            has_booted: false,
            restoring: None,
            confirmed_intent: 0,
            unordered: None,
        }
    }

    /// Its host was told something and has not answered that yet.
    pub fn is_unconfirmed(&self) -> bool {
        self.reservation().is_some() && self.confirmed_intent < self.intent_revision
    }

    /// Where it holds a reservation: on its host, until it is deleted.
    pub fn reservation(&self) -> Option<(HostId, Resources)> {
        match (&self.placement, self.phase) {
            (Some(_), Phase::Deleted) | (None, _) => None,
            (Some(placement), _) => Some((placement.host, self.spec.resources)),
        }
    }

    /// It should run and has no host.
    pub fn waits_for_host(&self) -> bool {
        self.phase == Phase::Pending && self.desired == Desired::Running && self.revision > 0
    }
}
