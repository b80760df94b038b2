//! What the scheduler decides, as pure functions: no clock, no database, no bus, no randomness.

pub mod host;
pub mod instance;
pub mod lifecycle;
pub mod resources;
pub mod solver;
