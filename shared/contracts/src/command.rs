//! Kinds of objects that are declared with what can be done with them: the request of a method is the command that the
//! owner obeys, and the owner says what came of it.

use crate::common::v1::OperationProgress;
use crate::object::{Object, ObjectKind};
use kernel::Message;

/// What a method does with objects of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// A page of them.
    List,
    /// One of them.
    Get,
    /// The owner is told to do this: "Create", "Attach".
    Tell(&'static str),
}

/// What a method does, and with which objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// What.
    pub does: Does,
    /// With objects of this kind.
    pub kind: &'static ObjectKind,
}

/// Everything that can be done with objects of one kind: a generated enum, so that a verb nobody decides about does not
/// compile.
pub trait Command: Sized + Send + Sync + 'static {
    /// Service, version and name of each, as they stand in subjects.
    const NAMES: &'static [(&'static str, &'static str, &'static str)];

    /// Reads the command of this name; the error says what is wrong with the bytes.
    fn read(name: &str, bytes: &[u8]) -> Result<Self, String>;

    /// "Create".
    fn verb(&self) -> &'static str;

    /// What the object is or will be called; the name or the id as the caller wrote it.
    fn name(&self) -> &str;

    /// The revision that the object has to have; 0 = whichever it has.
    fn if_revision(&self) -> u64;

    /// The objects that it refers to: field, kind and id of each.
    fn references(&self) -> Vec<(&'static str, &'static ObjectKind, &str)>;

    /// Kinds whose objects stand in its way as long as they refer to the object.
    fn refuse_while_referred(&self) -> &'static [&'static ObjectKind];
}

/// What every object has that its owner sets, whatever it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    /// A UUID.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// Grows by one with each change.
    pub revision: u64,
    /// Microseconds since the epoch.
    pub created_at_us: i64,
    /// Microseconds since the epoch.
    pub updated_at_us: i64,
    /// Microseconds since the epoch, 0 = it is there.
    pub deleted_at_us: i64,
}

/// An object of a kind with commands: what its owner says of it. Implementations are generated.
pub trait OwnObject: Object {
    /// What can be done with it.
    type Command: Command;
    /// It came to be.
    type Created: Message;
    /// It is another one than before.
    type Changed: Message;
    /// It is gone.
    type Deleted: Message;
    /// What was asked for was refused.
    type Refused: Message;
    /// Objects that are gone for long are not kept any more.
    type Forgotten: Message;

    /// The event that it came to be.
    fn created(self, operations: Vec<OperationProgress>) -> Self::Created;
    /// The event that it is another one.
    fn changed(self, operations: Vec<OperationProgress>) -> Self::Changed;
    /// The event that it is gone.
    fn deleted(self, operations: Vec<OperationProgress>) -> Self::Deleted;
    /// The event that something asked for it was refused.
    fn refused(object_id: String, operations: Vec<OperationProgress>) -> Self::Refused;
    /// The event that those are not kept any more that were gone before a time, in microseconds since the epoch.
    fn forgotten(gone_before_us: i64) -> Self::Forgotten;
    /// Sets what every object has.
    fn stamp(&mut self, stamp: Stamp);
}
