//! The node's own nats-server: a child process with a configuration of its own, started again whenever it ends.

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
const USER: &str = "node";
/// The account of the services; other systems are in one of their own, from which only their subjects lead here.
const ACCOUNT: &str = "BERTH";
/// Where servers without accounts keep their streams.
const WITHOUT_ACCOUNTS: &str = "$G";

/// What the server is told.
pub(crate) struct BrokerSettings {
    /// The nats-server program.
    pub program: PathBuf,
    /// Where it listens; clients of other systems come from there.
    pub listen: IpAddr,
    /// 0 = the port of last time, or any free one.
    pub port: u16,
    /// Every message is on disk before it is acknowledged.
    pub sync_always: bool,
    /// Where configuration, password and store are kept.
    pub folder: PathBuf,
    /// Certificate and key of the server; without them it speaks plainly.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Who vouches for clients of other systems: the public side of the gateway's key.
    pub issuer: String,
}

/// A running server that is looked after.
pub(crate) struct Broker {
    address: IpAddr,
    port: u16,
    password_file: PathBuf,
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
        let password_file = settings.folder.join("password");
        let password = password(&password_file)?;
        let file = settings.folder.join("nats-server.conf");
        write_private(&file, &configuration(&settings, port, &password))?;

        let mut child = spawn(&settings, &file)?;
        wait_until_listening((address, port), &mut child, &settings.folder).await?;
        health.ok(format!("listening on {}:{port}", settings.listen));
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keep(settings, file, child, health, stop.clone()));
        Ok(Self { address, port, password_file, stop, keeper })
    }

    /// Settings for connections to this server.
    pub fn connection(&self, ca_file: Option<&Path>) -> bus::BusSettings {
        connection((self.address, self.port), &self.password_file, ca_file)
    }

    /// Ends the server and waits until it has written everything.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.keeper.await;
    }
}

/// Settings for connections to the server that runs with its files in `folder`.
pub(crate) fn running(folder: &Path, ca_file: Option<&Path>) -> anyhow::Result<bus::BusSettings> {
    let conf = folder.join("nats-server.conf");
    let text = std::fs::read_to_string(&conf).with_context(|| format!("reading {}", conf.display()))?;
    let port = text.lines().find_map(|line| line.strip_prefix("port: ")?.trim().parse().ok());
    let port = port.with_context(|| format!("{} names no port", conf.display()))?;
    let host =
        text.lines().find_map(|line| line.strip_prefix("host: ")?.trim().trim_matches('"').parse().ok());
    let address = reached_at(host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let secure = text.contains("\ntls {");
    Ok(connection((address, port), &folder.join("password"), ca_file.filter(|_| secure)))
}

/// Where this machine reaches a server that listens there.
fn reached_at(listen: IpAddr) -> IpAddr {
    if listen.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen }
}

