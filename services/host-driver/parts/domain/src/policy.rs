//! How patient a host is, and how long it keeps what was put aside.

use super::attempts::Patience;
use super::quarantine::Keep;
use std::time::Duration;

/// The numbers behind the decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often and how long failed work is tried again.
    pub patience: Patience,
    /// The longest pause before a guest that keeps ending is started again.
    pub longest_restart_delay: Duration,
    /// A guest that ran this long does not "keep ending".
    pub stable_after: Duration,
    /// How long files that were put aside are kept.
    pub keep: Keep,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            patience: Patience::default(),
            longest_restart_delay: Duration::from_secs(300),
            stable_after: Duration::from_secs(60),
            keep: Keep::default(),
        }
    }
}
