//! What is done again and again until it is as it should be.

pub mod ended_tokens;
