//! One file per loop: each makes the world match the tables.

pub mod archiving;
