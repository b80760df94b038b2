//! `berth up` and `berth down`: the all-in-one node on this machine.

use crate::config::{self, Flag};
use crate::settings::NodeSettings;
use berth::cli::GlobalArgs;
use berth::cli::local::{DownArgs, UpArgs};
use client::{Exit, Failure};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use terminal::config::{Environment, Ready, write_local_context};
use terminal::output::{note, print};
use tokio_util::sync::CancellationToken;

/// What the command line says of the node's settings.
fn flags(args: &UpArgs) -> Vec<Flag> {
    let driver = args.driver.clone().or_else(|| args.simulated_hosts.map(|_| "simulated".to_owned()));
    let driver_flag = if args.driver.is_some() { "--driver" } else { "--simulated-hosts" };
    let said: [(&'static [&'static str], Option<String>, &'static str); 12] = [
        (&["listen"], args.listen.clone(), "--listen"),
        (&["ops_listen"], args.ops_listen.clone(), "--ops-listen"),
        (&["host", "driver"], driver, driver_flag),
        (&["host", "simulated_hosts"], args.simulated_hosts.map(|n| n.to_string()), "--simulated-hosts"),
        (&["host", "libvirt_uri"], args.libvirt_uri.clone(), "--libvirt-uri"),
        (&["host", "name"], args.host_name.clone(), "--host-name"),
        (
            &["nats", "server_path"],
            args.nats_server.as_ref().map(|p| p.display().to_string()),
            "--nats-server",
        ),
        (&["nats", "url"], args.nats_url.clone(), "--nats-url"),
        (&["telemetry", "otlp_endpoint"], args.otlp_endpoint.clone(), "--otlp-endpoint"),
        (&["telemetry", "log_format"], args.log_format.clone(), "--log-format"),
        (&["telemetry", "log_level"], args.log_level.clone(), "--log-level"),
        (&["insecure_dev"], args.insecure_dev.then(|| "true".to_owned()), "--insecure-dev"),
    ];
    said.into_iter().filter_map(|(path, value, flag)| Some((path, value?, flag))).collect()
}

pub(super) async fn up(args: UpArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let loaded = config::load(global.data_dir.as_ref(), &flags(&args), &Environment::of_process())?;
    let mut settings = loaded.settings;
    settings.host.labels.extend(args.labels);
    let folder = settings.data_dir.clone();
    std::fs::create_dir_all(&folder).map_err(|error| {
        Failure::usage(format!("data folder {}: {error}", folder.display()))
            .hint("choose another one with --data-dir")
    })?;
    if args.detach {
        return detach(&folder).await;
    }
    let _running = Running::claim(&folder)?;
    if let Err(other) = crate::remember_driver(&settings, args.driver_change).await? {
        let before =
            format!("start it with --driver {}, or say --driver-change if this is meant", other.made_with);
        return Err(Failure::new(Exit::Refused, other.to_string()).hint(before));
    }
    run(settings).await
}

async fn run(settings: NodeSettings) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let signals = tokio::spawn(stop_on_signal(stop.clone()));
    let folder = settings.data_dir.clone();
    crate::write_settings_in_force(&settings)?;
    let mut unwritten = None;
    let announce = |ready: Ready| match write_local_context(&folder, &ready) {
        Ok(_) => note(&format!("berth is up at {} (data in {})", ready.endpoint, folder.display())),
        Err(failure) => {
            unwritten = Some(failure);
            stop.cancel();
        }
    };
    let result = crate::up(settings, announce, stop.clone()).await;
    signals.abort();
    match unwritten {
        Some(failure) => Err(failure),
        None => result.map_err(Failure::from),
    }
}

/// The first signal stops in order, the second one at once.
async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    for first in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if first {
            note("stopping; a second signal stops at once");
            stop.cancel();
        }
    }
    std::process::exit(130);
}

/// The claim of one process on a data folder: a lock on berth.pid, which the kernel frees however the process ends.
pub(super) struct Running {
    _lock: Flock<File>,
}

impl Running {
    pub(super) fn claim(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("berth.pid");
        match try_lock(&path)? {
            Ok(mut lock) => {
                let write = lock
                    .set_len(0)
                    .and_then(|()| lock.rewind())
                    .and_then(|()| writeln!(lock, "{}", std::process::id()));
                write.map_err(|error| {
                    Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
                })?;
                Ok(Self { _lock: lock })
            }
            Err(pid) => {
                let text = format!("a node runs in {} already (process {pid})", folder.display());
                Err(Failure::new(Exit::Refused, text)
                    .hint("`berth down` stops it; another --data-dir makes another node"))
            }
        }
    }
}

