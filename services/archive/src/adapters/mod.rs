//! Where the archive meets the world: the object store, and hashes and signatures over what is in it.

pub mod key;
pub mod seal;
pub mod vault;
