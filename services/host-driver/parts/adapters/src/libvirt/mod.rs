//! libvirt: QEMU with or without KVM, and libvirt's own mock (`test:///default`) for the driver suite.

mod agent;
mod console;
mod definition;
mod driver;
mod events;
mod examine;
mod faults;
mod kvm;
mod link;
mod state;
mod xml;

pub use driver::{LibvirtHypervisor, LibvirtSettings};
pub use examine::{KvmAnswer, LibvirtFacts, ask_kvm, ask_libvirt};
pub use kvm::Acceleration;
