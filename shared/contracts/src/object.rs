//! Objects: what all snapshots have in common, whatever they are of.

use crate::options::v1::Scope;

/// A kind of object, as its message declares it.
#[derive(Debug, PartialEq, Eq)]
pub struct ObjectKind {
    /// "floating_ip".
    pub name: &'static str,
    /// "floating_ips".
    pub plural: &'static str,
    /// Whose objects of the kind are.
    pub scope: Scope,
    /// The message of its snapshot: "berth.scheduler.v1.Instance".
    pub message: &'static str,
    /// The field that tells objects of the kind apart: "id".
    pub id: &'static str,
    /// Objects of the kind have a name for people.
    pub named: bool,
    /// Fields by which objects are found, beside id, name and labels.
    pub indexed: &'static [&'static str],
    /// Fields with ids of other objects, and of which kind each is. Objects are found by them, too.
    pub refers: &'static [(&'static str, &'static str)],
    /// The kind is declared with methods: it is listed, got and told things by its declaration alone.
    pub served: bool,
}

/// The snapshot of an object. What a kind does not have is "" or 0.
pub trait Object: prost::Message + Default + Clone + PartialEq + 'static {
    /// Its kind.
    const KIND: &'static ObjectKind;

    /// What tells it from all others of its kind.
    fn id(&self) -> &str;

    /// Whose it is.
    fn tenant(&self) -> &str;

    /// For people.
    fn name(&self) -> &str;

    /// Where it is in its life, as the .proto file calls it: "INSTANCE_PHASE_READY".
    fn state_name(&self) -> &'static str;

    /// Grows with each change; 0: there is no such object, and the event only says so.
    fn revision(&self) -> u64;

    /// Microseconds since the epoch.
    fn created_at_us(&self) -> i64;

    /// When it last changed, microseconds since the epoch.
    fn updated_at_us(&self) -> i64;

    /// When it went, microseconds since the epoch; where no time is kept that of the last change, at least 1. 0: it is
    /// there.
    fn gone_at_us(&self) -> i64;

    /// Everything by which it is found beside id, name and state: its labels ("labels.team"), and the fields declared
    /// with `index`.
    fn terms(&self) -> Vec<(String, String)>;
}
