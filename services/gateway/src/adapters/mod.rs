//! Where the gateway meets the world: the datastore.

pub mod staging;