/// The process that runs the node in a folder, if one does.
pub(super) fn process_of(folder: &Path) -> Result<Option<String>, Failure> {
    let path = folder.join("berth.pid");
    Ok(if is_there(&path)? { try_lock(&path)?.err() } else { None })
}

fn is_there(path: &Path) -> Result<bool, Failure> {
    let failed = |error| Failure::new(Exit::Failed, format!("cannot look for {}: {error}", path.display()));
    path.try_exists().map_err(failed)
}

/// The lock, or the id of the process that holds it.
fn try_lock(path: &Path) -> Result<Result<Flock<File>, String>, Failure> {
    let explain = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot open {}: {error}", path.display()))
    };
    let file =
        File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(explain)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Ok(lock)),
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(explain)?;
            Ok(Err(pid.trim().to_owned()))
        }
        Err((_, error)) => Err(explain(error.into())),
    }
}

/// Starts the same command without `--detach` in a process group of its own, and waits until that node is up.
async fn detach(folder: &Path) -> Result<(), Failure> {
    drop(Running::claim(folder)?);
    let log = folder.join("berth.log");
    let explain = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot start in the background: {error}"))
    };
    let open = || File::options().create(true).append(true).open(&log);
    let written =
        || std::fs::metadata(folder.join("client.toml")).map(|m| (m.ino(), m.mtime(), m.mtime_nsec())).ok();
    let before = written();
    let log_start = open().and_then(|file| file.metadata()).map_err(explain)?.len();
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--detach");
    let mut child = std::process::Command::new(std::env::current_exe().map_err(explain)?)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .stdout(open().map_err(explain)?)
        .stderr(open().map_err(explain)?)
        .process_group(0)
        .spawn()
        .map_err(explain)?;
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(status) = child.try_wait().map_err(explain)? {
            let text = format!("the node ended while it started ({status}); {} says:", log.display());
            return Err(Failure { reasons: tail(&log, log_start), ..Failure::new(Exit::Failed, text) });
        }
        if written() != before {
            let text = format!("berth is up (process {}, logs in {})\n", child.id(), log.display());
            return print(&text);
        }
        if Instant::now() > deadline {
            let text =
                format!("the node (process {}) is not up after 120 s; it goes on starting", child.id());
            return Err(Failure { reasons: tail(&log, log_start), ..Failure::new(Exit::Timeout, text) });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The last lines that were written to the log since `start`.
fn tail(log: &Path, start: u64) -> Vec<String> {
    let bytes = std::fs::read(log).unwrap_or_default();
    let fresh = bytes.get(usize::try_from(start).unwrap_or(usize::MAX)..).unwrap_or_default();
    let text = String::from_utf8_lossy(fresh);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(10)).map(|line| (*line).to_owned()).collect()
}

pub(super) async fn down(args: DownArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let (folder, _) = config::data_dir(global.data_dir.as_ref(), &Environment::of_process());
    let path = folder.join("berth.pid");
    let none = || Failure::new(Exit::NotFound, format!("no node runs in {}", folder.display()));
    if !is_there(&path)? {
        return Err(none());
    }
    let pid = match try_lock(&path)? {
        Ok(_) => return Err(none()),
        Err(pid) => pid,
    };
    let number: i32 = pid.parse().map_err(|_| {
        Failure::new(Exit::Failed, format!("{} holds no process id: {pid:?}", path.display()))
    })?;
    kill(Pid::from_raw(number), Signal::SIGTERM)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot stop process {number}: {error}")))?;
    let deadline = Instant::now() + args.timeout;
    while try_lock(&path)?.is_err() {
        if Instant::now() > deadline {
            let text = format!(
                "process {number} did not end within {} s; it goes on stopping",
                args.timeout.as_secs()
            );
            return Err(Failure::new(Exit::Timeout, text));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    print(&format!("stopped the node in {}\n", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Running::claim(folder.path()).expect("free");
        let failure = Running::claim(folder.path()).err().expect("taken");
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains(&std::process::id().to_string()), "{failure}");
        drop(first);
        assert!(Running::claim(folder.path()).is_ok());
    }

    #[test]
    fn the_log_of_this_start_only_is_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("l");
        std::fs::write(&log, "old\nnew 1\nnew 2\n").expect("writes");
        assert_eq!(tail(&log, 4), ["new 1", "new 2"]);
    }
}
