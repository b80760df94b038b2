//! A scheduler on the bench: messages in, messages out. Each case runs on both databases and with every message
//! delivered once and twice; after each, all tables are rebuilt from what was said and compared row by row.
#![allow(dead_code, reason = "each test file uses its own part")]

use bus::Desk;
use contracts::common::v1::{Artifact, ArtifactRole, DiskFormat, Driver, OperationState, Refusal, Resources};
use contracts::host_driver::v1 as vm;
use contracts::scheduler::v1 as api;
use contracts::storage::v1 as storage;
use kernel::{ImageId, InstanceId, Kind, ManualClock, Message, OperationId, Subject, Timestamp};
use scheduler::handlers::Context;
use scheduler::rebuild::STATE_TABLES;
use scheduler::{MIGRATIONS, SERVICE, Settings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Store, dump_table};
use testkit::{Bench, Database, Said, databases};

pub const GIB: u64 = 1 << 30;
pub const TENANT: &str = "acme";
pub const IMAGE: &str = "00000000-0000-0000-0000-0000000000aa";

pub struct World {
    pub bench: Bench,
    pub context: Context,
    pub clock: Arc<ManualClock>,
    /// Everything that was said, and the events of others that became rows here.
    history: Vec<(String, String, Vec<u8>)>,
    unread: Vec<Said>,
    observations: BTreeMap<(String, String), u64>,
    next: u128,
}

/// Runs a case on both databases, with every message delivered once and twice.
pub async fn everywhere(case: impl AsyncFn(&mut World)) {
    for deliveries in [1, 2] {
        for database in databases(MIGRATIONS).await {
            let mut world = World::new(database.store.clone(), deliveries);
            case(&mut world).await;
            world.check_rebuild().await;
            database.remove().await;
        }
    }
}

