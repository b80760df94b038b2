//! The door at the broker.

pub mod nats_door;
pub mod nats_events;
