//! Where the gateway meets the world: key files and the datastore.

pub mod codes;
pub mod nats_claims;
pub mod oidc;
pub mod passwords;
pub mod staging;
pub mod webhooks;
