//! Wire and domain: every request is read and validated here, every snapshot that leaves is cleaned here.

pub mod access;
pub mod admission;
pub mod alertmanager;
pub mod audit;
pub mod catalogue;
pub mod cloudevents;
pub mod comments;
pub mod diagnosis;
pub mod external_events;
pub mod images;
pub mod instances;
pub mod operations;
pub mod quotas;
pub mod redact;
pub mod resources;
pub mod status;
pub mod webhooks;
