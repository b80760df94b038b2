//! The command line of Berth: a client of the gateway, which builds and runs without any service.
//!
//! - [`cli`]: every verb, one file per noun; those that work on a node of this machine are done by `berth-node`
//!
//! Settings and how results are printed are in `terminal`, which `berth-node` has as well.
#![forbid(unsafe_code)]

pub mod cli;

use terminal::{config, output};
