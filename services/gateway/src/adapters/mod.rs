//! Where the gateway meets the world: key files and the datastore.

pub mod nats_claims;
pub mod staging;
pub mod webhooks;
