//! What is done again and again until it is as it should be.

pub mod external_events;
pub mod webhooks;
