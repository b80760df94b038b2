//! host-driver

pub mod domain;
