//! What every part of the gateway needs at its door: REST over the gRPC services, the checks and records around each
//! call, and the way in of requests, from a key to an operation.
//!
//! The parts of the gateway share its process and its database. A part uses what is below it: `gateway-api`, then
//! `gateway-access`, then `gateway-events`; the gateway puts them together.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod api;
pub mod domain;
pub mod handlers;
pub mod rest;
pub mod server;
pub mod store;
pub mod translate;
pub mod wakeups;

/// The service that the parts make up: whose events and commands it is.
pub const SERVICE_NAME: &str = "gateway";
