//! The node's own nats-server: a child process with a configuration of its own, started again whenever it ends.

use super::broker_access::{Access, secrets};
use super::broker_conf::{ACCOUNT, BrokerSettings, configuration};
use anyhow::{Context, bail};
use chassis::{HealthHandle, private_file};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// The oldest server that knows atomic batches and several filters of one consumer.
const OLDEST: (u32, u32) = (2, 12);
/// How long a server may take to answer or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the passwords of its users are, below its folder.
const PASSWORDS: &str = "users";
/// Where the password was when all services came as one user.
const ONE_PASSWORD: &str = "password";
/// Where servers without accounts keep their streams.
const WITHOUT_ACCOUNTS: &str = "$G";

/// A running server that is looked after.
pub(crate) struct Broker {
    address: IpAddr,
    port: u16,
    passwords: PathBuf,
    stop: CancellationToken,
    keeper: tokio::task::JoinHandle<()>,
}

impl Broker {
    /// Starts the server, after ending one that a killed node left behind.
    pub async fn start(settings: BrokerSettings, health: HealthHandle) -> anyhow::Result<Self> {
        check_version(&settings.program).await?;
        tokio::fs::create_dir_all(&settings.folder).await?;
        end_leftover(&settings.folder).await?;
        move_into_account(&settings.folder.join("store/jetstream"))?;
        let (address, port) = (reached_at(settings.listen), choose_port(&settings).await?);
        let passwords = settings.folder.join(PASSWORDS);
        let file = settings.folder.join("nats-server.conf");
        write_private(&file, &configuration(&settings, port, &secrets(&passwords)?))?;
        forget_one_password(&settings.folder)?;

        let mut child = spawn(&settings, &file)?;
        wait_until_listening((address, port), &mut child, &settings.folder).await?;
        health.ok(format!("listening on {}:{port}", settings.listen));
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keep(settings, file, child, health, stop.clone()));
        Ok(Self { address, port, passwords, stop, keeper })
    }

    /// How each user comes to this server.
    pub fn access(&self, ca_file: Option<&Path>) -> Access {
        access((self.address, self.port), &self.passwords, ca_file)
    }

    /// Ends the server and waits until it has written everything.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.keeper.await;
    }
}

/// How each user comes to the server that runs with its files in `folder`.
pub(crate) fn running(folder: &Path, ca_file: Option<&Path>) -> anyhow::Result<Access> {
    let conf = folder.join("nats-server.conf");
    let text = std::fs::read_to_string(&conf).with_context(|| format!("reading {}", conf.display()))?;
    let port = text.lines().find_map(|line| line.strip_prefix("port: ")?.trim().parse().ok());
    let port = port.with_context(|| format!("{} names no port", conf.display()))?;
    let host =
        text.lines().find_map(|line| line.strip_prefix("host: ")?.trim().trim_matches('"').parse().ok());
    let address = reached_at(host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let secure = text.contains("\ntls {");
    Ok(access((address, port), &folder.join(PASSWORDS), ca_file.filter(|_| secure)))
}

/// Where this machine reaches a server that listens there.
fn reached_at(listen: IpAddr) -> IpAddr {
    if listen.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen }
}

fn access((address, port): (IpAddr, u16), passwords: &Path, ca_file: Option<&Path>) -> Access {
    let scheme = if ca_file.is_some() { "tls" } else { "nats" };
    let at = bus::BusSettings {
        url: format!("{scheme}://{}", std::net::SocketAddr::new(address, port)),
        ca_file: ca_file.map(|f| f.display().to_string()).unwrap_or_default(),
        ..bus::BusSettings::default()
    };
    Access::with_users(at, passwords.to_owned())
}

/// A node of before, when all services came as one user, has a password that opens nothing any more.
fn forget_one_password(folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(ONE_PASSWORD);
    match std::fs::remove_file(&file) {
        Ok(()) => tracing::info!("every service has a user of its own at the broker now"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("removing {}", file.display())),
    }
    Ok(())
}

