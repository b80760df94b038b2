//! The list of all messages of the bus, and the generated `Message` implementations.

use crate::command::Does;
use crate::object::{Object, ObjectKind};
use crate::options::v1::Scope;
use crate::told::{Carried, Content, Reader, Told};
use std::collections::HashMap;
use std::sync::LazyLock;

/// One message of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Command, event or sample.
    pub kind: kernel::Kind,
    /// "scheduler".
    pub service: &'static str,
    /// "v1".
    pub version: &'static str,
    /// "CreateInstance".
    pub name: &'static str,
    /// "berth.scheduler.v1.CreateInstance".
    pub full_name: &'static str,
    /// The object that the event is about; none: it says something else, or is no event.
    pub carries: Option<Carries>,
    /// Number of the field with the progress of operations.
    pub operations: Option<u32>,
}

/// The object in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carries {
    /// What it is.
    pub kind: &'static ObjectKind,
    /// The field it stands in: "instance".
    pub field: &'static str,
    /// Number of the field.
    pub number: u32,
    /// It is only spoken of: what was refused never was.
    pub mention: bool,
}

/// The message a subject's service, version and name stand for.
pub fn entry(service: &str, version: &str, name: &str) -> Option<&'static Entry> {
    Some(&CATALOGUE[place(service, version, name)?])
}

/// Events that say what an object of a kind is now.
pub fn events_of(kind: &ObjectKind) -> impl Iterator<Item = &'static Entry> {
    CATALOGUE
        .iter()
        .filter(move |entry| entry.carries.is_some_and(|carries| carries.kind == kind && !carries.mention))
}

/// What the owners of these kinds say beside what an object is: that a request was refused, that objects are forgotten.
pub fn also_said_by_owners_of(kinds: &[&'static ObjectKind]) -> impl Iterator<Item = &'static Entry> {
    CATALOGUE.iter().filter(|entry| {
        let Some((package, name)) = entry.full_name.rsplit_once('.') else { return false };
        let owns = |kind: &&ObjectKind| kind.message.rsplit_once('.').is_some_and(|(its, _)| its == package);
        OWNERS_SAY.contains(&name) && kinds.iter().any(owns)
    })
}

/// Where in the catalogue a message stands.
pub(crate) fn place(service: &str, version: &str, name: &str) -> Option<usize> {
    static PLACES: LazyLock<HashMap<(&str, &str, &str), usize>> = LazyLock::new(|| {
        CATALOGUE.iter().enumerate().map(|(place, e)| ((e.service, e.version, e.name), place)).collect()
    });
    // a shorter life for the keys, so that one can be asked for that is not static
    let places: &HashMap<(&str, &str, &str), usize> = &PLACES;
    places.get(&(service, version, name)).copied()
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
