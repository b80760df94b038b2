//! The VMs of one host: ordered by the scheduler, made real by libvirt or a simulation, looked after until they go.
#![forbid(unsafe_code)]

mod handlers;
mod hosts;
mod metrics;
mod rebuild;
mod reconcilers;
mod service;
mod settings;
mod store;
mod translate;

pub use host_driver_adapters as adapters;
pub use host_driver_domain as domain;
pub use hosts::{Backend, Host, Hosts};
pub use metrics::Metrics;
pub use rebuild::{STATE_TABLES, Tables, apply};
pub use reconcilers::attention::Attention;
pub use reconcilers::host::HostReports;
pub use reconcilers::orphans::{OrphanPolicy, Orphans};
pub use service::SERVICE;
pub use settings::{Settings, SimulatedSettings, simulated_host};
pub use store::VmKey;

use ::store::MigrationFile;
use anyhow::Context;
use bus::{Desk, Subscriptions};
use chassis::{Chassis, HealthHandle, Loop, Sealer, Stage};
use handlers::{DropQuarantinedHandler, EnsureVmHandler, ExecInVmHandler};
use host_driver_domain::Policy;
use reconcilers::execs::Execs;
use reconcilers::quarantine::Quarantine;
use reconcilers::visit::Visitor;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The tables of the service.
pub const MIGRATIONS: &[MigrationFile] = &[
    MigrationFile { version: 1000, name: "vms", sql: include_str!("../migrations/1000_vms.sql") },
    MigrationFile {
        version: 1001,
        name: "quarantine",
        sql: include_str!("../migrations/1001_quarantine.sql"),
    },
    MigrationFile {
        version: 1002,
        name: "guest_states",
        sql: include_str!("../migrations/1002_guest_states.sql"),
    },
];

/// How many VMs the database of a process that does not run has orders for, those that are gone left out.
pub async fn living_vms(database_url: &str) -> anyhow::Result<usize> {
    // looking must not make one: an empty database is a trace of a host
    if let Some(file) = ::store::file_of(database_url)
        && !file.try_exists().with_context(|| format!("looking for {}", file.display()))?
    {
        return Ok(0);
    }
    let store = ::store::Store::open(database_url, &[bus::MIGRATIONS, MIGRATIONS].concat()).await?;
    let living = store::vms::living(store.reader()).await?.len();
    store.close().await;
    Ok(living)
}

/// What a running service is made of; tests take it apart.
#[derive(Clone)]
pub struct Parts {
    /// The hosts of this process.
    pub hosts: Arc<Hosts>,
    /// Which VMs are due.
    pub attention: Attention,
    /// Looks after VMs.
    pub visitor: Arc<Visitor>,
    /// Runs programs in guests.
    pub execs: Execs,
    exec_wake: Arc<Notify>,
    /// Looks after files that were put aside.
    pub quarantine: Quarantine,
    quarantine_wake: Arc<Notify>,
    /// Woken when a hypervisor did not answer.
    pub doubt: Arc<Notify>,
}

impl Parts {
    /// The parts over a desk; nothing runs yet.
    pub fn new(
        desk: &Desk,
        hosts: Arc<Hosts>,
        sealer: Arc<Sealer>,
        policy: Policy,
        metrics: Metrics,
    ) -> Self {
        let doubt = Arc::<Notify>::default();
        let quarantine = Quarantine {
            desk: desk.clone(),
            hosts: hosts.clone(),
            keep: policy.keep,
            metrics: metrics.clone(),
        };
        let visitor =
            Visitor::new(desk.clone(), hosts.clone(), sealer.clone(), policy, metrics, doubt.clone());
        Self {
            execs: Execs::new(desk.clone(), hosts.clone(), sealer),
            visitor: Arc::new(visitor),
            attention: Attention::default(),
            exec_wake: Arc::default(),
            quarantine,
            quarantine_wake: Arc::default(),
            doubt,
            hosts,
        }
    }

    /// What was last said of a VM.
    pub async fn said(
        &self,
        key: VmKey,
    ) -> Result<Option<contracts::host_driver::v1::VmObservation>, ::store::StoreError> {
        let mut reader = self.visitor.desk.store().reader().acquire().await?;
        Ok(store::vms::find(&mut reader, key).await?.as_ref().and_then(translate::outgoing::last))
    }

    /// What the service listens to.
    pub fn subscriptions(&self) -> Subscriptions {
        let (hosts, attention) = (self.hosts.clone(), self.attention.clone());
        Subscriptions::new(SERVICE.name)
            .on(EnsureVmHandler { hosts: hosts.clone(), attention })
            .on(ExecInVmHandler { hosts: hosts.clone(), wake: self.exec_wake.clone() })
            .on(DropQuarantinedHandler { hosts, wake: self.quarantine_wake.clone() })
    }
}

// the closures of the loops own what they call: the future of one that borrows cannot be shown to be Send

