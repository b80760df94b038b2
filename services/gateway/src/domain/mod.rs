//! What is right and what is wrong, decided without clock, database or network.

pub mod admission;
pub mod exec;
pub mod image;
pub mod instance;
pub mod overcommit;
pub mod resources;
