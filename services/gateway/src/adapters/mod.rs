//! Where the gateway meets the world: key files and the datastore.

pub mod staging;
