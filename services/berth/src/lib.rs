//! The command line of Berth: a client of the gateway, which builds and runs without any service.
//!
//! - [`cli`]: every verb, one file per noun; those that work on a node of this machine are done by `berth-node`
//! - [`config`]: settings from flags, environment and files, and where each came from
//! - [`output`]: tables for people, JSON and YAML for programs
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod output;
