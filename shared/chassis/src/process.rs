//! A process: connected, watched, and ended in order.

use crate::telemetry::{Telemetry, TelemetrySettings};
use crate::{Given, Health, Loop, Sealer, Service, Stage, Tasks, ops, store_watch, tables};
use anyhow::Context;
use bus::rebuild::Rebuild;
use bus::{Answers, BusSettings, Connection, Desk, Outside, Relay, RetryPolicy, Runner, Subscriptions};
use kernel::{Clock, SystemClock};
use opentelemetry::metrics::Meter;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{MigrationFile, Store};

/// What every process needs, besides the settings of its service.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ChassisSettings {
    /// The broker.
    pub bus: BusSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
    /// Address of health and metrics: "127.0.0.1:7481"; "" = none.
    pub ops_listen: String,
    /// Key that gateway and host-drivers share; made when it is missing.
    pub sealing_key_file: PathBuf,
}

impl Default for ChassisSettings {
    fn default() -> Self {
        Self {
            bus: BusSettings::default(),
            telemetry: TelemetrySettings::default(),
            ops_listen: String::new(),
            sealing_key_file: PathBuf::from("/var/lib/berth/keys/sealing.key"),
        }
    }
}

/// What a service is wired to. A clone shares everything: services of one process differ in their connections at most.
#[derive(Clone)]
pub struct Chassis {
    /// The broker.
    pub bus: Connection,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The tasks of this process.
    pub tasks: Tasks,
    /// How its parts are.
    pub health: Health,
    /// Its metrics.
    pub meter: Meter,
    /// Seals secrets that cross the bus.
    pub sealer: Arc<Sealer>,
    /// When failed messages are tried again.
    pub retry: RetryPolicy,
    /// How long what the bus does, a message say, may get nowhere before it is begun again.
    pub patience: Duration,
    /// The desks of the services in this process.
    pub desks: Desks,
}

/// How long closing a database may take.
const CLOSING: Duration = Duration::from_secs(5);

/// The desks of the services in one process: for whoever has to look at all of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Desks(Arc<Mutex<Vec<Desk>>>);

impl Desks {
    /// All that were opened so far.
    pub fn all(&self) -> Vec<Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, desk: &Desk) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(desk.clone());
    }
}

impl Chassis {
    /// Connects to the broker, brings the streams about, and serves health and metrics.
    pub async fn start(process: &'static str, settings: &ChassisSettings) -> anyhow::Result<Self> {
        Self::start_with_clock(process, settings, Arc::new(SystemClock)).await
    }

    /// The same with another clock: tests and simulations.
    pub async fn start_with_clock(
        process: &'static str,
        settings: &ChassisSettings,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        Self::assemble(process, settings, clock, Health::default()).await
    }

    /// The same for a process that has parts to watch before it has a broker.
    pub async fn start_with_health(
        process: &'static str,
        settings: &ChassisSettings,
        health: Health,
    ) -> anyhow::Result<Self> {
        Self::assemble(process, settings, Arc::new(SystemClock), health).await
    }

    async fn assemble(
        process: &'static str,
        settings: &ChassisSettings,
        clock: Arc<dyn Clock>,
        health: Health,
    ) -> anyhow::Result<Self> {
        // the first to ask decides; asking twice is no mistake
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tasks = Tasks::default();
        if !settings.ops_listen.is_empty() {
            let listener = tokio::net::TcpListener::bind(&settings.ops_listen)
                .await
                .with_context(|| format!("ops_listen: cannot listen on {}", settings.ops_listen))?;
            let health = health.clone();
            tasks.spawn(Stage::Relay, "health endpoint", |stop| ops::serve(listener, health, stop));
        }
        let broker = health.component("broker");
        let connection = Connection::open(&settings.bus, process, broker.report()).await?;
        broker.ok("connected");
        Ok(Self {
            bus: connection,
            clock,
            tasks,
            health,
            meter: opentelemetry::global::meter(process),
            sealer: Arc::new(Sealer::from_file(&settings.sealing_key_file)?),
            retry: RetryPolicy::default(),
            patience: bus::watchdog::PATIENCE,
            desks: Desks::default(),
        })
    }

    /// Opens a service's database, makes its tables again from the events when it is missing, and starts the relay of
    /// its outbox. A database that is older than what was said out of it is refused.
    pub async fn desk_of(
        &self,
        service: &Service,
        database_url: &str,
        tables: impl FnOnce(&Store) -> Box<dyn Rebuild>,
    ) -> anyhow::Result<Desk> {
        let desk = self.open(service.name, database_url, service.migrations).await?.telling(service.tells);
        tables::make_whole(&self.bus, &desk, &*tables(desk.store()), &self.health).await?;
        self.relay(&desk);
        Ok(desk)
    }

    /// The same without tables that are made of events, and without anything declared: for who only speaks.
    pub async fn desk(
        &self,
        service: &'static str,
        database_url: &str,
        migrations: &[MigrationFile],
    ) -> anyhow::Result<Desk> {
        let desk = self.open(service, database_url, migrations).await?;
        self.relay(&desk);
        Ok(desk)
    }

