//! The machine a run was made on: figures without it say nothing.

use serde::Serialize;
use std::process::Command;

/// What matters of a machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// As the kernel names it.
    pub processor: String,
    /// How many run at once.
    pub cores: usize,
    /// Mebibytes.
    pub memory_mib: u64,
    /// Its release.
    pub kernel: String,
    /// The broker.
    pub nats_server: String,
    /// Load average over a minute when the run began: above the number of cores the figures are of a busy machine.
    pub load: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map_or("?".to_owned(), |(_, v)| v.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let nats = Command::new("nats-server").arg("--version").output();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib >> 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            nats_server: nats
                .map_or("not found".into(), |out| String::from_utf8_lossy(&out.stdout).trim().to_owned()),
            load: read("/proc/loadavg").split(' ').next().unwrap_or("?").to_owned(),
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        format!(
            "{} x {}, {} MiB, Linux {}, {}, load {}",
            self.cores, self.processor, self.memory_mib, self.kernel, self.nats_server, self.load
        )
    }
}
