//! host-driver

pub mod adapters;
pub mod domain;
