//! Whether databases, event log and disks are on file systems that keep their promises.

use super::{Check, no_node};
use crate::SERVICES;
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use nix::sys::statfs::statfs;
use std::path::Path;

/// What is kept where: a folder of the node and what is in it.
fn folders() -> Vec<(&'static str, &'static str)> {
    let databases = SERVICES.iter().map(|service| (service.name, "a database of it"));
    [("", "the node's data")]
        .into_iter()
        .chain(databases)
        .chain([("nats/store", "the event log"), ("datastore", "images")])
        .collect()
}

/// See the module.
pub struct FileSystems;

#[async_trait]
impl Check for FileSystems {
    fn name(&self) -> &'static str {
        "file-systems"
    }

    fn about(&self) -> &'static str {
        "databases, event log and images are on file systems that last and lock"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let Some(node) = &ground.node else { return vec![no_node()] };
        let mut found: Vec<Finding> = Vec::new();
        for (folder, what) in folders() {
            let path = node.data_dir.join(folder);
            if path.exists()
                && let Some(finding) = judge(&path, what)
                && !found.contains(&finding)
            {
                found.push(finding);
            }
        }
        super::or_ok(found, format!("{} is on a local file system", node.data_dir.display()))
    }
}

fn judge(path: &Path, what: &str) -> Option<Finding> {
    let kind = match statfs(path) {
        Ok(facts) => name_of(facts.filesystem_type().0),
        Err(error) => {
            let text = format!("{} cannot be looked at: {error}", path.display());
            return Some(Finding::warning(text, "look at the disk and at the rights of this folder"));
        }
    };
    let at = path.display();
    match kind {
        "tmpfs" => Some(Finding::problem(
            format!("{what} ({at}) is in memory (tmpfs): it is gone after a restart of the machine"),
            "move the data folder to a disk: berth up --data-dir",
        )),
        "nfs" | "smb" | "9p" | "fuse" => Some(Finding::problem(
            format!(
                "{what} ({at}) is on a {kind} file system: SQLite and JetStream need locks and syncs it does not keep"
            ),
            "move the data folder to a local disk (ext4, xfs, btrfs, zfs): berth up --data-dir",
        )),
        "overlay" => Some(Finding::warning(
            format!("{what} ({at}) is in the layer of a container: it goes with the container"),
            "mount a volume there",
        )),
        _ => None,
    }
}

/// Magic numbers of linux/magic.h, and of fs/smb, fs/9p, fs/nfs in the kernel's sources.
fn name_of(magic: i64) -> &'static str {
    match magic {
        0x0102_1994 | 0x8584_58f6 => "tmpfs",
        0x6969 => "nfs",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "smb",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        0x794c_7630 => "overlay",
        _ => "another",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn data_in_memory_is_found() {
        // every Linux has one; deploy/prerequisites.sh needs it as well
        let memory = tempfile::tempdir_in("/dev/shm").expect("a tmpfs at /dev/shm");
        finds(&FileSystems.look(&node_in(memory.path())).await, State::Problem, "tmpfs", "--data-dir");
        let disk = tempfile::tempdir_in("/var/tmp").expect("a folder on a disk");
        let found = FileSystems.look(&node_in(disk.path())).await;
        assert!(found.iter().all(|f| f.state < State::Problem), "{found:?}");
    }

    #[test]
    fn shared_file_systems_are_known() {
        for (magic, name) in [(0x6969, "nfs"), (0xff53_4d42, "smb"), (0xef53, "another")] {
            assert_eq!(name_of(magic), name);
        }
    }
}
