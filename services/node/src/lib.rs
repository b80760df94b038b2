//! The all-in-one node: the broker, every service and a host in one process, and what is done to it on its machine.
//!
//! - [`services`]: the list of all services, which everything else goes through
//! - [`cli`]: the verbs of `berth` that work on a node: `up`, `replay`, `doctor`, `simulate`, …
//! - [`doctor`]: what is wrong with a node, and what to do about it
//! - [`simulate`]: a workload through the whole system in virtual time
#![forbid(unsafe_code)]

mod archived;
mod assembly;
mod at;
mod broker;
mod broker_access;
mod broker_conf;
pub mod broker_users;
mod check;
pub mod cli;
mod compare;
pub mod config;
pub mod doctor;
mod driver;
mod in_force;
mod of_services;
mod pki;
mod restore;
pub mod services;
pub mod settings;
mod setup;
pub mod simulate;
mod up;
mod verify;

pub use archived::{Archive, archive};
pub use at::{AtTime, ObjectAt, replay_at};
pub use broker::check_version as broker_program;
pub use check::replay_check;
pub use compare::TableVerdict;
pub use driver::{OtherDriver, remember_driver};
pub use in_force::{read as settings_in_force, write as write_settings_in_force};
pub use restore::{Restored, replay_rebuild};
pub use services::SERVICES;
pub use settings::NodeSettings;
pub use setup::setup;
pub use up::{broker_settings, setup_settings, up};
pub use verify::replay_verify;
