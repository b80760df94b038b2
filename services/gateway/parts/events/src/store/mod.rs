//! Webhooks, what became of their deliveries, and which events of other systems were taken.

pub mod deliveries;
pub mod external_events;
pub mod webhooks;

#[cfg(test)]
mod webhook_tests;
