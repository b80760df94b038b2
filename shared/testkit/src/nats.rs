//! A real nats-server per test, on a free port, in a folder of its own.

use crate::eventually;
use bus::{BusSettings, Connection, Report};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A nats-server with JetStream. Ends with the value.
pub struct NatsServer {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    configuration: String,
}

/// A message inside a stream that [`NatsServer::corrupt`] breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// In the middle of the first block: a hole inside the stream.
    First,
    /// In the middle of the last block.
    Last,
}

impl NatsServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When nats-server is not installed: the message says how to install it.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with more configuration: `jetstream { max_file_store: 20MB }`.
    pub async fn start_with(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = crate::free_port();
        let mut server = Self { folder, port, child: None, configuration: configuration.to_owned() };
        server.up().await;
        server
    }

    /// Starts the server again after [`Self::kill`], with what it stored.
    pub async fn up(&mut self) {
        // what it said before it was killed is kept
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"));
        let file = self.folder.path().join("nats-server.conf");
        std::fs::write(&file, &self.configuration).expect("a configuration");
        let mut command = Command::new("nats-server");
        command
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"])
            .arg(self.folder.path().join("jetstream"))
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"));
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start nats-server ({error}); install it with: deploy/prerequisites.sh run")
        });
        self.child = Some(child);
        eventually(Duration::from_secs(20), "nats-server to answer", async || {
            let client = async_nats::connect(self.url()).await.ok()?;
            async_nats::jetstream::new(client).query_account().await.ok()
        })
        .await;
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends the server in order (SIGTERM): it writes down what it knows of its blocks.
    pub fn end(&mut self) {
        use nix::sys::signal::{Signal, kill};
        if let Some(mut child) = self.child.take() {
            kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("our own child");
            child.wait().expect("our own child");
        }
    }

    /// With other configuration after the next [`Self::up`].
    pub fn configure(&mut self, configuration: &str) {
        configuration.clone_into(&mut self.configuration);
    }

    /// Stops (SIGSTOP) or continues (SIGCONT) the server.
    pub fn pause(&self, paused: bool) {
        use nix::sys::signal::{Signal, kill};
        let signal = if paused { Signal::SIGSTOP } else { Signal::SIGCONT };
        if let Some(child) = &self.child {
            kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).expect("our own child");
        }
    }

    /// Removes everything the server stored. It must be down.
    pub fn wipe(&self) {
        assert!(self.child.is_none(), "kill the server first");
        let _ = std::fs::remove_dir_all(self.folder.path().join("jetstream"));
    }

    /// Flips bytes in the middle of a block of a stream's file store. The server must be down.
    ///
    /// # Panics
    /// When the stream has no such block.
    pub fn corrupt(&self, stream: &str, block: Block) {
        assert!(self.child.is_none(), "kill the server first");
        let folder = self.folder.path().join("jetstream/jetstream/$G/streams").join(stream).join("msgs");
        let mut blocks: Vec<(u64, std::path::PathBuf)> = std::fs::read_dir(&folder)
            .expect("the stream's messages")
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let number = path.file_name()?.to_str()?.strip_suffix(".blk")?.parse().ok()?;
                Some((number, path))
            })
            .collect();
        blocks.sort();
        let (_, path) = match block {
            Block::First => blocks.first(),
            Block::Last => blocks.last(),
        }
        .expect("a block");
        let mut bytes = std::fs::read(path).expect("a block");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0xff);
        std::fs::write(path, bytes).expect("our own file");
    }

    /// Keeps a copy of what the server stored. It must be down.
    pub fn back_up(&self) {
        self.copy("jetstream", "backup");
    }

    /// Puts the copy back in place of what the server stored since. It must be down.
    pub fn roll_back(&self) {
        self.copy("backup", "jetstream");
    }

    fn copy(&self, from: &str, to: &str) {
        assert!(self.child.is_none(), "kill the server first");
        let (from, to) = (self.folder.path().join(from), self.folder.path().join(to));
        let _ = std::fs::remove_dir_all(&to);
        let copied = Command::new("cp").arg("-a").args([&from, &to]).status().expect("cp runs");
        assert!(copied.success(), "{} is copied", from.display());
    }

    /// Where it keeps its store, its configuration and its log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `nats://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Settings for a connection to this server.
    pub fn settings(&self) -> BusSettings {
        BusSettings { url: self.url(), ..BusSettings::default() }
    }

    /// A connection to this server, with all streams.
    pub async fn connect(&self) -> Connection {
        Connection::open(&self.settings(), "test", Report::none()).await.expect("our own server")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
