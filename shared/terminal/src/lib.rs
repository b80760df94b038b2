//! What the programs of the command line have in common: where a client's settings come from, and how results are printed.
//!
//! - [`config`]: settings from flags, environment and files, and where each came from
//! - [`output`]: tables for people, JSON and YAML for programs
//! - [`public_keys`]: keys of SSH in files and on the command line
//! - [`yaml`]: whether a text is YAML
#![forbid(unsafe_code)]

pub mod config;
pub mod output;
pub mod public_keys;
pub mod yaml;
