//! An independent checker of what must hold at every moment: it reads the event log, the tables and what the
//! hypervisors run, and shares no code with the services that it judges.
//!
//! - [`Violation`]: every way in which something can be wrong, as a typed value
//! - [`Checker`]: a fold over the log; it judges after *every* event
//! - [`judge_end`]: what must hold once nothing is under way: log, tables and hypervisors say the same
//! - [`Tables`], [`Truth`]: what the end is judged by
//!
//! The log is at-least-once: a copy of an event under the same message id is no second event. Events of one service
//! are in the order in which it decided; events of two services may overtake each other on their way into the log, so
//! no rule relies on their order.

#![forbid(unsafe_code)]

mod accounts;
mod checker;
mod collect;
mod disks;
mod end;
mod entry;
mod places;
pub mod store;
mod truth;
mod violation;

#[cfg(test)]
mod samples_tests;

pub use accounts::{Accounts, Sent};
pub use checker::Checker;
pub use collect::{Database, Judgement, judge, judge_with};
pub use end::{Closing, judge_end};
pub use entry::Entry;
pub use truth::{DiskSeen, PowerSeen, Truth, VmSeen};
pub use violation::{Found, Violation, ViolationKind};

pub use store::tables::{InstanceRow, OperationRow, Tables};
