//! An all-in-one node as a child process, in a folder of its own.

use crate::cli::Cli;
use crate::kept;
use crate::programs::program;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a node may take to come up, on a machine that is busy with other tests.
const UP: Duration = Duration::from_secs(60);

/// `berth up`, running.
pub struct Node {
    folder: tempfile::TempDir,
    options: Vec<String>,
    listen: String,
    ops: String,
    child: Option<Child>,
}

fn free_address() -> String {
    format!("127.0.0.1:{}", testkit::free_port())
}

impl Node {
    /// Starts a node with further options of `berth up` and waits until it answers.
    pub async fn start(options: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("berth-node").tempdir().expect("a temporary folder");
        Self::start_in(folder, options).await
    }

    /// The same in a folder that the hypervisor's own user can read.
    pub async fn start_readable(options: &[&str]) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder =
            tempfile::Builder::new().prefix("berth-node").tempdir_in("/var/tmp").expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("our own folder");
        Self::start_in(folder, options).await
    }

    /// The same after `prepare` has done something in its data folder.
    pub async fn start_prepared(options: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::Builder::new().prefix("berth-node").tempdir().expect("a temporary folder");
        prepare(&folder.path().join("data"));
        Self::start_in(folder, options).await
    }

    async fn start_in(folder: tempfile::TempDir, options: &[&str]) -> Self {
        let options = options.iter().map(|&o| o.to_owned()).collect();
        let mut node = Self { folder, options, listen: free_address(), ops: free_address(), child: None };
        node.up().await;
        node
    }

    /// Starts the node again where it was.
    pub async fn up(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log file");
        let child = Command::new(program("berth"))
            .args(["up", "--listen", &self.listen, "--ops-listen", &self.ops])
            .args(&self.options)
            .env("BERTH_DATA_DIR", self.data_dir())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("berth starts");
        self.child = Some(child);
        testkit::eventually(UP, "the node to answer", async || {
            let ended = self.child.as_mut().and_then(|c| c.try_wait().expect("our own child"));
            assert!(ended.is_none(), "the node ended: {ended:?}\n{}", self.log_tail());
            (self.cli().run(&["status"]).code == 0).then_some(())
        })
        .await;
    }

    /// Tries to start the node, which has to refuse. Answers what it says.
    pub fn refuses(&self) -> String {
        // a node that is not refused would run for ever
        let output = Command::new("timeout")
            .args(["--kill-after=10", "60"])
            .arg(program("berth"))
            .args(["up", "--listen", &self.listen, "--ops-listen", &self.ops])
            .args(&self.options)
            .env("BERTH_DATA_DIR", self.data_dir())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .output()
            .expect("berth starts");
        assert!(!output.status.success(), "it was to be refused");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Where the node keeps everything.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The end of the node's log, for messages.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Everything the node has logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// What its services wanted of the broker and may not.
    fn denials(&self) -> Vec<String> {
        let denied = |line: &&str| line.contains("the broker does not allow this");
        self.log_text().lines().filter(denied).map(str::to_owned).collect()
    }

    /// Commands for this node.
    pub fn cli(&self) -> Cli {
        Cli::new(&self.data_dir())
    }

    /// Process ids of the node and of its broker, as far as they run.
    pub fn pids(&self) -> Vec<u32> {
        let broker = broker_pid(&self.data_dir()).and_then(|pid| u32::try_from(pid).ok());
        self.child.as_ref().map(Child::id).into_iter().chain(broker).collect()
    }

    /// `127.0.0.1:port` of the gateway.
    pub fn address(&self) -> &str {
        &self.listen
    }

    /// `127.0.0.1:port` of metrics and health.
    pub fn ops_address(&self) -> &str {
        &self.ops
    }

    /// Kills the node with SIGKILL. Its broker stays behind, as it would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }

    /// Kills the node's broker with SIGKILL; the node starts it again.
    pub async fn kill_broker(&self) {
        // after an earlier kill the file names the dead one until the next is there
        let alive = || broker_pid(&self.data_dir()).filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
        let pid = testkit::eventually(UP, "a broker to kill", async || alive()).await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("our own child");
    }

    /// Asks the node to end and waits for it. True: it said that all went well.
    pub fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return true };
        let pid = i32::try_from(child.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("our own child");
        child.wait().expect("our own child").success()
    }
}

fn broker_pid(data_dir: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(data_dir.join("nats/nats-server.pid")).ok()?;
    text.trim().parse().ok()
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        // only a process that still runs with this folder's configuration is ours
        if let Some(pid) = broker_pid(&self.data_dir()) {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let conf = self.data_dir().join("nats/nats-server.conf");
            if String::from_utf8_lossy(&line).split('\0').any(|a| Path::new(a) == conf) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        if std::thread::panicking() {
            kept::keep(&kept::running_story(), &[("node", self.folder.path())]);
        } else {
            let denied: Vec<String> = self.denials();
            assert!(
                denied.is_empty(),
                "the broker denied services of the node their work:\n{}",
                denied.join("\n")
            );
        }
    }
}
