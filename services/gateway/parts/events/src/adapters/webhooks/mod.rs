//! Requests to receivers outside: where they may go, how they are signed, what came of them.

mod guard;
mod sender;
pub mod signature;

pub use sender::{Attempt, Request, Sender};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Settings of webhooks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// Networks to which requests may go although they are not public: "10.0.0.0/8". Tenants choose the URLs.
    pub allow: Vec<IpNet>,
    /// Take URLs with plain http.
    pub allow_http: bool,
    /// Certificates (PEM) that are trusted besides those of the system; "" = none.
    pub ca_file: PathBuf,
    /// How long a receiver has to answer, at most 15 seconds.
    pub timeout_ms: u64,
    /// Pause after the first attempt that failed; each one doubles it.
    pub first_pause_ms: u64,
    /// Longest pause between attempts.
    pub longest_pause_ms: u64,
    /// An event is tried for so long, then it is given up.
    pub give_up_after_s: u64,
    /// A receiver that took nothing for so long is disabled.
    pub disable_after_s: u64,
    /// Deliveries that are kept of each webhook after they are done.
    pub log_entries: u32,
    /// Days they are kept at most.
    pub log_days: u32,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            allow_http: false,
            ca_file: PathBuf::new(),
            timeout_ms: 10_000,
            first_pause_ms: 1_000,
            longest_pause_ms: 3_600_000,
            give_up_after_s: 86_400,
            disable_after_s: 3 * 86_400,
            log_entries: 1_000,
            log_days: 30,
        }
    }
}