impl World {
    pub fn new(store: Store, deliveries: usize) -> Self {
        // long after 1970: ids made from small numbers are old requests
        let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000_000)));
        let desk = Desk::new(SERVICE.name, store.clone(), clock.clone());
        let settings = Settings { overcommit_vcpus_percent: 100, ..Settings::default() };
        let context = scheduler::context(&settings, store, &opentelemetry::global::meter("test"));
        let mut bench = Bench::on(desk, scheduler::subscriptions(&context), deliveries);
        bench.tenant = TENANT.into();
        Self {
            bench,
            context,
            clock,
            history: Vec::new(),
            unread: Vec::new(),
            observations: BTreeMap::new(),
            next: 1000,
        }
    }

    pub fn store(&self) -> &Store {
        self.bench.desk.store()
    }

    pub async fn deliver<M: Message>(&mut self, message: &M) {
        self.clock.advance(Duration::from_millis(1));
        self.bench.deliver(message).await.unwrap_or_else(|failure| panic!("{}: {failure}", M::NAME));
        if ["storage", "gateway"].contains(&M::SERVICE) {
            self.history.push((M::SERVICE.into(), M::NAME.into(), message.to_bytes()));
        }
        self.listen().await;
    }

    /// Takes in what was said since the last look, and first the events of others that led to it.
    pub async fn listen_after(&mut self, events: Vec<(String, String, Vec<u8>)>) {
        self.history.extend(events);
        self.listen().await;
    }

    /// Takes in what was said since the last look.
    pub async fn listen(&mut self) {
        for said in self.bench.said().await {
            // commands are told as well, and no table is made of them
            if said.subject.kind == Kind::Event {
                let (service, name) = (said.subject.service.clone(), said.subject.name.clone());
                self.history.push((service, name, said.payload.clone()));
            }
            self.unread.push(said);
        }
    }

    /// Names of the messages sent since the last look, in order.
    pub fn names(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unread).into_iter().map(|said| said.subject.name).collect()
    }

    /// The messages of one type since the last look; forgets all others.
    pub fn said<M: Message>(&mut self) -> Vec<M> {
        std::mem::take(&mut self.unread).iter().filter_map(Said::get::<M>).collect()
    }

    /// The only message of its type since the last look.
    pub fn one<M: Message>(&mut self) -> M {
        let mut said = self.said::<M>();
        assert_eq!(said.len(), 1, "{}", M::NAME);
        said.remove(0)
    }

    pub fn operation(&mut self) -> String {
        self.next += 1;
        OperationId::from_u128(self.next).to_string()
    }

    pub async fn host(&mut self, number: u32, cpus: u64, memory_gib: u64) -> String {
        let report = report(number, 1, cpus, memory_gib);
        self.deliver(&vm::HostReported { report: Some(report) }).await;
        host_id(number)
    }

    pub async fn image(&mut self) {
        self.deliver(&storage::ImageImported { image: Some(image()), operations: vec![] }).await;
    }

    /// One host with 8 CPUs, 16 GiB and 100 GiB, one image.
    pub async fn ground(&mut self) {
        self.image().await;
        self.host(1, 8, 16).await;
        self.names();
    }

    pub async fn create(&mut self, name: &str) -> String {
        self.create_with(name, |_| {}).await
    }

    pub async fn create_with(&mut self, name: &str, change: impl FnOnce(&mut api::CreateInstance)) -> String {
        self.next += 1;
        let mut command = create(InstanceId::from_u128(self.next), name);
        command.operation_id = self.operation();
        change(&mut command);
        self.deliver(&command).await;
        command.instance_id
    }

    pub async fn start(&mut self, instance_id: &str) {
        let (operation_id, tenant) = (self.operation(), TENANT.to_owned());
        self.deliver(&api::StartInstance { instance_id: instance_id.into(), operation_id, tenant }).await;
    }

    pub async fn stop(&mut self, instance_id: &str) {
        let (operation_id, tenant) = (self.operation(), TENANT.to_owned());
        self.deliver(&api::StopInstance {
            instance_id: instance_id.into(),
            operation_id,
            tenant,
            grace_s: 5,
        })
        .await;
    }

    pub async fn delete(&mut self, instance_id: &str) {
        let (operation_id, tenant) = (self.operation(), TENANT.to_owned());
        self.deliver(&api::DeleteInstance { instance_id: instance_id.into(), operation_id, tenant }).await;
    }

    /// The host of an instance says what it sees, following the newest order.
    pub async fn see(&mut self, id: &str, power: vm::VmPower, change: impl FnOnce(&mut vm::VmObservation)) {
        let instance = self.instance(id).await;
        let revision = self.observations.entry((id.into(), instance.host_id.clone())).or_default();
        *revision += 1;
        let mut observation = vm::VmObservation {
            instance_id: id.into(),
            host_id: instance.host_id,
            tenant: TENANT.into(),
            revision: *revision,
            generation: instance.generation,
            intent_revision: instance.intent_revision,
            power: power.into(),
            agent_answered: power == vm::VmPower::Running,
            observed_at_us: self.clock.now_us(),
            ..vm::VmObservation::default()
        };
        change(&mut observation);
        self.deliver(&vm::VmObserved { observation: Some(observation) }).await;
    }

    /// An instance as its row has it.
    pub async fn instance(&self, id: &str) -> api::Instance {
        let snapshot: Vec<u8> = sqlx::query_scalar("SELECT snapshot FROM instances WHERE id = $1")
            .bind(id)
            .fetch_one(self.store().reader())
            .await
            .expect("the instance");
        api::Instance::from_bytes_of(&snapshot)
    }

    pub async fn reserved(&self, host: &str) -> (u64, u64, u64) {
        let mut reader = self.store().reader().acquire().await.expect("a connection");
        let reserved = scheduler::store::fleet::reserved_on(&mut reader, host).await.expect("a sum");
        (reserved.vcpus.0, reserved.memory.0, reserved.disk.0)
    }

    /// One pass of the placement loop.
    pub async fn place(&mut self) {
        self.clock.advance(Duration::from_millis(1));
        scheduler::reconcilers::placement::pass(&self.bench.desk, &self.context).await.expect("a pass");
        self.listen().await;
    }

    /// One pass of the deadlines loop.
    pub async fn deadlines(&mut self) {
        scheduler::reconcilers::deadlines::pass(&self.bench.desk, &self.context).await.expect("a pass");
        self.listen().await;
    }

    /// The tables rebuilt from the history are the tables; events that come twice and late change nothing.
    pub async fn check_rebuild(&mut self) {
        self.listen().await;
        let copy = Database::sqlite(MIGRATIONS).await;
        for round in 0..2 {
            let mut tx = copy.store.begin().await.expect("a transaction");
            for (service, name, bytes) in &self.history {
                let (kind, version) = (Kind::Event, "v1".to_owned());
                let (service, name) = (service.clone(), name.clone());
                let (tenant, key) = (String::new(), String::new());
                let subject = Subject { kind, service, version, name, tenant, key };
                let payload = bytes.clone().into();
                scheduler::rebuild::fold(&mut tx, &subject, &payload).await.expect("an event of ours");
            }
            tx.commit().await.expect("commit");
            for table in STATE_TABLES {
                let rebuilt = dump_table(&copy.store, table).await.expect("dump");
                let own = dump_table(self.store(), table).await.expect("dump");
                assert_eq!(rebuilt, own, "table {table}, round {round}");
            }
        }
    }
}

