//! The command line of Berth, and the all-in-one node behind `berth up`.
//!
//! - [`cli`]: every verb, one file per noun
//! - [`client`]: the way to the gateway: credentials, retries, waiting, uploads
//! - [`config`]: settings from flags, environment and files, and where each came from
//! - [`doctor`]: what is wrong with a node, and what to do about it
//! - [`output`]: tables for people, JSON and YAML for programs
//! - [`node`]: everything in one process
//! - [`invariants`]: an independent checker of log, tables and hypervisors
//! - [`simulate`]: a workload through the whole system in virtual time
//! - [`store`]: the services' databases, read from outside

pub mod cli;
pub mod client;
pub mod config;
pub mod doctor;
pub mod invariants;
pub mod node;
pub mod output;
pub mod simulate;
pub mod store;
