//! What is right and what is wrong, decided without clock, database or network.

pub mod admission;
pub mod exec;
pub mod image;
pub mod instance;
pub mod overcommit;
pub mod public_keys;
pub mod resources;
pub mod user_data;
