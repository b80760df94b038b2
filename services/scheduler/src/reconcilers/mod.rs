//! The loops: they take no input, may run at any time and any number of times, and end where the tables say.

mod alone;
mod cause;
pub mod deadlines;
pub mod hosts;
pub mod orders;
pub mod placement;
