//! When each host was last heard of, by this process' own clock that only goes forward. One that was silent for too long
//! becomes unreachable in `reconcilers/hosts.rs`.

use kernel::HostId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Last signs of life. Cheap to clone; never stored: after a restart every host gets the whole limit again.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats(Arc<Mutex<HashMap<HostId, Instant>>>);

impl Heartbeats {
    /// A host gave a sign of life now.
    pub fn heard(&self, host: HostId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host, Instant::now());
    }

    /// How long a host has been silent. One that was never asked about before is silent from now on.
    pub fn silence(&self, host: HostId) -> Duration {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.entry(host).or_insert_with(Instant::now).elapsed()
    }

    /// Whether a host gave a sign of life within `limit`.
    pub fn is_alive(&self, host: HostId, limit: Duration) -> bool {
        self.silence(host) < limit
    }
}
