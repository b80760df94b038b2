//! One file, one check.

mod certificates;
mod clock;
mod consumers;
mod dead_letters;
mod disks;
mod durability;
mod file_systems;
mod health;
mod hosts;
mod instances;
mod kvm;
mod libvirt;
mod memory;
mod messages;
mod nats_server;
mod open_files;
mod operations;
mod outboxes;
mod ports;
mod prerequisites;
mod sealing_key;
mod secrets;
mod storage_access;
mod streams;
mod versions;

use super::{Finding, Ground};
use async_trait::async_trait;

/// Looks at one thing.
#[async_trait]
pub trait Check: Send + Sync {
    /// One word for the command line: "disk-space".
    fn name(&self) -> &'static str;

    /// What it looks at, in one line.
    fn about(&self) -> &'static str;

    /// What it found: at least one finding.
    async fn look(&self, ground: &Ground) -> Vec<Finding>;
}

/// Every check, in the order in which a node stands on them.
pub static ALL: &[&dyn Check] = &[
    &prerequisites::Prerequisites,
    &versions::Versions,
    &kvm::Kvm,
    &libvirt::Libvirt,
    &storage_access::StorageAccess,
    &file_systems::FileSystems,
    &disks::Disks,
    &memory::Memory,
    &open_files::OpenFiles,
    &ports::Ports,
    &clock::Clock,
    &certificates::Certificates,
    &secrets::Secrets,
    &sealing_key::SealingKey,
    &nats_server::NatsServer,
    &durability::Durability,
    &streams::Streams,
    &consumers::Consumers,
    &messages::Messages,
    &dead_letters::DeadLetters,
    &outboxes::Outboxes,
    &health::Health,
    &hosts::Hosts,
    &operations::Operations,
    &instances::Instances,
];

/// The folder to look at, or why there is none.
fn no_node() -> Finding {
    Finding::skipped("there is no node in this data folder; name one with --data-dir")
}

/// Why nothing is known of the platform.
fn not_asked(why: &str) -> Finding {
    Finding::skipped(format!("the gateway could not be asked: {why}"))
}

/// "a, b and 3 more".
fn some(names: &[String], count: u64) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    match count.saturating_sub(shown.len() as u64) {
        0 => shown.join(", "),
        rest => format!("{} and {rest} more", shown.join(", ")),
    }
}

/// Findings, or the one that says that all is well.
fn or_ok(findings: Vec<Finding>, ok: impl Into<String>) -> Vec<Finding> {
    if findings.is_empty() { vec![Finding::ok(ok)] } else { findings }
}

#[cfg(test)]
mod testing {
    use crate::NodeSettings;
    use crate::doctor::{Finding, Ground, State};
    use crate::settings::{HostSettings, NodeDriver};
    use std::path::Path;

    /// A ground with a node in this folder that pretends its hosts.
    pub fn node_in(folder: &Path) -> Ground {
        let host = HostSettings { driver: NodeDriver::Simulated, ..HostSettings::default() };
        let node = NodeSettings { data_dir: folder.to_owned(), host, ..NodeSettings::default() };
        Ground { node: Some(node), ..Ground::empty() }
    }

    /// The worst of the findings.
    pub fn worst(findings: &[Finding]) -> &Finding {
        findings.iter().max_by_key(|finding| finding.state).expect("a check finds something")
    }

    /// The fault was found, and the advice names what helps.
    #[track_caller]
    pub fn finds(findings: &[Finding], state: State, says: &str, advice: &str) {
        let found = findings
            .iter()
            .any(|f| f.state == state && f.finding.contains(says) && f.advice.contains(advice));
        assert!(found, "no {state:?} that says {says:?} and advises {advice:?}: {findings:#?}");
    }
}
