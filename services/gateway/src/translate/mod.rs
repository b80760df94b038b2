//! Wire and domain: every request is read and validated here, every snapshot that leaves is cleaned here.

pub mod admission;
pub mod diagnosis;
pub mod images;
pub mod instances;
pub mod resources;
