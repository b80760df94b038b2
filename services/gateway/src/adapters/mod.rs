//! Where the gateway meets the world: key files and the datastore.

pub mod codes;
pub mod keys;
pub mod passwords;
pub mod staging;
pub mod webhooks;
