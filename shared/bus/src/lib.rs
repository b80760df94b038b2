//! Everything at-least-once: the transactional outbox and inbox, retries, dead letters, trace propagation, replay.
//!
//! A handler decides and writes; what it says leaves with the same transaction ([`Work`]). The relay publishes
//! committed rows and marks them after the server's acknowledgement. Nothing else publishes to a stream.
#![forbid(unsafe_code)]

mod answers;
mod ask;
mod cause;
mod connection;
pub mod dead;
mod desk;
mod ending;
mod envelope;
pub mod fail;
mod failure;
mod handle;
mod handoff;
mod inbox;
mod late;
mod limits;
pub mod live;
mod memory;
mod outbox;
mod outside;
mod plain;
pub mod questions;
pub mod queues;
pub mod rebuild;
mod relay;
mod report;
mod runner;
pub mod samples;
pub mod survey;
pub mod topology;
pub mod trace;
mod trouble;
pub mod unanswered;
mod wait;
pub mod watch;
pub mod watchdog;
mod work;

pub use answers::{Answer, Answers};
pub use ask::{AskError, Asking, PATIENCE as ASK_PATIENCE};
pub use cause::Cause;
pub use connection::{BusSettings, Connection, ConnectionError, inbox_of};
pub use desk::Desk;
pub use ending::End;
pub use envelope::{Envelope, InvalidEnvelope};
pub use failure::Failure;
pub use handle::{Handle, HandleCommand, HandleObject, HandleObjects, Subscriptions};
pub use inbox::retried_since;
pub use late::LateRows;
pub use limits::StreamLimits;
pub use outbox::{OldestWaiting, OutboxSize, size as outbox_size};
pub use outside::{FromOutside, Outside, Sent};
pub use relay::Relay;
pub use report::Report;
pub use runner::{RetryPolicy, Runner};
pub use trace::continue_from as continue_trace;
pub use trouble::Trouble;
pub use watchdog::{Pulse, Watchdog};
pub use work::Work;

/// The tables every service database has for the bus.
pub const MIGRATIONS: &[store::MigrationFile] = &[
    store::MigrationFile { version: 1, name: "bus", sql: include_str!("../migrations/0001_bus.sql") },
    store::MigrationFile { version: 2, name: "refill", sql: include_str!("../migrations/0002_refill.sql") },
    store::MigrationFile { version: 3, name: "rebuild", sql: include_str!("../migrations/0003_rebuild.sql") },
];
