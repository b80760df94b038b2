//! Whether the programs that a node starts are installed.

use super::Check;
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use std::path::{Path, PathBuf};

/// See the module.
pub struct Prerequisites;

#[async_trait]
impl Check for Prerequisites {
    fn name(&self) -> &'static str {
        "prerequisites"
    }

    fn about(&self) -> &'static str {
        "the programs that a node starts are installed"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let mut wanted = vec![(PathBuf::from("qemu-img"), "inspects and makes disk images")];
        match &ground.node {
            Some(node) if !node.nats.url.is_empty() => {}
            Some(node) => wanted.push((node.nats.server_path.clone(), "the broker")),
            None => wanted.push((PathBuf::from("nats-server"), "the broker")),
        }
        if ground.has_real_guests() {
            wanted.push((format!("qemu-system-{}", std::env::consts::ARCH).into(), "runs the guests"));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
        vec![judge(&wanted, &folders)]
    }
}

fn judge(wanted: &[(PathBuf, &str)], folders: &[PathBuf]) -> Finding {
    let is_there = |program: &Path| {
        if program.components().count() > 1 {
            return program.is_file();
        }
        folders.iter().any(|folder| folder.join(program).is_file())
    };
    let name = |(program, what): &(PathBuf, &str)| format!("{} ({what})", program.display());
    let missing: Vec<String> = wanted.iter().filter(|(program, _)| !is_there(program)).map(name).collect();
    if missing.is_empty() {
        let all: Vec<String> = wanted.iter().map(|(program, _)| program.display().to_string()).collect();
        return Finding::ok(format!("{} are there", all.join(", ")));
    }
    Finding::problem(
        format!("not installed: {}", missing.join(", ")),
        "install what is missing with: deploy/prerequisites.sh run",
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let mut ground = node_in(folder.path());
        ground.node.as_mut().expect("node").nats.server_path = folder.path().join("nats-server");
        finds(&Prerequisites.look(&ground).await, State::Problem, "(the broker)", "prerequisites.sh run");
        std::fs::write(folder.path().join("nats-server"), "").expect("written");
        let bare = [(PathBuf::from("nats-server"), "the broker")];
        assert_eq!(judge(&bare, &[folder.path().to_owned()]).state, State::Ok);
        assert_eq!(judge(&bare, &[]).state, State::Problem);
    }
}
