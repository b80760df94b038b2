//! Settings of the service.

use crate::adapters::fetch::FetchLimits;
use crate::domain::retry::Retry;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `sqlite:///path/file.db` or `postgres://user:password@host/database`.
    pub database_url: String,
    /// Where files are kept: `file:///absolute/folder`. Gateways and hosts see the same datastore.
    pub datastore_url: String,
    /// Local folder in which files are inspected; "" = a folder of the datastore. On the datastore's own disk nothing
    /// has to be copied.
    pub scratch_dir: PathBuf,
    /// Bytes of one file at most.
    pub max_file_bytes: u64,
    /// Bytes of a disk as the guest sees it at most.
    pub max_disk_bytes: u64,
    /// Fetch from loopback, private and link-local addresses too. Tenants could then reach inside services.
    pub allow_private_urls: bool,
    /// Seconds for a connection to a web server.
    pub connect_timeout_s: u64,
    /// Seconds a web server may send nothing.
    pub idle_timeout_s: u64,
    /// Seconds for fetching one file.
    pub fetch_deadline_s: u64,
    /// Redirects followed.
    pub max_redirects: u32,
    /// Attempts at an import before it is rejected.
    pub attempts: u32,
    /// Milliseconds before the second attempt; doubles each time, up to five minutes.
    pub retry_ms: u64,
    /// Imports at a time.
    pub parallel_imports: usize,
    /// Milliseconds between the event that an image is being deleted and the removal of its files.
    pub deletion_grace_ms: u64,
    /// Seconds without a change after which an unfinished file is removed.
    pub unfinished_idle_s: u64,
    /// The program that checks qcow2 files.
    pub qemu_img: PathBuf,
    /// Seconds for one run of it.
    pub qemu_img_deadline_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: "sqlite:///var/lib/berth/storage.db".into(),
            datastore_url: "file:///var/lib/berth/datastore".into(),
            scratch_dir: PathBuf::new(),
            max_file_bytes: 256 << 30,
            max_disk_bytes: 16 << 40,
            allow_private_urls: false,
            connect_timeout_s: 10,
            idle_timeout_s: 30,
            fetch_deadline_s: 2 * 3600,
            max_redirects: 5,
            attempts: 5,
            retry_ms: 2_000,
            parallel_imports: 2,
            deletion_grace_ms: 10_000,
            unfinished_idle_s: 3600,
            qemu_img: "qemu-img".into(),
            qemu_img_deadline_s: 300,
        }
    }
}

impl Settings {
    /// What fetching may cost.
    pub(crate) fn fetch_limits(&self) -> FetchLimits {
        FetchLimits {
            allow_private: self.allow_private_urls,
            connect_timeout: Duration::from_secs(self.connect_timeout_s),
            idle_timeout: Duration::from_secs(self.idle_timeout_s),
            deadline: Duration::from_secs(self.fetch_deadline_s),
            redirects: self.max_redirects,
        }
    }

    /// When failed attempts are made again.
    pub(crate) fn retry(&self) -> Retry {
        let (first_wait, longest_wait) = (Duration::from_millis(self.retry_ms), Duration::from_secs(300));
        Retry { attempts: self.attempts, first_wait, longest_wait }
    }
}
