//! Wire and domain: every request is read and validated here, every snapshot that leaves is cleaned here.

pub mod access;
pub mod quotas;
