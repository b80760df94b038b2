//! One file per loop: each makes the world match the tables.

mod attempt;

pub mod imports;
pub mod removals;
pub mod sweep;

pub use attempt::Tools;
