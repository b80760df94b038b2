//! The scheduler: owns instances, their whole life, and the hosts they are placed on.
#![forbid(unsafe_code)]

pub mod domain;
