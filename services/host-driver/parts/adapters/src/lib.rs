//! The world: hypervisors, disks, the image cache.
#![deny(unsafe_code)] // but for the module that speaks to libvirt's C interface

pub mod disks;
pub mod fault;
pub mod host_id;
pub mod hypervisor;
pub mod images;
pub mod libvirt;
pub mod simulated;

pub use disks::{Disks, InQuarantine, LocalDisks, PutAside};
pub use fault::Fault;
pub use hypervisor::{Capabilities, Capacity, Console, ExecCall, ExecOutcome, Hypervisor};
pub use images::ImageCache;
