//! What the whole-system tests stand on: the built programs, run as a user would run them.

pub mod chaos;
pub mod cli;
pub mod kept;
pub mod machine;
pub mod node;
pub mod otlp;
pub mod platform;
pub mod programs;
pub mod proxy;
pub mod whereabouts;