/// How long a pass may take that asks hypervisors, one after the other, or removes files of theirs.
const MANY_VMS: Duration = Duration::from_secs(300);

/// Starts the service on the hosts that the settings describe.
pub async fn wire(settings: &Settings, chassis: &Chassis) -> anyhow::Result<()> {
    wire_hosts(settings, chassis, Arc::new(settings.hosts()?)).await.map(|_| ())
}

/// Starts the service on these hosts; tests and simulations keep a hand on them, and see what is due.
pub async fn wire_hosts(
    settings: &Settings,
    chassis: &Chassis,
    hosts: Arc<Hosts>,
) -> anyhow::Result<Attention> {
    let agent_id = settings.agent_id()?.to_string();
    let tables = Tables::of(&agent_id).with_hosts(&hosts);
    let desk = chassis.desk_of(&SERVICE, &settings.database_url, |_| Box::new(tables)).await?;
    let (metrics, health) =
        (Metrics::new(&chassis.meter), chassis.health.component("host_driver.hypervisors"));
    health.bad("not asked yet");
    let policy = Policy { keep: settings.keep(), ..Policy::default() };
    let parts = Parts::new(&desk, hosts.clone(), chassis.sealer.clone(), policy, metrics.clone());
    chassis.serve(&desk, parts.subscriptions().only_key(&agent_id));
    let tasks = &chassis.tasks;
    let Parts { attention, visitor, execs, exec_wake, quarantine, quarantine_wake, doubt, .. } = parts;
    let (due, strays) = (attention.clone(), visitor.strays.clone());

    let visits = chassis.health.component("host_driver.visits");
    tasks.spawn(Stage::Work, "vms", |stop| {
        reconcilers::vms::run(visitor, attention.clone(), settings.concurrency.max(1), visits, stop)
    });
    let settle = Duration::from_millis(settings.events_settle_ms);
    tasks.spawn(Stage::Work, "hypervisor events", |stop| {
        reconcilers::vms::listen(hosts.clone(), attention.clone(), settle, stop)
    });
    let (store, full_pass) = (desk.store().clone(), Duration::from_secs(settings.full_pass_s.max(1)));
    tasks.spawn(Stage::Work, "full pass", |stop| {
        reconcilers::vms::full_pass(store, attention, metrics, full_pass, stop)
    });
    let plan = Loop::every(Duration::from_secs(5), "host_driver.execs").woken_by(exec_wake);
    chassis.reconcile(plan.patient_for(MANY_VMS), move || execs.clone().pass());
    let orphans =
        Orphans { desk: desk.clone(), hosts: hosts.clone(), policy: settings.orphans, said: Arc::default() };
    let plan = Loop::every(full_pass, "host_driver.orphans").woken_by(strays).patient_for(MANY_VMS);
    chassis.reconcile(plan, move || orphans.clone().pass());
    let plan = Loop::every(full_pass, "host_driver.quarantine").woken_by(quarantine_wake);
    chassis.reconcile(plan.patient_for(MANY_VMS), move || quarantine.clone().pass());
    let (caches_desk, caches) = (desk.clone(), hosts.clone());
    let plan = Loop::every(Duration::from_secs(600), "host_driver.images").patient_for(MANY_VMS);
    chassis.reconcile(plan, move || reconcilers::images::pass(caches_desk.clone(), caches.clone()));
    let store_id = bus::rebuild::store_id(desk.store()).await?;
    spawn_reports(settings, chassis, &desk, &hosts, (health, doubt, due.clone()), store_id)?;
    let (bus, store) = (chassis.bus.clone(), desk.store().clone());
    tasks.spawn(Stage::Intake, "consoles", |stop| {
        reconcilers::console::serve(bus, agent_id, store, hosts, stop)
    });
    Ok(due)
}

fn spawn_reports(
    settings: &Settings,
    chassis: &Chassis,
    desk: &Desk,
    hosts: &Arc<Hosts>,
    (health, doubt, attention): (HealthHandle, Arc<Notify>, Attention),
    store_id: String,
) -> anyhow::Result<()> {
    let reports = HostReports {
        desk: desk.clone(),
        hosts: hosts.clone(),
        agent_id: settings.agent_id()?.to_string(),
        store_id,
        labels: settings.labels.clone(),
        reserve_memory: settings.reserve_memory_bytes,
        health,
        silent: Arc::default(),
        attention,
    };
    let (beats, bus) = (reports.clone(), chassis.bus.clone());
    let period = Duration::from_millis(settings.heartbeat_ms.max(100));
    // whether KVM can run guests is tried, with time limits of its own
    let plan = Loop::every(Duration::from_secs(15), "host_driver.reports").woken_by(doubt);
    chassis.reconcile(plan.patient_for(MANY_VMS), move || reports.clone().pass());
    chassis.tasks.spawn(Stage::Work, "heartbeats", |stop| reconcilers::host::beat(bus, beats, period, stop));
    Ok(())
}
