//! What a chaos story is made of: users who want things, and a monkey that breaks things.

pub mod door;
pub mod monkey;
pub mod users;
