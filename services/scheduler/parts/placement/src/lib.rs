//! Where instances may run, as pure functions: what hosts have, what instances ask for, and the solver that brings them
//! together. No clock, no database, no bus, no randomness: all of this crate is domain.
#![forbid(unsafe_code)]

pub mod host;
pub mod instance;
pub mod resources;
pub mod solver;
