//! Images: taken in, verified, kept by content, removed when nothing uses them.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod domain;
