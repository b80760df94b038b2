//! The gateway's tables: flavors, and the read model of what others own; the parts have the rest.
//!
//! A snapshot is the protobuf of an object as its owner said it last; the columns beside it are only for finding it.

pub mod decisions;
pub mod diagnosis;
pub mod flavors;
pub mod hosts;
pub mod images;
pub mod instances;
pub mod quarantine;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod quota_tests;
#[cfg(test)]
mod tests;

/// Tables whose rows come from events alone: replaying `EVENTS` gives the same rows.
pub const STATE_TABLES: &[&str] = &[
    "operations",
    "flavors",
    "instances",
    "hosts",
    "images",
    "image_uploads",
    "decisions",
    "audit",
    "audit_objects",
    "tenants",
    "quotas",
    "users",
    "tokens",
    "horizons",
    "webhooks",
    "quarantine",
    "objects",
    "object_terms",
    "objects_forgotten",
];
