//! Whether there is room, and room for files.

use super::{Check, no_node};
use crate::doctor::{Finding, Ground, Thresholds};
use async_trait::async_trait;
use nix::sys::statvfs::statvfs;
use std::collections::BTreeMap;
use std::path::Path;

/// See the module.
pub struct Disks;

#[async_trait]
impl Check for Disks {
    fn name(&self) -> &'static str {
        "disk-space"
    }

    fn about(&self) -> &'static str {
        "the disks of data folder, event log and datastore have room and free inodes"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let Some(node) = &ground.node else { return vec![no_node()] };
        // folders on one file system are one disk
        let mut disks: BTreeMap<u64, Finding> = BTreeMap::new();
        for folder in ["", "nats/store", "datastore", "host"] {
            let path = node.data_dir.join(folder);
            if let Ok(metadata) = std::fs::metadata(&path) {
                use std::os::unix::fs::MetadataExt;
                disks.entry(metadata.dev()).or_insert_with(|| judge(&path, &ground.limits));
            }
        }
        if disks.is_empty() { vec![no_node()] } else { disks.into_values().collect() }
    }
}

fn judge(path: &Path, limits: &Thresholds) -> Finding {
    let facts = match statvfs(path) {
        Ok(facts) => facts,
        Err(error) => {
            let text = format!("{} cannot be looked at: {error}", path.display());
            return Finding::problem(text, "look at the disk and at the rights of this folder");
        }
    };
    let percent = |free: u64, all: u64| (free * 100).checked_div(all).unwrap_or(100);
    let space = percent(facts.blocks_available(), facts.blocks());
    // file systems that make inodes as they need them say 0 of 0
    let inodes = percent(facts.files_available(), facts.files());
    let free = terminal::output::bytes(facts.blocks_available() * facts.fragment_size());
    let text = format!("{}: {space} % ({free}) and {inodes} % of the inodes are free", path.display());
    let (warning, problem) = limits.free_percent;
    match space.min(inodes) {
        least if least < problem => Finding::problem(
            text,
            "make room now: delete images and instances that nobody needs, or give the disk more space; at 0 every request is refused",
        ),
        least if least < warning => Finding::warning(
            text,
            "make room: delete images and instances that nobody needs, or give the disk more space",
        ),
        _ => Finding::ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn a_disk_below_its_limit_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let mut ground = node_in(folder.path());
        ground.limits.free_percent = (0, 0);
        assert_eq!(Disks.look(&ground).await[0].state, State::Ok);
        // no disk of a running machine has more than all of it free
        ground.limits.free_percent = (101, 0);
        finds(&Disks.look(&ground).await, State::Warning, "are free", "make room");
        ground.limits.free_percent = (101, 101);
        finds(&Disks.look(&ground).await, State::Problem, "inodes", "make room now");
    }
}
