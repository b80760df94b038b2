//! Whether files with secrets are their owner's alone.

use super::{Check, no_node};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use std::os::unix::fs::PermissionsExt;

/// Files of a data folder that open something.
const FILES: [&str; 6] = [
    "client.toml",
    "gateway/admin.token",
    "gateway/token.key",
    "keys/sealing.key",
    "nats/nats-server.conf",
    "pki/node.key",
];

/// See the module.
pub struct Secrets;

#[async_trait]
impl Check for Secrets {
    fn name(&self) -> &'static str {
        "secret-files"
    }

    fn about(&self) -> &'static str {
        "keys, tokens and passwords can be read by their owner only"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let Some(node) = &ground.node else { return vec![no_node()] };
        let (mut found, mut seen) = (Vec::new(), 0);
        let passwords = node.data_dir.join("nats/users");
        let passwords = std::fs::read_dir(passwords).into_iter().flatten().flatten().map(|file| file.path());
        for path in FILES.iter().map(|name| node.data_dir.join(name)).chain(passwords) {
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            seen += 1;
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                found.push(Finding::problem(
                    format!("{} has mode {mode:03o}: others may read it", path.display()),
                    format!(
                        "chmod 600 {}; whoever could log in here may know it: make a new one",
                        path.display()
                    ),
                ));
            }
        }
        match seen {
            0 => vec![Finding::skipped("there are no secrets yet")],
            _ => super::or_ok(found, format!("{seen} files are closed to others")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn a_key_that_others_may_read_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let ground = node_in(folder.path());
        assert_eq!(Secrets.look(&ground).await[0].state, State::Skipped);
        let key = folder.path().join("keys/sealing.key");
        chassis::private_file::make_once(&key, "00").expect("made");
        assert_eq!(Secrets.look(&ground).await[0].state, State::Ok);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("ours");
        finds(&Secrets.look(&ground).await, State::Problem, "mode 644", "chmod 600");
    }
}
