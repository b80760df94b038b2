//! What is done again and again until it is as it should be.

pub mod exec_timeouts;
pub mod staging;
pub mod unanswered;
