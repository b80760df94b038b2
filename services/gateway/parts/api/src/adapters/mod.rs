//! Where the gateway meets the world: key files.

pub mod keys;