    async fn open(
        &self,
        service: &'static str,
        database_url: &str,
        migrations: &[MigrationFile],
    ) -> anyhow::Result<Desk> {
        let all: Vec<MigrationFile> = bus::MIGRATIONS.iter().chain(migrations).copied().collect();
        let store = Store::open(database_url, &all)
            .await
            .with_context(|| format!("{service}: opening the database"))?;
        Ok(Desk::new(service, store, self.clock.clone()))
    }

    fn relay(&self, desk: &Desk) {
        let service = desk.service();
        let relay = Relay::new(
            desk.clone(),
            self.bus.clone(),
            self.health.component(&format!("{service}.relay")).report(),
        );
        self.tasks.spawn(Stage::Relay, &format!("{service} relay"), |stop| relay.run(stop));
        self.watch_store(desk);
        self.desks.add(desk);
    }

    /// Starts handling what a service listens to.
    pub fn serve(&self, desk: &Desk, subscriptions: Subscriptions) {
        let name = format!("{}.runner", desk.service());
        let runner = Runner::new(
            desk.clone(),
            self.bus.clone(),
            subscriptions,
            self.retry.clone(),
            self.health.component(&name).report(),
        )
        .with_patience(self.patience);
        self.tasks.spawn(Stage::Work, &name, |stop| runner.run(stop));
    }

    /// Starts answering what other services ask.
    pub fn answer(&self, desk: &Desk, answers: Answers) {
        let name = format!("{}.answers", desk.service());
        let (bus, meter, report) =
            (self.bus.clone(), self.meter.clone(), self.health.component(&name).report());
        self.tasks.spawn(Stage::Intake, &name, |stop| answers.serve(bus, meter, report, stop));
    }

    /// Starts taking what other systems sent to the broker.
    pub fn take_from_outside(&self, desk: &Desk, taker: impl bus::FromOutside) {
        let name = format!("{}.outside", desk.service());
        let outside =
            Outside::new(desk.clone(), self.bus.clone(), taker, self.health.component(&name).report())
                .with_patience(self.patience);
        self.tasks.spawn(Stage::Work, &name, |stop| outside.run(stop));
    }

    /// Starts a reconciler: a loop of passes that shows in health and metrics under its name.
    pub fn reconcile<F, Fut>(&self, plan: Loop, pass: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (name, health) = (plan.name(), self.health.component(plan.name()));
        let meter = self.meter.clone();
        self.tasks.spawn(Stage::Work, name, |stop| plan.run(stop, health, meter, pass));
    }

    /// Asks the database regularly whether it can be written, and measures the outbox.
    fn watch_store(&self, desk: &Desk) {
        let store = self.health.component(&format!("{}.store", desk.service()));
        let outbox = self.health.component(&format!("{}.outbox", desk.service()));
        let (desk, bus) = (desk.clone(), self.bus.clone());
        self.tasks.spawn(Stage::Relay, "store watch", move |stop| async move {
            tokio::select! { () = stop.cancelled() => {} () = store_watch::watch(&desk, &bus, &store, &outbox) => {} }
        });
    }

    /// Runs until the process is told to end (SIGINT, SIGTERM) or a task dies, then stops everything in order.
    /// False: a task died.
    pub async fn run(&self) -> bool {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .expect("a runtime with signals enabled");
        let asked = tokio::select! {
            _ = tokio::signal::ctrl_c() => true,
            _ = terminate.recv() => true,
            () = self.tasks.failed() => false,
        };
        tracing::info!("stopping");
        self.stop().await;
        asked
    }

    /// Ends all tasks in order, then closes the databases: what SQLite keeps beside its file is in the file afterwards,
    /// so that a copy of the file is a copy of the database.
    pub async fn stop(&self) {
        self.tasks.stop().await;
        for desk in self.desks.all() {
            if tokio::time::timeout(CLOSING, desk.store().close()).await.is_err() {
                tracing::warn!(
                    service = desk.service(),
                    "the database did not close in time; nothing is lost"
                );
            }
        }
    }
}

/// The `main` of a service that runs as a process of its own: `<program> [settings file]`, environment
/// `BERTH_<PROGRAM>__…` over it.
pub fn run(service: &'static Service) -> ExitCode {
    #[derive(Deserialize)]
    struct File {
        #[serde(flatten)]
        chassis: ChassisSettings,
        #[serde(default = "nothing")]
        service: serde_json::Value,
    }
    fn nothing() -> serde_json::Value {
        serde_json::json!({})
    }
    let program = service.program;
    let started = || -> anyhow::Result<bool> {
        let given = std::env::args_os().nth(1);
        let file =
            given.clone().map_or_else(|| PathBuf::from(format!("/etc/berth/{program}.toml")), PathBuf::from);
        let settings: File = crate::load(program, Path::new(&file), given.is_some())?;
        let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
        runtime.block_on(async {
            let telemetry = Telemetry::start_for(program, &settings.chassis.telemetry, &[service])?;
            let chassis = Chassis::start(program, &settings.chassis).await?;
            (service.start)(Given::new(settings.service), &chassis).await?;
            tracing::info!(service = program, version = env!("CARGO_PKG_VERSION"), "running");
            let asked = chassis.run().await;
            telemetry.flush();
            Ok(asked)
        })
    };
    match started() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
