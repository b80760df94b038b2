//! Every service as a process of its own, looked after as an init system would: one that ends is started again.

use crate::cli::Cli;
use crate::kept;
use crate::programs::program;
use chassis::service::{Place, Service, lay_over};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::SERVICES;
use serde_json::json;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::eventually;

/// The programs of the services, in the order in which they are started.
pub fn programs() -> Vec<&'static str> {
    SERVICES.iter().map(|service| service.program).collect()
}

/// What the settings files say besides.
#[derive(Debug, Default)]
pub struct Extra<'a> {
    /// Lines of the `[service]` of a service: ("host-driver", "simulated.count = 2").
    pub lines: &'a [(&'a str, &'a str)],
    /// Where spans are sent; "" = nowhere.
    pub traces: &'a str,
    /// Each service comes to the broker as its own user, whose password is its name.
    pub users: bool,
    /// Where each service shows health and metrics, by program.
    pub ops: &'a [(&'a str, String)],
}

/// Between two looks at the services.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The processes of a platform, in a folder laid out like a node's.
pub struct Platform {
    folder: tempfile::TempDir,
    port: u16,
    children: Vec<(&'static str, Option<Child>)>,
    /// How often a process was started again because it had ended by itself.
    pub ended: u32,
    kept: bool,
}

impl Platform {
    /// Starts all services on the broker at `nats` with so many simulated hosts, and waits for the first token.
    /// `host` is further lines of the host-driver's `[service]`.
    pub async fn start(nats: &str, host: &str) -> Self {
        Self::start_with(nats, Extra { lines: &[(host_driver::SERVICE.program, host)], ..Extra::default() })
            .await
    }

    /// The same with more in the settings of any service.
    pub async fn start_with(nats: &str, extra: Extra<'_>) -> Self {
        let folder = tempfile::Builder::new().prefix("berth-platform").tempdir().expect("a temporary folder");
        let port = testkit::free_port();
        let children = SERVICES.map(|service| (service.program, None)).into();
        let mut platform = Self { folder, port, children, ended: 0, kept: false };
        for service in SERVICES {
            platform.configure(service, nats, &extra);
            platform.start_again(service.program);
        }
        let token = platform.data_dir().join("gateway/admin.token");
        eventually(Duration::from_secs(60), "the gateway's first token", async || {
            platform.tend();
            token.exists().then_some(())
        })
        .await;
        platform
    }

    fn configure(&self, service: &'static Service, nats: &str, extra: &Extra<'_>) {
        let data = self.data_dir();
        let place = Place { listen: format!("127.0.0.1:{}", self.port), ..Place::in_folder(&data, service) };
        let mut own = json!({});
        if *service == host_driver::SERVICE {
            own = json!({ "drivers": ["simulated"], "simulated": { "state_dir": self.worlds() } });
        }
        for (_, lines) in extra.lines.iter().filter(|(of, _)| *of == service.program) {
            let lines: toml::Table = lines.parse().expect("lines of a settings file");
            lay_over(&mut own, json!(lines));
        }
        let mut bus = json!({ "url": nats });
        if extra.users {
            let (user, makes_streams) = (service.name, false);
            lay_over(&mut bus, json!({ "user": user, "password": user, "makes_streams": makes_streams }));
        }
        let ops = extra.ops.iter().find(|(of, _)| *of == service.program);
        let settings = json!({
            "ops_listen": ops.map_or("", |(_, address)| address),
            "sealing_key_file": data.join("keys/sealing.key"),
            "bus": bus,
            "telemetry": { "log": "warn", "otlp_endpoint": extra.traces },
            "service": service.settings_at(&place, own).as_json(),
        });
        let text = toml::to_string(&settings).expect("settings as TOML");
        std::fs::create_dir_all(&data).expect("a folder");
        std::fs::write(self.folder.path().join(format!("{}.toml", service.program)), text)
            .expect("a settings file");
    }

    /// Settings, logs and data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where databases and hosts are kept.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `http://127.0.0.1:port` of the gateway.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A command line that talks to it as its administrator.
    pub fn cli(&self) -> Cli {
        let context = format!(
            "current = 'local'\n[contexts.local]\nendpoint = '{}'\ntoken_file = '{}'\n",
            self.endpoint(),
            self.data_dir().join("gateway/admin.token").display()
        );
        std::fs::write(self.data_dir().join("client.toml"), context).expect("a context");
        Cli::new(&self.data_dir())
    }

    /// The administrator's token.
    pub fn token(&self) -> String {
        let file = self.data_dir().join("gateway/admin.token");
        std::fs::read_to_string(file).expect("the first token").trim().to_owned()
    }

    /// Where the host-driver keeps its id, and the disks of simulated hosts that are files.
    pub fn host_dir(&self) -> PathBuf {
        self.data_dir().join("host")
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

    /// Kills a service with SIGKILL; it stays down until it is started again. False: it did not run any more.
    pub fn kill(&mut self, service: &str) -> bool {
        let Some(mut child) = self.child(service).take() else { return false };
        child.kill().expect("our own child");
        let ended = child.wait().expect("our own child");
        ended.signal() == Some(Signal::SIGKILL as i32)
    }

    /// Stops (SIGSTOP) or continues (SIGCONT) a service.
    pub fn pause(&mut self, service: &str, paused: bool) {
        let signal = if paused { Signal::SIGSTOP } else { Signal::SIGCONT };
        if let Some(child) = self.child(service) {
            let pid = i32::try_from(child.id()).expect("a process id");
            kill(Pid::from_raw(pid), signal).expect("our own child");
        }
    }

    /// The processes as the system sees them: "scheduler: process 17, T (stopped)"; "not running" when there is none.
    pub fn processes(&self) -> Vec<(&'static str, String)> {
        let state = |child: &Child| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let state = status.lines().find_map(|line| line.strip_prefix("State:"));
            format!("process {}, {}", child.id(), state.unwrap_or("gone").trim())
        };
        let said = |child: &Option<Child>| child.as_ref().map_or_else(|| "not running".to_owned(), state);
        self.children.iter().map(|(service, child)| (*service, said(child))).collect()
    }

    /// Whether a service is stopped by [`Self::pause`].
    pub fn is_held(&self, service: &str) -> bool {
        self.processes().iter().any(|(name, state)| *name == service && state.contains("T (stopped)"))
    }

    /// Starts every service that ended by itself.
    pub fn tend(&mut self) {
        for service in programs() {
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

    /// Looks after the services for ever.
    pub async fn look_after(&mut self) {
        let mut round = tokio::time::interval(LOOK_EVERY);
        loop {
            round.tick().await;
            self.tend();
        }
    }

    /// The end of every service's log, for messages.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for service in programs() {
            let log = std::fs::read_to_string(self.folder.path().join(format!("{service}.log")));
            let log = log.unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text += &format!("== {service}\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n"));
        }
        text
    }
}

impl Platform {
    /// Kills all services; what they had is kept with what else belongs to the story. Answers where.
    pub fn keep(&mut self, story: &str, more: &[(&str, &Path)]) -> PathBuf {
        self.end();
        self.kept = true;
        kept::keep(story, &[&[("platform", self.folder.path())], more].concat())
    }

    fn end(&mut self) {
        for (_, child) in &mut self.children {
            if let Some(mut child) = child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.kept {
            eprintln!("{}", self.logs());
            self.keep(&kept::running_story(), &[]);
        }
        self.end();
    }
}
