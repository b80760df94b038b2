//! What each `main.rs` starts: settings, telemetry, health and metrics endpoint, tasks, ordered shutdown, sealing key.
#![forbid(unsafe_code)]

mod health;
mod ops;
pub mod private_file;
mod process;
mod reconcile;
mod sealing;
pub mod service;
mod settings;
mod store_watch;
mod tables;
mod tasks;
mod telemetry;

pub use health::{ComponentHealth, Health, HealthHandle};
pub use process::{Chassis, ChassisSettings, Desks, run};
pub use reconcile::Loop;
pub use sealing::{SealError, Sealer};
pub use service::{Given, Place, Service, Started};
pub use settings::{SettingsError, load};
pub use tasks::{Stage, Tasks};
pub use telemetry::{LogFormat, Telemetry, TelemetrySettings};
