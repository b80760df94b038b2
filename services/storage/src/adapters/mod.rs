//! Where the service meets the world: the datastore, other people's web servers, qemu-img.

pub mod datastore;
pub mod fetch;
pub mod guarded_dns;
pub mod intake;
pub mod qemu_img;
