//! What is done again and again until it is as it should be.

pub mod exec_timeouts;
pub mod external_events;
pub mod staging;
pub mod unanswered;
pub mod webhooks;
