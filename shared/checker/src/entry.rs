//! One event of the log, as it was read.

use super::violation::Violation;
use bus::Envelope;
use bytes::Bytes;
use contracts::common::v1::OperationProgress;
use contracts::{gateway, host_driver, scheduler, storage};
use kernel::Subject;
use prost::Message;

/// An event and its place in the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place.
    pub sequence: u64,
    /// Its message id: copies have the same.
    pub id: u128,
    /// What it is.
    pub subject: Subject,
    /// Protobuf bytes.
    pub payload: Bytes,
}

impl Entry {
    /// An event as the bus reads it.
    pub fn of(sequence: u64, envelope: &Envelope) -> Self {
        Self {
            sequence,
            id: envelope.id.as_u128(),
            subject: envelope.subject.clone(),
            payload: envelope.payload.clone(),
        }
    }
}

/// What an event says, as far as the rules speak of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Fact {
    /// An instance as it is now.
    pub instance: Option<scheduler::v1::Instance>,
    /// A host as it is now.
    pub host: Option<scheduler::v1::Host>,
    /// An image as it is now.
    pub image: Option<storage::v1::Image>,
    /// What a host says about itself: (host, revision).
    pub report: Option<(String, u64)>,
    /// An order that a host took.
    pub intended: Option<host_driver::v1::VmIntended>,
    /// Files that were put aside, given back or removed.
    pub quarantined: Option<host_driver::v1::Quarantined>,
    /// What a host saw of a VM.
    pub observed: Option<host_driver::v1::VmObservation>,
    /// Progress of operations.
    pub operations: Vec<OperationProgress>,
    /// The progress is the gateway's, which stopped waiting: an answer may still come.
    pub abandoned: bool,
}

impl Fact {
    /// Reads an event. Events that no rule speaks of are empty facts.
    pub fn read(entry: &Entry) -> Result<Self, Violation> {
        let Subject { service, name, .. } = &entry.subject;
        let bytes = entry.payload.clone();
        let read = match (service.as_str(), name.as_str()) {
            ("scheduler", name) => Self::of_scheduler(name, bytes),
            ("storage", _) => Self::of_storage(bytes),
            ("host_driver", name) => Self::of_host(name, bytes),
            ("gateway", "OperationAbandoned") => gateway::v1::OperationAbandoned::decode(bytes)
                .map(|e| Self { operations: e.operations, abandoned: true, ..Self::default() }),
            _ => Ok(Self::default()),
        };
        read.map_err(|error| Violation::Unreadable {
            subject: entry.subject.to_string(),
            reason: error.to_string(),
        })
    }

    fn of_scheduler(name: &str, bytes: Bytes) -> Result<Self, prost::DecodeError> {
        use scheduler::v1 as said;
        match name {
            "PlacementDecided" => Ok(Self::default()),
            "HostRegistered" | "HostChanged" => said::HostChanged::decode(bytes).map(|e| Self {
                host: e.host,
                operations: e.operations,
                ..Self::default()
            }),
            "RequestRefused" => said::RequestRefused::decode(bytes)
                .map(|e| Self { operations: e.operations, ..Self::default() }),
            // what was refused never was
            "InstanceRefused" => said::InstanceRefused::decode(bytes)
                .map(|e| Self { operations: e.operations, ..Self::default() }),
            // all other events of instances have the same two fields
            _ => said::InstanceChanged::decode(bytes).map(|e| Self {
                instance: e.instance,
                operations: e.operations,
                ..Self::default()
            }),
        }
    }

    fn of_storage(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        // all events of images have the same two fields; revision 0 speaks of an image that is not there
        storage::v1::ImageKept::decode(bytes).map(|e| Self {
            image: e.image.filter(|image| image.revision > 0),
            operations: e.operations,
            ..Self::default()
        })
    }

    fn of_host(name: &str, bytes: Bytes) -> Result<Self, prost::DecodeError> {
        use host_driver::v1 as said;
        Ok(match name {
            "HostReported" => {
                let report = said::HostReported::decode(bytes)?.report.unwrap_or_default();
                Self { report: Some((report.host_id, report.revision)), ..Self::default() }
            }
            "VmIntended" => Self { intended: Some(said::VmIntended::decode(bytes)?), ..Self::default() },
            "QuarantineChanged" => {
                let event = said::QuarantineChanged::decode(bytes)?;
                Self { quarantined: event.item, operations: event.operations, ..Self::default() }
            }
            "VmObserved" => {
                Self { observed: said::VmObserved::decode(bytes)?.observation, ..Self::default() }
            }
            "ExecFinished" => {
                let operations = said::ExecFinished::decode(bytes)?.operations;
                Self { operations, ..Self::default() }
            }
            _ => Self::default(),
        })
    }
}
