//! Reading the services' databases from outside, without changing them: what the checker judges by.

pub mod objects;
pub mod tables;
