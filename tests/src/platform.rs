//! Every service as a process of its own, looked after as an init system would: one that ends is started again.

use crate::programs::program;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::eventually;

/// The services, in the order in which they are started.
pub const SERVICES: [&str; 4] = ["storage", "scheduler", "host-driver", "gateway"];

/// The processes of a platform, in a folder laid out like a node's.
pub struct Platform {
    folder: tempfile::TempDir,
    port: u16,
    children: Vec<(&'static str, Option<Child>)>,
    /// How often a process was started again because it had ended by itself.
    pub ended: u32,
}

impl Platform {
    /// Starts all services on the broker at `nats` with so many simulated hosts, and waits for the first token.
    /// `host` is further lines of the host-driver's `[service]`.
    pub async fn start(nats: &str, host: &str) -> Self {
        Self::start_with(nats, &[("host-driver", host)]).await
    }

    /// The same with further lines of the `[service]` of any service.
    pub async fn start_with(nats: &str, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("berth-platform").tempdir().expect("a temporary folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        let mut platform = Self { folder, port, children: SERVICES.map(|s| (s, None)).into(), ended: 0 };
        for service in SERVICES {
            let more: Vec<&str> =
                more.iter().filter(|(of, _)| *of == service).map(|(_, lines)| *lines).collect();
            platform.configure(service, nats, &more.join("\n"));
            platform.start_again(service);
        }
        let token = platform.data_dir().join("gateway/admin.token");
        eventually(Duration::from_secs(60), "the gateway's first token", async || {
            platform.tend();
            token.exists().then_some(())
        })
        .await;
        platform
    }

    fn configure(&self, service: &str, nats: &str, more: &str) {
        let data = self.data_dir();
        let path = |name: &str| data.join(name).display().to_string();
        let name = service.replace('-', "_");
        let database = format!("database_url = 'sqlite://{}'", path(&format!("{name}/{name}.db")));
        let datastore = format!("datastore_url = 'file://{}'", path("datastore"));
        let own = match service {
            "scheduler" => database,
            "storage" => format!("{database}\n{datastore}"),
            "gateway" => format!(
                "{database}\n{datastore}\nlisten = '127.0.0.1:{}'\ndata_dir = '{}'",
                self.port,
                path("gateway")
            ),
            _ => format!(
                "{database}\n{datastore}\ndata_dir = '{}'\ndrivers = ['simulated']\nsimulated.state_dir = '{}'",
                path("host"),
                path("worlds")
            ),
        };
        let text = format!(
            "sealing_key_file = '{}'\n[bus]\nurl = '{nats}'\n[telemetry]\nlog = 'warn'\n[service]\n{own}\n{more}\n",
            path("keys/sealing.key"),
        );
        std::fs::create_dir_all(&data).expect("a folder");
        std::fs::write(self.folder.path().join(format!("{service}.toml")), text).expect("a settings file");
    }

    /// Where databases and hosts are kept.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `http://127.0.0.1:port` of the gateway.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The administrator's token.
    pub fn token(&self) -> String {
        let file = self.data_dir().join("gateway/admin.token");
        std::fs::read_to_string(file).expect("the first token").trim().to_owned()
    }

    /// Files that the simulated hosts are kept in.
    pub fn worlds(&self) -> PathBuf {
        self.data_dir().join("worlds")
    }

    fn child(&mut self, service: &str) -> &mut Option<Child> {
        let found = self.children.iter_mut().find(|(name, _)| *name == service);
        found.map(|(_, child)| child).expect("a service of the platform")
    }

    /// Starts a service that does not run.
    pub fn start_again(&mut self, service: &'static str) {
        let folder: &Path = self.folder.path();
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{service}.log")));
        let child = Command::new(program(service))
            .arg(folder.join(format!("{service}.toml")))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("the service starts");
        *self.child(service) = Some(child);
    }

    /// Kills a service with SIGKILL; it stays down until it is started again.
    pub fn kill(&mut self, service: &str) {
        if let Some(mut child) = self.child(service).take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }

    /// Stops (SIGSTOP) or continues (SIGCONT) a service.
    pub fn pause(&mut self, service: &str, paused: bool) {
        let signal = if paused { Signal::SIGSTOP } else { Signal::SIGCONT };
        if let Some(child) = self.child(service) {
            let pid = i32::try_from(child.id()).expect("a process id");
            kill(Pid::from_raw(pid), signal).expect("our own child");
        }
    }

    /// Starts every service that ended by itself.
    pub fn tend(&mut self) {
        for service in SERVICES {
            let ended = self
                .child(service)
                .as_mut()
                .is_some_and(|child| child.try_wait().expect("our own child").is_some());
            if ended {
                self.ended += 1;
                self.start_again(service);
            }
        }
    }

    /// The end of every service's log, for messages.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for service in SERVICES {
            let log = std::fs::read_to_string(self.folder.path().join(format!("{service}.log")));
            let log = log.unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text += &format!("== {service}\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n"));
        }
        text
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
            // for whoever looks into it
            if std::env::var_os("BERTH_KEEP").is_some() {
                self.folder.disable_cleanup(true);
                eprintln!("kept: {}", self.folder.path().display());
            }
        }
        for (_, child) in &mut self.children {
            if let Some(child) = child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
