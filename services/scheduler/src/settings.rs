//! What an operator may set.

use crate::domain::lifecycle::LifecycleLimits;
use anyhow::ensure;
use scheduler_placement::resources::Overcommit;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Settings of the scheduler.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Its database: "sqlite:///var/lib/berth/scheduler.db" or "postgres://…" (more than one scheduler: PostgreSQL).
    pub database_url: String,
    /// Percent of a new host's CPUs that may be promised; 100 = no overcommit.
    pub overcommit_vcpus_percent: u32,
    /// Percent of a new host's memory that may be promised.
    pub overcommit_memory_percent: u32,
    /// Percent of a new host's disk that may be promised.
    pub overcommit_disk_percent: u32,
    /// Seconds after which a create, start or reboot that is not done is failed; the work goes on.
    pub start_deadline_s: u64,
    /// Seconds for stop (on top of its grace time), pause, resume and delete.
    pub action_deadline_s: u64,
    /// On how many hosts a first start is tried.
    pub max_hosts: usize,
    /// Seconds a guest gets to shut down when nobody said.
    pub default_stop_grace_s: u32,
    /// Seconds of silence after which a host is unreachable.
    pub host_silence_s: u64,
    /// Seconds between two looks at the instances that wait, besides whenever room appears.
    pub placement_period_s: u64,
    /// Seconds between two looks at the deadlines.
    pub deadline_period_s: u64,
    /// Seconds after which a host that has not answered an order is told again.
    pub order_patience_s: u64,
    /// Seconds for which rows of objects that are gone are kept (30 days). The events and the archive keep what they were.
    pub gone_keep_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: "sqlite:///var/lib/berth/scheduler.db".into(),
            overcommit_vcpus_percent: 400,
            overcommit_memory_percent: 100,
            overcommit_disk_percent: 100,
            start_deadline_s: 600,
            action_deadline_s: 300,
            max_hosts: 3,
            default_stop_grace_s: 60,
            host_silence_s: 30,
            placement_period_s: 10,
            deadline_period_s: 1,
            order_patience_s: 30,
            gone_keep_s: 30 * 24 * 3600,
        }
    }
}

impl Settings {
    /// Refuses what cannot work, with what would be right.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, value) in [
            ("start_deadline_s", self.start_deadline_s),
            ("action_deadline_s", self.action_deadline_s),
            ("host_silence_s", self.host_silence_s),
            ("placement_period_s", self.placement_period_s),
            ("deadline_period_s", self.deadline_period_s),
            ("order_patience_s", self.order_patience_s),
            ("gone_keep_s", self.gone_keep_s),
            ("overcommit_vcpus_percent", u64::from(self.overcommit_vcpus_percent)),
            ("overcommit_memory_percent", u64::from(self.overcommit_memory_percent)),
            ("overcommit_disk_percent", u64::from(self.overcommit_disk_percent)),
        ] {
            ensure!(value > 0, "scheduler: {name} is 0; set it to 1 or more");
        }
        ensure!(self.max_hosts > 0, "scheduler: max_hosts is 0; set it to 1 or more");
        Ok(())
    }

    /// The numbers behind the life of an instance.
    pub fn limits(&self) -> LifecycleLimits {
        LifecycleLimits {
            start_deadline: Duration::from_secs(self.start_deadline_s),
            action_deadline: Duration::from_secs(self.action_deadline_s),
            max_hosts: self.max_hosts,
            default_grace_s: self.default_stop_grace_s,
        }
    }

    /// How far new hosts' resources may be promised.
    pub fn overcommit(&self) -> Overcommit {
        Overcommit {
            vcpus: self.overcommit_vcpus_percent,
            memory: self.overcommit_memory_percent,
            disk: self.overcommit_disk_percent,
        }
    }

    /// Silence after which a host is unreachable.
    pub fn host_silence(&self) -> Duration {
        Duration::from_secs(self.host_silence_s)
    }

    /// Time between two looks at the instances that wait.
    pub fn placement_period(&self) -> Duration {
        Duration::from_secs(self.placement_period_s)
    }

    /// Time after which a host that has not answered is told again.
    pub fn order_patience(&self) -> Duration {
        Duration::from_secs(self.order_patience_s)
    }

    /// How long rows of objects that are gone are kept.
    pub fn gone_keep(&self) -> Duration {
        Duration::from_secs(self.gone_keep_s)
    }

    /// Time between two looks at the deadlines.
    pub fn deadline_period(&self) -> Duration {
        Duration::from_secs(self.deadline_period_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_nonsense_is_named() {
        assert!(Settings::default().check().is_ok());
        let error = Settings { host_silence_s: 0, ..Settings::default() }.check().expect_err("refused");
        assert!(error.to_string().contains("host_silence_s"), "{error}");
    }
}
