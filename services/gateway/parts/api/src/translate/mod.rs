//! Wire and domain: every request is read and validated here, every snapshot that leaves is cleaned here.

pub mod audit;
pub mod external_events;
pub mod kinds;
pub mod operations;
pub mod redact;
pub mod status;