/// Whether a program is a nats-server that is new enough; the error says what would be right.
pub async fn check_version(program: &Path) -> anyhow::Result<()> {
    let hint = "install a current one with: deploy/prerequisites.sh run";
    let output = Command::new(program)
        .arg("--version")
        .output()
        .await
        .with_context(|| format!("cannot run {}; {hint}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match parse_version(&text) {
        Some(version) if version >= OLDEST => Ok(()),
        Some((major, minor)) => bail!(
            "{} is nats-server {major}.{minor}; Berth needs {}.{} or newer; {hint}",
            program.display(),
            OLDEST.0,
            OLDEST.1
        ),
        None => bail!("{} does not say that it is nats-server: {:?}; {hint}", program.display(), text.trim()),
    }
}

/// "nats-server: v2.15.1" → (2, 15)
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("nats-server: v")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A node that was killed leaves its server running, with the store open: it has to go before a new one may start, for two
/// servers on one store would ruin it. It is found by its configuration, which no other process is started with: a file
/// with a process id that is missing or damaged would say nothing.
async fn end_leftover(folder: &Path) -> anyhow::Result<()> {
    let conf = folder.join("nats-server.conf");
    for pid in processes_with(&conf).context("looking for a nats-server that an earlier node left behind")? {
        for (signal, patience) in [(Signal::SIGTERM, PATIENCE), (Signal::SIGKILL, Duration::from_secs(5))] {
            if !has_argument(pid, &conf) {
                break;
            }
            tracing::info!(pid, ?signal, "ending the nats-server that an earlier node left behind");
            let _ = kill(Pid::from_raw(pid), signal);
            let _ = tokio::time::timeout(patience, async {
                while has_argument(pid, &conf) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
        if has_argument(pid, &conf) {
            bail!("nats-server {pid} of an earlier node does not end; end it by hand: kill -9 {pid}")
        }
    }
    Ok(())
}

fn processes_with(argument: &Path) -> std::io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        if let Ok(pid) = entry?.file_name().to_string_lossy().parse()
            && has_argument(pid, argument)
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// False also for a process that has ended.
fn has_argument(pid: i32, argument: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).split('\0').any(|given| Path::new(given) == argument)
}

/// The streams of a node that had no accounts yet go where its account looks for them.
fn move_into_account(store: &Path) -> anyhow::Result<()> {
    let (from, to) = (store.join(WITHOUT_ACCOUNTS), store.join(ACCOUNT));
    if from.exists() && !to.exists() {
        std::fs::rename(&from, &to)
            .with_context(|| format!("moving {} to {}", from.display(), to.display()))?;
        tracing::info!("the broker's streams are in an account of their own now");
    }
    Ok(())
}

/// Keeps the port between starts, so that clients that were told it find the server again.
async fn choose_port(settings: &BrokerSettings) -> anyhow::Result<u16> {
    let file = settings.folder.join("port");
    let is_free = |port: u16| TcpListener::bind((settings.listen, port)).is_ok();
    if settings.port != 0 {
        if !is_free(settings.port) {
            bail!(
                "nats.port: something else listens on {}:{}, or the address is not this machine's; choose another or 0 for any port",
                settings.listen,
                settings.port
            );
        }
        return Ok(settings.port);
    }
    let last = private_file::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let last = last.and_then(|text| text.trim().parse::<u16>().ok());
    if let Some(port) = last.filter(|port| is_free(*port)) {
        return Ok(port);
    }
    let port = TcpListener::bind((settings.listen, 0))
        .with_context(|| format!("nats.listen: cannot listen on {}", settings.listen))?
        .local_addr()?
        .port();
    tokio::fs::write(&file, port.to_string()).await?;
    Ok(port)
}

fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = std::fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

fn spawn(settings: &BrokerSettings, file: &Path) -> anyhow::Result<Child> {
    Command::new(&settings.program)
        .arg("-c")
        .arg(file)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        // Ctrl-C in the terminal is for the node: it ends its services first and the broker last
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", settings.program.display()))
}

async fn wait_until_listening(at: (IpAddr, u16), child: &mut Child, folder: &Path) -> anyhow::Result<()> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if tokio::net::TcpStream::connect(at).await.is_ok() {
            return Ok(());
        }
        let log = folder.join("nats-server.log");
        if let Some(status) = child.try_wait()? {
            let last = std::fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = last.lines().rev().take(3).collect();
            bail!(
                "nats-server ended at once ({status}); its log {} ends with: {}",
                log.display(),
                last.join(" | ")
            );
        }
        if tokio::time::Instant::now() > end {
            bail!(
                "nats-server does not listen on {}:{} after {PATIENCE:?}; see {}",
                at.0,
                at.1,
                log.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Looks after the server until told to stop.
async fn keep(
    settings: BrokerSettings,
    file: PathBuf,
    mut child: Child,
    health: HealthHandle,
    stop: CancellationToken,
) {
    let mut deaths: u32 = 0;
    loop {
        let born = tokio::time::Instant::now();
        tokio::select! {
            () = stop.cancelled() => break,
            status = child.wait() => {
                deaths = if born.elapsed() > Duration::from_secs(60) { 1 } else { deaths.saturating_add(1) };
                tracing::error!(?status, deaths, "nats-server ended; starting it again");
                health.bad("nats-server ended; starting it again");
            }
        }
        loop {
            let pause = Duration::from_millis(100u64 << deaths.min(7));
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(pause) => {} }
            match spawn(&settings, &file) {
                Ok(started) => {
                    child = started;
                    health.ok(format!("started again after it ended ({deaths} times lately)"));
                    break;
                }
                Err(error) => {
                    deaths = deaths.saturating_add(1);
                    health.bad(format!("{error:#}"));
                }
            }
        }
    }
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
            tracing::warn!("nats-server does not end; killing it");
            let _ = child.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse_version("nats-server: v2.9.10"), Some((2, 9)));
        assert_eq!(parse_version("something else"), None);
    }

    fn settings(folder: &Path) -> BrokerSettings {
        BrokerSettings {
            program: "nats-server".into(),
            port: 0,
            sync_always: true,
            folder: folder.to_owned(),
            certificate: None,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            issuer: "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA".into(),
        }
    }

    #[tokio::test]
    async fn a_server_that_dies_is_started_again_on_the_same_port() {
        let folder = tempfile::tempdir().expect("folder");
        let health = chassis::Health::default();
        let broker = Broker::start(settings(folder.path()), health.component("nats")).await.expect("starts");
        let connection = broker.access(None).setup();
        bus::Connection::open(&connection, "test", bus::Report::none()).await.expect("lets us in");
        let pid = || -> i32 {
            let text = std::fs::read_to_string(folder.path().join("nats-server.pid")).unwrap_or_default();
            text.trim().parse().unwrap_or(0)
        };
        let first = pid();
        kill(Pid::from_raw(first), Signal::SIGKILL).expect("our own child");
        testkit::eventually(Duration::from_secs(20), "another server", async || {
            let again = pid();
            let answers = tokio::net::TcpStream::connect(("127.0.0.1", broker.port)).await.is_ok();
            (again != first && again != 0 && answers).then_some(())
        })
        .await;
        broker.stop().await;
        assert!(!Path::new(&format!("/proc/{}", pid())).exists(), "stopped for good");
    }

    #[tokio::test]
    async fn a_server_that_was_left_behind_is_ended_whatever_its_file_says() {
        let folder = tempfile::tempdir().expect("folder");
        let (settings, conf) = (settings(folder.path()), folder.path().join("nats-server.conf"));
        let port = choose_port(&settings).await.expect("a port");
        write_private(&conf, &configuration(&settings, port, &secrets(folder.path()).expect("made")))
            .expect("written");
        let mut child = spawn(&settings, &conf).expect("spawned");
        wait_until_listening((settings.listen, port), &mut child, folder.path()).await.expect("listens");
        assert_eq!(processes_with(&conf).expect("looked").len(), 1);
        // the file with its number was cut off by a full disk
        std::fs::write(folder.path().join("nats-server.pid"), "").expect("written");
        end_leftover(folder.path()).await.expect("ended");
        assert!(processes_with(&conf).expect("looked").is_empty());
        child.wait().await.expect("it has ended");
    }

    /// A node that had neither accounts nor users of services: one user, who might do everything.
    #[tokio::test]
    async fn a_node_of_before_there_were_users_keeps_its_streams() {
        let folder = tempfile::tempdir().expect("folder");
        let (settings, file) = (settings(folder.path()), folder.path().join("nats-server.conf"));
        let port = choose_port(&settings).await.expect("a port");
        private_file::make_once(&folder.path().join(ONE_PASSWORD), "secret").expect("written");
        let store = folder.path().join("store");
        let text = format!(
            "port: {port}\nhost: 127.0.0.1\nauthorization {{ user: node, password: secret }}\njetstream {{ store_dir: {store:?} }}\n"
        );
        write_private(&file, &text).expect("written");
        let mut child = spawn(&settings, &file).expect("spawned");
        wait_until_listening((settings.listen, port), &mut child, folder.path()).await.expect("listens");
        let one = bus::BusSettings {
            url: format!("nats://127.0.0.1:{port}"),
            user: "node".into(),
            password_file: folder.path().join(ONE_PASSWORD).display().to_string(),
            ..bus::BusSettings::default()
        };
        let connection = bus::Connection::open(&one, "test", bus::Report::none()).await.expect("lets us in");
        let sent = connection.jetstream().publish("evt.x.v1.Y.t.k", "x".into()).await.expect("sent");
        sent.await.expect("kept");
        drop(connection);

        let health = chassis::Health::default();
        let broker = Broker::start(settings, health.component("nats")).await.expect("starts over the other");
        child.wait().await.expect("the other was ended");
        let access = broker.access(None);
        bus::Connection::open(&access.setup(), "test", bus::Report::none()).await.expect("lets us in");
        let operator = bus::Connection::open(&access.operator(), "test", bus::Report::none()).await;
        let extent = bus::watch::extent(&operator.expect("lets us in")).await.expect("there");
        assert_eq!((extent.first, extent.last), (1, 1), "nothing is lost");
        assert!(!folder.path().join(ONE_PASSWORD).exists(), "a secret that opens nothing");
        let kept = secrets(&folder.path().join(PASSWORDS)).expect("there");
        broker.stop().await;
        let again = Broker::start(super::tests::settings(folder.path()), health.component("nats")).await;
        assert_eq!(secrets(&folder.path().join(PASSWORDS)).expect("there"), kept, "the same at every start");
        use std::os::unix::fs::PermissionsExt;
        for user in kept.keys() {
            let file = folder.path().join(PASSWORDS).join(user);
            assert_eq!(std::fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
        }
        again.expect("starts").stop().await;
    }

    #[tokio::test]
    async fn a_server_left_behind_is_ended_first() {
        let folder = tempfile::tempdir().expect("folder");
        let health = chassis::Health::default();
        let first = Broker::start(settings(folder.path()), health.component("nats")).await.expect("starts");
        // the node is gone, its server is not
        first.keeper.abort();
        std::mem::forget(first);
        let second = Broker::start(settings(folder.path()), health.component("nats")).await.expect("starts");
        second.stop().await;
    }

    #[tokio::test]
    async fn what_is_no_nats_server_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        for (program, says) in [("/nonexistent/nats-server", "cannot run"), ("/bin/true", "does not say")] {
            let settings = BrokerSettings { program: program.into(), ..settings(folder.path()) };
            let error = Broker::start(settings, chassis::Health::default().component("nats"))
                .await
                .err()
                .expect("refused");
            let text = format!("{error:#}");
            assert!(text.contains(says) && text.contains("prerequisites.sh"), "{text}");
        }
    }
}
