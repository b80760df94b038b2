//! The archive's tables.

pub mod segments;
