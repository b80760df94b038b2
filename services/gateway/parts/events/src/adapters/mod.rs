//! Where events meet the world: receivers of webhooks, and what the broker is told of its clients.

pub mod nats_claims;
pub mod webhooks;
