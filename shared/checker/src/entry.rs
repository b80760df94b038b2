//! One event of the log, as it was read.

use super::violation::Violation;
use bus::Envelope;
use bytes::Bytes;
use contracts::common::v1::OperationProgress;
use contracts::{Content, Snapshot, Statement, Told, host_driver, scheduler, storage};
use kernel::Subject;

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
    /// Reads an event. One that this build does not know breaks the rule that it can be judged; what every event means
    /// here is said below, without a rest: an event that is new does not compile until somebody says it.
    pub fn read(entry: &Entry) -> Result<Self, Violation> {
        let told = Told::of(&entry.subject, &entry.payload).map_err(|error| Violation::Unreadable {
            subject: entry.subject.to_string(),
            reason: error.to_string(),
        })?;
        let fact = Self { operations: told.operations, ..Self::default() };
        Ok(match told.content {
            Content::Snapshot(snapshot) => fact.and_object(snapshot),
            // what was refused never was
            Content::Mention(_) | Content::Refused => fact,
            // what is gone for long stays gone, whoever keeps a row of it
            Content::Forgotten(_) => fact,
            Content::Other(statement) => fact.and_said(statement),
        })
    }

    fn and_object(self, snapshot: Snapshot) -> Self {
        match snapshot {
            Snapshot::Instance(instance) => Self { instance: Some(*instance), ..self },
            Snapshot::Host(host) => Self { host: Some(*host), ..self },
            // revision 0 speaks of an image that is not there
            Snapshot::Image(image) if image.revision == 0 => self,
            Snapshot::Image(image) => Self { image: Some(*image), ..self },
            Snapshot::HostReport(report) => Self { report: Some((report.host_id, report.revision)), ..self },
            Snapshot::Quarantined(item) => Self { quarantined: Some(*item), ..self },
            // no rule speaks of them
            Snapshot::Flavor(_)
            | Snapshot::Operation(_)
            | Snapshot::Quota(_)
            | Snapshot::Tenant(_)
            | Snapshot::SshKey(_)
            | Snapshot::TokenRecord(_)
            | Snapshot::UserRecord(_)
            | Snapshot::WebhookRecord(_) => self,
        }
    }

    fn and_said(self, statement: Statement) -> Self {
        match statement {
            Statement::VmIntended(order) => Self { intended: Some(*order), ..self },
            Statement::VmObserved(seen) => Self { observed: seen.observation, ..self },
            Statement::OperationAbandoned(_) => Self { abandoned: true, ..self },
            // no rule speaks of them, but for the operations that they move on
            Statement::AuditRecorded(_)
            | Statement::DeadLetterDropped(_)
            | Statement::DeadLetterReplayed(_)
            | Statement::ExecFinished(_)
            | Statement::ExternalEventReceived(_)
            | Statement::LoginBlocked(_)
            | Statement::PlacementDecided(_)
            | Statement::SegmentArchived(_)
            | Statement::ServiceRebuilt(_)
            | Statement::StreamRefilled(_)
            | Statement::TokensForgotten(_)
            | Statement::VmDrifted(_) => self,
        }
    }
}
