//! Wire and domain: every message is read, checked and written here.

mod event;
mod image;
mod request;

pub use event::{not_found, say};
pub use image::{from_wire, to_wire};
pub use request::{ImportLimits, request};
