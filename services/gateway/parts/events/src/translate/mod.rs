//! Wire and domain: every request is read and validated here, every snapshot that leaves is cleaned here.

pub mod alertmanager;
pub mod catalogue;
pub mod cloudevents;
pub mod webhooks;