/// Bytes of a row.
pub trait FromBytesOf {
    fn from_bytes_of(bytes: &[u8]) -> Self;
}

impl<T: prost::Message + Default> FromBytesOf for T {
    fn from_bytes_of(bytes: &[u8]) -> Self {
        T::decode(bytes).expect("a snapshot")
    }
}

/// Microseconds of a clock.
pub trait NowUs {
    fn now_us(&self) -> i64;
}

impl NowUs for ManualClock {
    fn now_us(&self) -> i64 {
        kernel::Clock::now(self).micros()
    }
}

pub fn host_id(number: u32) -> String {
    kernel::HostId::from_u128(u128::from(number)).to_string()
}

pub fn report(number: u32, revision: u64, cpus: u64, memory_gib: u64) -> vm::HostReport {
    vm::HostReport {
        host_id: host_id(number),
        name: format!("h{number}"),
        agent_id: format!("agent-{number}"),
        revision,
        capacity: Some(resources(cpus, memory_gib, 100)),
        labels: BTreeMap::from([("rack".to_owned(), format!("r{number}"))]),
        drivers: vec![vm::DriverReport {
            driver: Driver::Simulated.into(),
            version: "1".into(),
            acceleration: "none".into(),
            direct_kernel_boot: true,
            disk_boot: true,
            guest_agent: true,
            console: true,
            pause: true,
        }],
        architecture: "x86_64".into(),
        ..vm::HostReport::default()
    }
}

pub fn resources(cpus: u64, memory_gib: u64, disk_gib: u64) -> Resources {
    Resources { vcpus_milli: cpus * 1000, memory_bytes: memory_gib * GIB, disk_bytes: disk_gib * GIB }
}

pub fn image() -> storage::Image {
    storage::Image {
        id: IMAGE.parse::<ImageId>().expect("an id").to_string(),
        tenant: TENANT.into(),
        name: "debian".into(),
        revision: 2,
        phase: storage::ImagePhase::Ready.into(),
        artifacts: vec![Artifact {
            role: ArtifactRole::Disk.into(),
            sha256: "ab".repeat(32),
            size_bytes: GIB,
            format: DiskFormat::Qcow2.into(),
            virtual_size_bytes: 2 * GIB,
        }],
        architecture: "x86_64".into(),
        guest_agent: true,
        min_disk_bytes: 2 * GIB,
        ..storage::Image::default()
    }
}

pub fn create(id: InstanceId, name: &str) -> api::CreateInstance {
    api::CreateInstance {
        instance_id: id.to_string(),
        operation_id: String::new(),
        tenant: TENANT.into(),
        name: name.into(),
        spec: Some(api::InstanceSpec {
            image_id: IMAGE.into(),
            image_name: "debian".into(),
            resources: Some(resources(2, 4, 10)),
            ..api::InstanceSpec::default()
        }),
    }
}

/// The refusal's code of the first operation that ended, and how.
pub fn ended(operations: &[contracts::common::v1::OperationProgress]) -> Vec<(OperationState, String)> {
    let code = |refusal: &Option<Refusal>| refusal.as_ref().map(|r| r.code.clone()).unwrap_or_default();
    operations
        .iter()
        .map(|progress| (progress.state(), code(&progress.refusal)))
        .filter(|(state, _)| *state != OperationState::Running)
        .collect()
}

pub fn succeeded() -> Vec<(OperationState, String)> {
    vec![(OperationState::Succeeded, String::new())]
}

pub fn failed(code: &str) -> Vec<(OperationState, String)> {
    vec![(OperationState::Failed, code.to_owned())]
}
