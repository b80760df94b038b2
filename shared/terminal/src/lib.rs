//! What the programs of the command line have in common: where a client's settings come from, and how results are printed.
//!
//! - [`config`]: settings from flags, environment and files, and where each came from
//! - [`output`]: tables for people, JSON and YAML for programs
//! - [`yaml`]: whether a text is YAML
#![forbid(unsafe_code)]

pub mod config;
pub mod output;
pub mod yaml;
