//! What is right and what is wrong, decided without clock, database or network.

pub mod event_filter;
pub mod webhook_patience;
pub mod webhook_queue;
