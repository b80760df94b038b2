//! The list of all messages of the bus, and the generated `Message` implementations.

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
}

/// The message a subject's service, version and name stand for.
pub fn entry(service: &str, version: &str, name: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|e| e.service == service && e.version == version && e.name == name)
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
