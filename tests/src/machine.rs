//! A machine within the machine: mounts, network and processes of its own, with a libvirt that nobody else uses.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const SCRIPTS: &str = env!("CARGO_MANIFEST_DIR");

/// Everything in it ends with the value.
pub struct Machine {
    folder: tempfile::TempDir,
    outer: Child,
    /// The first process in it, as seen from outside.
    first: u32,
}

impl Machine {
    /// Starts one and waits until its libvirt answers. Needs root.
    ///
    /// # Panics
    /// When it does not come up; its own words are on standard error.
    pub fn start() -> Self {
        use std::os::unix::fs::PermissionsExt;
        // guests run as a user of their own, who has to walk here
        let folder =
            tempfile::Builder::new().prefix("berth-machine").tempdir_in("/var/tmp").expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("our own");
        let mut outer = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .arg(Path::new(SCRIPTS).join("machine.sh"))
            .arg(folder.path().join("libvirt"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux) is there");
        let said = BufReader::new(outer.stdout.take().expect("a pipe")).lines().next();
        assert_eq!(said.and_then(Result::ok).as_deref(), Some("ready"), "the inner machine did not start");
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let children = std::fs::read_to_string(&children).expect("the list of its children");
        let first = children.trim().parse().unwrap_or_else(|_| panic!("one child, not {children:?}"));
        Self { folder, outer, first }
    }

    /// A folder that both machines see.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// A program in it, not yet run.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--mount", "--net", "--pid", "--"]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a line of shell in it; it has to succeed. Answers what it said.
    #[track_caller]
    pub fn shell(&self, line: &str) -> String {
        let output = self.command("bash").args(["-c", line]).output().expect("nsenter (util-linux) is there");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Starts the libvirt daemons where they do not run.
    pub fn start_libvirt(&self) {
        // daemons keep what they inherit: nothing of this test's
        self.shell(&format!(
            "{SCRIPTS}/../deploy/libvirt.sh start >/run/said 2>&1 || {{ cat /run/said; false; }}"
        ));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // its first process dies with it, and the kernel ends all others of its process space
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}
