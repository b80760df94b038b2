//! The tables of the service. SQL lives here and nowhere else.

mod cause;
pub mod execs;
pub mod hosts;
pub mod orders;
pub mod quarantine;
pub mod vms;
pub mod work;

use ::store::StoreError;
use kernel::{HostId, InstanceId};

/// One VM on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmKey {
    /// Where.
    pub host: HostId,
    /// Which.
    pub instance: InstanceId,
}

/// Picks the rows of so many keys.
fn keys_in(rows: usize) -> String {
    format!("(host_id, instance_id) IN (VALUES {})", ::store::many::places(rows, 2))
}

/// A row holds what this version of the program cannot have written.
fn broken(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Database(sqlx::Error::Decode(format!("{what}: {why}").into()))
}

/// Counters are unsigned in messages and signed in tables.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
