//! One port for both doors: HTTP/1.1 and HTTP/2, with TLS or without.

pub mod nats_door;
pub mod nats_events;
