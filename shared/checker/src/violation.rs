//! Every way in which a platform can be wrong.

use serde::Serialize;
use std::fmt;
use strum::{EnumDiscriminants, EnumIter};

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, EnumDiscriminants)]
#[serde(tag = "violation", rename_all = "SCREAMING_SNAKE_CASE")]
#[strum_discriminants(name(ViolationKind), derive(EnumIter, Hash, PartialOrd, Ord))]
pub enum Violation {
    /// A placement promised more of a host than may be promised.
    OverCapacity {
        /// Name of the host.
        host: String,
        /// "vcpus_milli", "memory_bytes", "disk_bytes", "thousandths of GPU 3".
        resource: String,
        /// What is promised now.
        reserved: u64,
        /// What may be promised.
        limit: u64,
        /// Whose placement went over.
        instance: String,
    },
    /// More members of an anti-affinity group on one host than one of them bears.
    TooClose {
        /// Name of the group.
        group: String,
        /// Name of the host.
        host: String,
        /// How many are there.
        members: u64,
        /// How many may be.
        most: u64,
    },
    /// A placement on a host that nobody registered.
    UnknownHost {
        /// The instance.
        instance: String,
        /// The host it is said to be on.
        host: String,
    },
    /// Two hosts own an instance under the same generation.
    TwoOwners {
        /// The instance.
        instance: String,
        /// The generation both have.
        generation: u64,
        /// The two hosts.
        hosts: [String; 2],
    },
    /// A generation became smaller.
    GenerationWentBack {
        /// The instance.
        instance: String,
        /// What it was.
        had: u64,
        /// What it is said to be.
        got: u64,
    },
    /// Two hosts say that they run the same instance.
    RunsTwice {
        /// The instance.
        instance: String,
        /// The two hosts.
        hosts: [String; 2],
    },
    /// A revision is missing.
    RevisionGap {
        /// "instance 018f…".
        object: String,
        /// The newest known.
        had: u64,
        /// The next one seen.
        got: u64,
    },
    /// A revision came again under another message, or went back.
    RevisionRepeated {
        /// "instance 018f…".
        object: String,
        /// The newest known.
        had: u64,
        /// What came.
        got: u64,
    },
    /// An operation ended more than once.
    EndedTwice {
        /// The operation.
        operation: String,
        /// How it ended first.
        first: String,
        /// How it ended again.
        second: String,
    },
    /// A deleted instance changed.
    CameBack {
        /// The instance.
        instance: String,
        /// What it is said to be.
        phase: String,
    },
    /// An event cannot be read.
    Unreadable {
        /// Where it travelled.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More than one host has the VM of an instance.
    Doubled {
        /// The instance.
        instance: String,
        /// Hosts that have it.
        hosts: Vec<String>,
    },
    /// The tables say that a host has a VM, and it has not.
    Lost {
        /// The instance.
        instance: String,
        /// The host.
        host: String,
    },
    /// A host has a VM that no living instance claims there.
    Orphan {
        /// The instance whose mark it carries.
        instance: String,
        /// The host.
        host: String,
    },
    /// A VM does not do what its instance's phase says.
    WrongPower {
        /// The instance.
        instance: String,
        /// Its phase.
        phase: String,
        /// What the VM does.
        power: String,
    },
    /// A disk that a machine ran from is gone, and nobody ordered it to go.
    DiskLost {
        /// The instance.
        instance: String,
        /// The host.
        host: String,
        /// What was seen.
        how: String,
    },
    /// A host was ordered to delete what nobody deleted.
    DeletedUnasked {
        /// The instance.
        instance: String,
        /// The host.
        host: String,
    },
    /// A reservation without a living instance, or a living instance on a host without one.
    ReservationLeaked {
        /// The instance.
        instance: String,
        /// The host, "" = none.
        host: String,
        /// Its phase.
        phase: String,
        /// Whether the row is reserved.
        reserved: bool,
    },
    /// A row is not what the last event about it said.
    TableDiffers {
        /// The instance.
        instance: String,
        /// Revision in the table; 0 = no row.
        table: u64,
        /// Revision in the log; 0 = no event.
        log: u64,
    },
    /// An instance is not what was asked for last, and nobody works on it.
    NotAsRequested {
        /// The instance.
        instance: String,
        /// What was asked for.
        desired: String,
        /// What it is.
        phase: String,
    },
    /// An operation is open and nobody works on it.
    StuckOperation {
        /// The operation.
        operation: String,
        /// "CreateInstance".
        method: String,
        /// What it is about.
        object: String,
    },
    /// A service gave a message up.
    DeadLetter {
        /// The message.
        message: String,
        /// Where it travelled.
        subject: String,
        /// Why it was given up.
        reason: String,
    },
    /// A committed message never reached the broker.
    Unpublished {
        /// Whose outbox.
        service: String,
        /// How many.
        count: u64,
    },
    /// A command was sent and is neither handled, nor pending, nor dead.
    CommandLost {
        /// Who sent it.
        service: String,
        /// The message.
        message: String,
        /// Where it went.
        subject: String,
    },
}

impl Violation {
    /// Which kind of violation this is.
    pub fn kind(&self) -> ViolationKind {
        self.into()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverCapacity { host, resource, reserved, limit, instance } => write!(
                f,
                "placing {instance} promised {reserved} {resource} of host {host}, which may promise {limit}"
            ),
            Self::TooClose { group, host, members, most } => write!(
                f,
                "host {host} has {members} members of anti-affinity group {group:?}, of which at most {most} may share a host"
            ),
            Self::UnknownHost { instance, host } => {
                write!(f, "instance {instance} was placed on host {host}, which nobody registered")
            }
            Self::TwoOwners { instance, generation, hosts: [a, b] } => {
                write!(f, "hosts {a} and {b} both own generation {generation} of instance {instance}")
            }
            Self::GenerationWentBack { instance, had, got } => {
                write!(f, "the generation of instance {instance} went back from {had} to {got}")
            }
            Self::RunsTwice { instance, hosts: [a, b] } => {
                write!(f, "hosts {a} and {b} both say that they run instance {instance}")
            }
            Self::RevisionGap { object, had, got } => {
                write!(
                    f,
                    "revision {got} of {object} follows revision {had}: something in between is missing"
                )
            }
            Self::RevisionRepeated { object, had, got } => {
                write!(f, "revision {got} of {object} came after revision {had}, in another message")
            }
            Self::EndedTwice { operation, first, second } => {
                write!(f, "operation {operation} ended as {first} and then again as {second}")
            }
            Self::CameBack { instance, phase } => {
                write!(f, "instance {instance} was deleted and is now said to be {phase}")
            }
            Self::Unreadable { subject, reason } => write!(f, "event {subject} cannot be read: {reason}"),
            Self::Doubled { instance, hosts } => {
                write!(f, "instance {instance} has a VM on each of the hosts {}", hosts.join(", "))
            }
            Self::Lost { instance, host } => {
                write!(f, "instance {instance} should have a VM on host {host}, and there is none")
            }
            Self::Orphan { instance, host } => {
                write!(f, "host {host} has a VM of instance {instance}, which does not live there")
            }
            Self::WrongPower { instance, phase, power } => {
                write!(f, "instance {instance} is {phase}, and its VM is {power}")
            }
            Self::DiskLost { instance, host, how } => {
                write!(f, "the disk of instance {instance} on host {host} is lost: {how}")
            }
            Self::DeletedUnasked { instance, host } => write!(
                f,
                "host {host} was ordered to delete instance {instance}, which nobody asked to be deleted"
            ),
            Self::ReservationLeaked { instance, host, phase, reserved: true } => {
                write!(f, "instance {instance} is {phase} and still holds a reservation on host {host:?}")
            }
            Self::ReservationLeaked { instance, host, phase, reserved: false } => {
                write!(f, "instance {instance} is {phase} on host {host} without a reservation")
            }
            Self::TableDiffers { instance, table, log } => {
                write!(f, "the table has revision {table} of instance {instance}, the log revision {log}")
            }
            Self::NotAsRequested { instance, desired, phase } => {
                write!(f, "instance {instance} should be {desired} and is {phase}, with nothing under way")
            }
            Self::StuckOperation { operation, method, object } => {
                write!(f, "operation {operation} ({method} of {object}) is open and nobody works on it")
            }
            Self::DeadLetter { message, subject, reason } => {
                write!(f, "message {message} ({subject}) was given up: {reason}")
            }
            Self::Unpublished { service, count } => {
                write!(f, "{count} committed messages of {service} never reached the broker")
            }
            Self::CommandLost { service, message, subject } => write!(
                f,
                "command {message} ({subject}) of {service} is neither handled, nor pending, nor a dead letter"
            ),
        }
    }
}

/// A violation and the place in the log at which it arose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Sequence of the event; of the last event for what is judged at the end.
    pub sequence: u64,
    /// What is wrong.
    #[serde(flatten)]
    pub what: Violation,
    /// The same for people.
    pub sentence: String,
}

impl Found {
    /// A violation that arose at this event.
    pub fn at(sequence: u64, what: Violation) -> Self {
        Self { sequence, sentence: what.to_string(), what }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at event {}: {}", self.sequence, self.sentence)
    }
}
