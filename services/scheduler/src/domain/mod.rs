//! What the scheduler decides, as pure functions: no clock, no database, no bus, no randomness. Where an instance is to run
//! is decided in `scheduler_placement`.

pub mod lifecycle;
