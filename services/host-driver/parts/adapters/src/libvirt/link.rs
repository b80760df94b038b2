//! The connection to libvirt: opened when needed, dropped when dead, opened again. Calls block, so they run on threads
//! of their own.

use super::events::{self, Event, Happened, Registration};
use super::faults;
use crate::fault::Fault;
use kernel::InstanceId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use virt::connect::Connect;
use virt::error::Error;

/// How long an attempt to connect is not repeated after it failed.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// A libvirtd that does not answer for three of these is taken for dead.
const KEEP_ALIVE_SECONDS: i32 = 5;
/// No call may hold its caller for longer; the thread is given up with it.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// A connection that mends itself. Cheap to clone.
#[derive(Clone)]
pub struct Link {
    uri: Arc<str>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<Connecting>,
    watchers: Mutex<Vec<mpsc::UnboundedSender<InstanceId>>>,
    /// How often each guest began to boot again without leaving memory, since this process started.
    reboots: Mutex<HashMap<InstanceId, u64>>,
    /// Which connection counts them. Between two of them nobody listened: their counts are not to be compared.
    life: AtomicU16,
}

#[derive(Default)]
struct Connecting {
    // dropped before the connection it belongs to
    _registration: Option<Registration>,
    connection: Option<Connect>,
    failed: Option<(Instant, String)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// A link to `uri`; nothing is opened yet. Must be called within a tokio runtime.
    pub fn new(uri: &str) -> Self {
        Self { uri: uri.into(), shared: Arc::default() }
    }

    /// Runs `call` with an open connection.
    pub async fn call<T, F>(&self, call: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Connect) -> Result<T, Fault> + Send + 'static,
    {
        let (link, handle) = (self.clone(), tokio::runtime::Handle::current());
        let running = tokio::task::spawn_blocking(move || {
            let connection = link.connection(&handle)?;
            let done = call(&connection);
            if let Err(Fault::Unavailable(_)) = done {
                link.give_up(&connection);
            }
            done
        });
        match tokio::time::timeout(CALL_LIMIT, running).await {
            Ok(Ok(done)) => done,
            Ok(Err(broken)) => Err(Fault::Failed(format!("a libvirt call broke: {broken}"))),
            Err(_) => Err(Fault::Busy(format!("libvirt did not answer within {} s", CALL_LIMIT.as_secs()))),
        }
    }

    fn connection(&self, handle: &tokio::runtime::Handle) -> Result<Connect, Fault> {
        let mut open = lock(&self.shared.open);
        if let Some(connection) = &open.connection {
            if connection.is_alive().unwrap_or(false) {
                return Ok(connection.clone());
            }
            *open = Connecting::default();
        }
        if let Some((at, why)) = &open.failed
            && at.elapsed() < RECONNECT_DELAY
        {
            return Err(Fault::Unavailable(why.clone()));
        }
        match self.open(handle) {
            Ok((connection, registration)) => {
                tracing::info!(uri = %self.uri, "connected to libvirt");
                *open = Connecting {
                    connection: Some(connection.clone()),
                    _registration: registration,
                    failed: None,
                };
                drop(open);
                self.wake_all();
                Ok(connection)
            }
            Err(why) => {
                open.failed = Some((Instant::now(), why.clone()));
                Err(Fault::Unavailable(why))
            }
        }
    }

    fn open(&self, handle: &tokio::runtime::Handle) -> Result<(Connect, Option<Registration>), String> {
        events::start_event_loop()?;
        let connection = Connect::open(Some(&self.uri)).map_err(|e| e.message().trim().to_owned())?;
        // drivers inside the process (test:///) have no connection to keep alive
        let _ = connection.set_keep_alive(KEEP_ALIVE_SECONDS, 3);
        self.shared.life.store(rand::random(), Ordering::SeqCst);
        let (sender, receiver) = mpsc::unbounded_channel();
        // without events the loop still works, by its timer
        let registration = events::register(&connection, &sender)
            .inspect_err(|error| tracing::warn!(%error, "libvirt gives no events"))
            .ok();
        handle.spawn(forward(self.shared.clone(), receiver));
        Ok((connection, registration))
    }

    fn give_up(&self, used: &Connect) {
        let mut open = lock(&self.shared.open);
        if !used.is_alive().unwrap_or(false) {
            *open = Connecting::default();
        }
    }

    /// After a reconnect anything may have happened.
    fn wake_all(&self) {
        for instance in lock(&self.shared.reboots).keys() {
            self.shared.tell(*instance);
        }
    }

    /// Instances that something happened to.
    pub fn changes(&self) -> mpsc::UnboundedReceiver<InstanceId> {
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.shared.watchers).push(sender);
        receiver
    }

    /// Which connection this is, and how often the guest began to boot again without leaving memory.
    pub fn reboots(&self, instance: InstanceId) -> (u16, u64) {
        (
            self.shared.life.load(Ordering::SeqCst),
            lock(&self.shared.reboots).get(&instance).copied().unwrap_or(0),
        )
    }
}

impl Shared {
    fn tell(&self, instance: InstanceId) {
        lock(&self.watchers).retain(|watcher| watcher.send(instance).is_ok());
    }
}

async fn forward(shared: Arc<Shared>, mut events: mpsc::UnboundedReceiver<Event>) {
    while let Some((uuid, happened)) = events.recv().await {
        // other people's domains have other UUIDs; the reconciler knows which are ours
        let Ok(instance) = uuid.parse::<InstanceId>() else { continue };
        let step = u64::from(happened == Happened::Rebooted);
        *lock(&shared.reboots).entry(instance).or_default() += step;
        shared.tell(instance);
    }
}

/// Runs a libvirt operation and gives its error our meaning.
pub fn meaning<T>(result: Result<T, Error>) -> Result<T, Fault> {
    result.map_err(|e| faults::fault(&e))
}