fn connection(
    (address, port): (IpAddr, u16),
    password_file: &Path,
    ca_file: Option<&Path>,
) -> bus::BusSettings {
    let scheme = if ca_file.is_some() { "tls" } else { "nats" };
    bus::BusSettings {
        url: format!("{scheme}://{}", std::net::SocketAddr::new(address, port)),
        user: USER.to_owned(),
        password_file: password_file.display().to_string(),
        ca_file: ca_file.map(|f| f.display().to_string()).unwrap_or_default(),
        ..bus::BusSettings::default()
    }
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

fn password(file: &Path) -> anyhow::Result<String> {
    let place = || format!("the broker's password {}", file.display());
    let text = private_file::read_or_make(file, || hex::encode(rand::random::<[u8; 24]>()));
    let text = text.with_context(place)?;
    if text.trim().is_empty() {
        bail!("{} is empty: remove it, and a new one is made", place());
    }
    Ok(text.trim().to_owned())
}

fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = std::fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

fn configuration(settings: &BrokerSettings, port: u16, password: &str) -> String {
    let quote = |path: PathBuf| format!("{:?}", path.display().to_string());
    let sync = if settings.sync_always { "sync_interval: always" } else { "sync_interval: \"2m\"" };
    let tls = settings.certificate.as_ref().map_or_else(String::new, |(certificate, key)| {
        format!("tls {{ cert_file: {}, key_file: {} }}\n", quote(certificate.clone()), quote(key.clone()))
    });
    let (issuer, outside) = (&settings.issuer, gateway::NATS_ACCOUNT);
    format!(
        "# Written by `berth up` at each start; changes are lost.\n\
         server_name: berth\n\
         host: {:?}\n\
         port: {port}\n\
         pid_file: {}\n\
         log_file: {}\n\
         logfile_size_limit: 16MB\n\
         max_payload: 8MB\n\
         jetstream {{ store_dir: {}, {sync} }}\n\
         accounts {{\n\
         \x20 {ACCOUNT} {{\n\
         \x20   jetstream: enabled\n\
         \x20   users: [ {{ user: {USER}, password: {password:?} }} ]\n\
         \x20   exports: [ {{ service: \"ext.*.>\", accounts: [{outside}] }} ]\n\
         \x20 }}\n\
         \x20 {outside} {{ imports: [ {{ service: {{ account: {ACCOUNT}, subject: \"ext.*.>\" }} }} ] }}\n\
         }}\n\
         authorization {{\n\
         \x20 timeout: 5\n\
         \x20 auth_callout {{ issuer: {issuer}, account: {ACCOUNT}, auth_users: [ {USER} ] }}\n\
         }}\n\
         {tls}",
        settings.listen.to_string(),
        quote(settings.folder.join("nats-server.pid")),
        quote(settings.folder.join("nats-server.log")),
        quote(settings.folder.join("store")),
    )
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
        let connection = broker.connection(None);
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
        write_private(&conf, &configuration(&settings, port, "secret")).expect("written");
        let mut child = spawn(&settings, &conf).expect("spawned");
        wait_until_listening((settings.listen, port), &mut child, folder.path()).await.expect("listens");
        assert_eq!(processes_with(&conf).expect("looked").len(), 1);
        // the file with its number was cut off by a full disk
        std::fs::write(folder.path().join("nats-server.pid"), "").expect("written");
        end_leftover(folder.path()).await.expect("ended");
        assert!(processes_with(&conf).expect("looked").is_empty());
        child.wait().await.expect("it has ended");
    }

    #[test]
    fn a_password_that_cannot_be_read_is_not_made_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("password");
        let made = password(&file).expect("made");
        assert_eq!(password(&file).expect("read"), made);
        for garbled in [&b""[..], b"\xff\xfe"] {
            std::fs::write(&file, garbled).expect("written");
            password(&file).expect_err("refused");
            assert_eq!(std::fs::read(&file).expect("as it was"), garbled);
        }
    }

    #[tokio::test]
    async fn streams_of_a_node_without_accounts_are_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let health = chassis::Health::default();
        let broker = Broker::start(settings(folder.path()), health.component("nats")).await.expect("starts");
        let open = async |broker: &Broker| {
            bus::Connection::open(&broker.connection(None), "test", bus::Report::none()).await.expect("in")
        };
        let connection = open(&broker).await;
        let sent = connection.jetstream().publish("ext.acme.a", "x".into()).await.expect("sent");
        sent.await.expect("kept");
        drop(connection);
        broker.stop().await;
        let store = folder.path().join("store/jetstream");
        std::fs::rename(store.join(ACCOUNT), store.join(WITHOUT_ACCOUNTS)).expect("as it was before");
        let broker = Broker::start(settings(folder.path()), health.component("nats")).await.expect("starts");
        let stream = open(&broker).await.jetstream().get_stream("EXT").await.expect("there");
        assert_eq!(stream.cached_info().state.messages, 1);
        broker.stop().await;
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
