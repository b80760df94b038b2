//! Whether the hypervisor's own user can walk to disks and images.

use super::{Check, no_node};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use nix::unistd::User;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const CONFIGURATION: &str = "/etc/libvirt/qemu.conf";
/// Debian's, then everybody else's.
const USUAL: [&str; 2] = ["libvirt-qemu", "qemu"];

/// See the module.
pub struct StorageAccess;

#[async_trait]
impl Check for StorageAccess {
    fn name(&self) -> &'static str {
        "storage-access"
    }

    fn about(&self) -> &'static str {
        "the user that QEMU runs as can walk to disks and images"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let Some(node) = &ground.node else { return vec![no_node()] };
        if !ground.has_real_guests() || !node.host.libvirt_uri.starts_with("qemu") {
            return vec![Finding::skipped("no QEMU runs here")];
        }
        let Some(user) = qemu_user() else {
            return vec![Finding::skipped("it is not known which user QEMU runs as")];
        };
        ["host", "datastore"].map(|folder| judge(&node.data_dir.join(folder), &user)).into()
    }
}

fn qemu_user() -> Option<User> {
    let text = std::fs::read_to_string(CONFIGURATION).unwrap_or_default();
    let set = text.lines().find_map(|line| line.trim().strip_prefix("user")?.trim().strip_prefix('='));
    let set = set.map(|name| name.trim().trim_matches('"').trim_start_matches('+').to_owned());
    let names = set.into_iter().chain(USUAL.map(str::to_owned));
    names.filter_map(|name| User::from_name(&name).ok().flatten()).next()
}

fn judge(folder: &Path, user: &User) -> Finding {
    if user.uid.is_root() {
        return Finding::ok(format!("QEMU runs as root: it can walk to {}", folder.display()));
    }
    let ancestors: Vec<&Path> = folder.ancestors().collect();
    for at in ancestors.into_iter().rev() {
        let Ok(metadata) = std::fs::metadata(at) else {
            return Finding::skipped(format!("{} is not there yet", at.display()));
        };
        let walk = if metadata.uid() == user.uid.as_raw() {
            0o100
        } else if metadata.gid() == user.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        if metadata.mode() & walk == 0 {
            return Finding::problem(
                format!("{} is closed to {}: guests cannot open what is below it", at.display(), user.name),
                format!("chmod o+x {}, or move the node to a folder that is open", at.display()),
            );
        }
    }
    Finding::ok(format!("{} can walk to {}", user.name, folder.display()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_closed_to_qemu_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("ours");
        let nobody = User::from_name("nobody").expect("users").expect("nobody is everywhere");
        let host = folder.path().join("host");
        std::fs::create_dir(&host).expect("made");
        let closed = judge(&host, &nobody);
        let advice = format!("chmod o+x {}", folder.path().display());
        finds(&[closed], State::Problem, "closed to nobody", &advice);
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).expect("ours");
        assert_eq!(judge(&host, &nobody).state, State::Ok);
        assert_eq!(judge(&folder.path().join("nothing"), &nobody).state, State::Skipped);
    }
}
