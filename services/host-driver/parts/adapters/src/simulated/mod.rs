//! A hypervisor in memory, with faults on demand: thousands of hosts in one process.
//!
//! It keeps the contract of [`Hypervisor`] and runs the same suite as the real ones. Chance comes from a seed: the same
//! seed and the same calls give the same faults.

mod disks;
mod driver;
mod faults;
pub mod guest_data;
mod kept;
mod world;

pub use disks::SimulatedDisks;
pub use driver::SimulatedHypervisor;
pub use faults::{FaultSettings, Faults, When};
pub use world::{World, WorldSettings};
