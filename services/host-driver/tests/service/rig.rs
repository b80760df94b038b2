//! A host-driver on the bench: messages in, messages out, a simulated host, and a clock that stands still.

use bus::{Desk, Failure};
use chassis::{Health, Sealer};
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use host_driver::adapters::simulated::{World, WorldSettings};
use host_driver::domain::Policy;
use host_driver::{Host, Hosts, MIGRATIONS, Metrics, Parts, SERVICE, VmKey, simulated_host};
use kernel::{HostId, InstanceId, ManualClock, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use testkit::{Bench, Database};

/// More visits than any VM needs to settle.
const MANY: usize = 200;

pub struct Rig {
    pub bench: Bench,
    pub parts: Parts,
    pub world: Arc<World>,
    pub host: HostId,
    pub clock: Arc<ManualClock>,
    pub health: Health,
    pub sealer: Arc<Sealer>,
    database: Option<Database>,
}

impl Rig {
    /// A rig on which every message is delivered `deliveries` times.
    pub async fn new(deliveries: usize) -> Self {
        let settings = WorldSettings { boot_ms: 0, ..WorldSettings::default() };
        Self::with(deliveries, settings).await
    }

    pub async fn with(deliveries: usize, world: WorldSettings) -> Self {
        let database = Database::sqlite(MIGRATIONS).await;
        let store = database.store.clone();
        let world = Arc::new(World::new(world));
        let mut rig = Self::over(
            store,
            world,
            HostId::new(),
            deliveries,
            Arc::new(ManualClock::at(Timestamp(1 << 50))),
        );
        rig.database = Some(database);
        rig
    }

    /// A process that starts over a database and a world that are there already.
    pub fn over(
        store: Store,
        world: Arc<World>,
        host: HostId,
        deliveries: usize,
        clock: Arc<ManualClock>,
    ) -> Self {
        let desk = Desk::new(SERVICE.name, store, clock.clone());
        let hosts: [Host; 1] = [simulated_host(host, "host-1".into(), world.clone())];
        let (health, sealer) = (Health::default(), Arc::new(Sealer::new(&[7; 32])));
        let metrics = Metrics::new(&opentelemetry::global::meter("test"));
        let parts =
            Parts::new(&desk, Arc::new(Hosts::new(hosts)), sealer.clone(), Policy::default(), metrics);
        let bench = Bench::on(desk, parts.subscriptions(), deliveries);
        Self { bench, parts, world, host, clock, health, sealer, database: None }
    }

    /// The same process with other numbers behind its decisions.
    pub fn under(&mut self, policy: Policy) {
        let desk = self.bench.desk.clone();
        let metrics = Metrics::new(&opentelemetry::global::meter("test"));
        self.parts = Parts::new(&desk, self.parts.hosts.clone(), self.sealer.clone(), policy, metrics);
        self.bench = Bench::on(desk, self.parts.subscriptions(), 2);
    }

    /// Who says what the hosts are.
    pub fn reports(&self) -> host_driver::HostReports {
        host_driver::HostReports {
            desk: self.bench.desk.clone(),
            hosts: self.parts.hosts.clone(),
            agent_id: "agent".into(),
            store_id: "store".into(),
            labels: Default::default(),
            reserve_memory: 0,
            health: self.health.component("hypervisors"),
            silent: Default::default(),
            attention: self.parts.attention.clone(),
        }
    }

    pub fn order(&self, instance: InstanceId) -> wire::EnsureVm {
        wire::EnsureVm {
            agent_id: "agent".into(),
            host_id: self.host.to_string(),
            generation: 1,
            intent_revision: 1,
            power: wire::VmPower::Running.into(),
            reboot_counter: 0,
            stop_grace_s: 30,
            disposal: wire::Disposal::SetAside.into(),
            take_back: String::new(),
            spec: Some(wire::VmSpec {
                instance_id: instance.to_string(),
                tenant: "default".into(),
                name: "web-1".into(),
                resources: Some(common::Resources {
                    vcpus_milli: 1000,
                    memory_bytes: 128 << 20,
                    disk_bytes: 1 << 30,
                }),
                artifacts: vec![common::Artifact {
                    role: common::ArtifactRole::Kernel.into(),
                    sha256: "a".repeat(64),
                    ..common::Artifact::default()
                }],
                guest_agent: true,
                hostname: "web-1".into(),
                restart_policy: common::RestartPolicy::Always.into(),
                driver: common::Driver::Simulated.into(),
                ..wire::VmSpec::default()
            }),
            ..wire::EnsureVm::default()
        }
    }

    /// Delivers an order.
    pub async fn ensure(&mut self, order: &wire::EnsureVm) -> Result<(), Failure> {
        self.bench.deliver(order).await
    }

    pub fn key(&self, instance: InstanceId) -> VmKey {
        VmKey { host: self.host, instance }
    }

    /// Looks at a VM until it needs no further look by itself, moving the clock as far as it wants to wait.
    pub async fn settle(&self, instance: InstanceId) {
        for _ in 0..MANY {
            match self.parts.visitor.visit(self.key(instance)).await.expect("the database works") {
                None => return,
                Some(pause) => self.clock.advance(pause + Duration::from_millis(1)),
            }
        }
        panic!("{instance} does not settle: {:?}", self.world.powers());
    }

    /// One look.
    pub async fn look(&self, instance: InstanceId) -> Option<Duration> {
        self.parts.visitor.visit(self.key(instance)).await.expect("the database works")
    }

    /// Orders a VM and sees it up.
    pub async fn running(&mut self) -> InstanceId {
        self.running_with(|_| ()).await
    }

    /// The same with another order.
    pub async fn running_with(&mut self, change: impl FnOnce(&mut wire::EnsureVm)) -> InstanceId {
        let instance = InstanceId::new();
        let mut order = self.order(instance);
        change(&mut order);
        self.ensure(&order).await.expect("taken");
        self.settle(instance).await;
        let seen = self.last_observation().await;
        assert_eq!((seen.power(), seen.agent_answered), (wire::VmPower::Running, true), "{seen:?}");
        instance
    }

    pub async fn observations(&mut self) -> Vec<wire::VmObservation> {
        let said = self.bench.said_of::<wire::VmObserved>().await;
        said.into_iter().filter_map(|event| event.observation).collect()
    }

    pub async fn last_observation(&mut self) -> wire::VmObservation {
        self.observations().await.pop().expect("something was said")
    }

    /// What was said since the last time: drifts and observations.
    pub async fn heard(&mut self) -> (Vec<wire::VmDrifted>, Vec<wire::VmObservation>) {
        let said = self.bench.said().await;
        let drifts = said.iter().filter_map(testkit::Said::get::<wire::VmDrifted>).collect();
        let seen = said
            .iter()
            .filter_map(testkit::Said::get::<wire::VmObserved>)
            .filter_map(|e| e.observation)
            .collect();
        (drifts, seen)
    }

    /// The database as it is now, as a new process finds it after a kill.
    pub async fn snapshot(&self, folder: &std::path::Path) -> Store {
        let copy = folder.join("copy.db");
        let statement = format!("VACUUM INTO '{}'", copy.display());
        let store = self.bench.desk.store();
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(store.reader()).await.expect("a copy");
        let migrations: Vec<_> = bus::MIGRATIONS.iter().chain(MIGRATIONS).copied().collect();
        Store::open(&format!("sqlite://{}", copy.display()), &migrations).await.expect("the copy opens")
    }
}
