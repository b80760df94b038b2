//! What keeps a service from working is said by name in its health, and passes by itself when the cause is gone.

use async_trait::async_trait;
use bus::{BusSettings, Cause, Desk, Failure, Handle, StreamLimits, Subscriptions, Trouble, Work};
use chassis::{Chassis, ChassisSettings};
use contracts::scheduler::v1::{Instance, InstanceChanged, StartInstance};
use sqlx::AssertSqlSafe;
use std::time::Duration;
use store::{MigrationFile, Store};
use testkit::{Database, NatsServer, SmallDisk, eventually};

const SOON: Duration = Duration::from_secs(40);
const TABLES: &[MigrationFile] = &[MigrationFile {
    version: 1000,
    name: "effects",
    sql: "CREATE TABLE effects (seq BIGSERIAL PRIMARY KEY, instance_id TEXT NOT NULL)",
}];

struct OnStart;

#[async_trait]
impl Handle<StartInstance> for OnStart {
    async fn handle(&self, work: &mut Work, message: StartInstance) -> Result<(), Failure> {
        sqlx::query("INSERT INTO effects (instance_id) VALUES ($1)")
            .bind(&message.instance_id)
            .execute(work.tx())
            .await?;
        let instance = Instance { id: message.instance_id, ..Instance::default() };
        work.say(&InstanceChanged { instance: Some(instance), operations: vec![] });
        Ok(())
    }
}

struct Process {
    chassis: Chassis,
    desk: Desk,
    _keys: tempfile::TempDir,
}

async fn process(nats: &NatsServer, limits: StreamLimits, database_url: &str) -> Process {
    let keys = tempfile::tempdir().expect("folder");
    let settings = ChassisSettings {
        bus: BusSettings { limits, ..nats.settings() },
        sealing_key_file: keys.path().join("sealing.key"),
        ..ChassisSettings::default()
    };
    let chassis = Chassis::start("scheduler", &settings).await.expect("a broker");
    let desk = chassis.desk("scheduler", database_url, TABLES).await.expect("a database");
    let process = Process { chassis, desk, _keys: keys };
    process.well("scheduler.store").await;
    process
}

impl Process {
    fn serve(&self) {
        self.chassis.serve(&self.desk, Subscriptions::new("scheduler").on::<StartInstance>(OnStart));
    }

    async fn in_trouble(&self, part: &str, trouble: Trouble) -> String {
        eventually(SOON, &format!("{part} to be in trouble: {}", trouble.code()), async || {
            let parts = self.chassis.health.all();
            let part = parts.iter().find(|p| p.name == part)?;
            (part.trouble == Some(trouble) && !part.healthy).then(|| part.detail.clone())
        })
        .await
    }

    async fn well(&self, part: &str) {
        eventually(SOON, &format!("{part} to be well"), async || {
            self.chassis.health.all().iter().any(|p| p.name == part && p.healthy).then_some(())
        })
        .await;
    }

    async fn tell(&self, count: usize) -> Result<(), store::StoreError> {
        let mut work = self.desk.begin(Cause::own("test")).await?;
        for _ in 0..count {
            let instance_id = kernel::InstanceId::new().to_string();
            work.tell(&StartInstance { instance_id, ..StartInstance::default() });
        }
        work.commit().await
    }

    async fn say_big(&self, count: usize) {
        let mut work = self.desk.begin(Cause::own("test")).await.expect("begin");
        for _ in 0..count {
            let (id, name) = (kernel::InstanceId::new().to_string(), "x".repeat(100_000));
            let instance = Instance { id, name, ..Instance::default() };
            work.say(&InstanceChanged { instance: Some(instance), operations: vec![] });
        }
        work.commit().await.expect("commit");
    }

    async fn effects(&self) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM effects")
            .fetch_one(self.desk.store().reader())
            .await
            .expect("count")
    }

    async fn waiting(&self) -> i64 {
        bus::outbox_size(self.desk.store()).await.expect("size").waiting
    }

    async fn all_published(&self) {
        eventually(SOON, "everything to be published", async || (self.waiting().await == 0).then_some(()))
            .await;
    }

    async fn stored(&self, stream: &str) -> u64 {
        let stream = self.chassis.bus.jetstream().get_stream(stream).await.expect("stream");
        stream.cached_info().state.messages
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_and_has_room_again() {
    let (nats, folder) = (NatsServer::start().await, tempfile::tempdir().expect("folder"));
    let disk = SmallDisk::mount(&folder.path().join("disk"), 3 << 20);
    let url = format!("sqlite://{}/disk/test.db", folder.path().display());
    let process = process(&nats, StreamLimits::default(), &url).await;
    process.serve();
    process.tell(20).await.expect("room");
    disk.fill();
    let detail = process.in_trouble("scheduler.store", Trouble::StoreFull).await;
    assert!(detail.contains("full"), "{detail}");
    assert!(!process.chassis.health.is_healthy());
    let refused = process.tell(200).await.expect_err("no room");
    assert_eq!(Trouble::of_store(&refused), Trouble::StoreFull, "{refused}");
    disk.free();
    process.well("scheduler.store").await;
    process.tell(20).await.expect("room again");
    eventually(SOON, "all effects", async || (process.effects().await == 40).then_some(())).await;
    process.all_published().await;
    process.chassis.tasks.stop().await;
}

#[tokio::test]
async fn a_database_that_another_process_holds_locked() {
    let (nats, database) = (NatsServer::start().await, Database::sqlite(TABLES).await);
    let process = process(&nats, StreamLimits::default(), &database.url).await;
    let other =
        Store::open(&database.url, &[bus::MIGRATIONS, TABLES].concat()).await.expect("another process");
    let lock = other.begin().await.expect("the write lock");
    process.in_trouble("scheduler.store", Trouble::StoreLocked).await;
    drop(lock);
    process.well("scheduler.store").await;
    process.tell(1).await.expect("free again");
    process.chassis.tasks.stop().await;
}

#[tokio::test]
async fn a_server_that_takes_no_writes_and_one_that_lets_nobody_in() {
    let (nats, database) = (NatsServer::start().await, Database::postgres(TABLES).await);
    let process = process(&nats, StreamLimits::default(), &database.url).await;
    process.serve();
    let (server, name) = database.url.rsplit_once('/').expect("a name");
    let admin = Store::open(&format!("{server}/postgres"), &[]).await.expect("the server");
    let run = async |statement: String| {
        sqlx::query(AssertSqlSafe(statement)).execute(admin.reader()).await.expect("the server obeys");
        // sessions that are open keep what they began with
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        sqlx::query(end).bind(name).execute(admin.reader()).await.expect("sessions end");
    };
    process.tell(5).await.expect("writable");
    run(format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    process.in_trouble("scheduler.store", Trouble::StoreReadOnly).await;
    run(format!("ALTER DATABASE {name} SET default_transaction_read_only = off")).await;
    process.well("scheduler.store").await;
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    process.in_trouble("scheduler.store", Trouble::StoreGone).await;
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    process.well("scheduler.store").await;
    process.tell(5).await.expect("writable again");
    eventually(SOON, "all effects", async || (process.effects().await == 10).then_some(())).await;
    process.chassis.tasks.stop().await;
}

#[tokio::test]
async fn a_work_queue_at_its_limit_holds_up_nothing_else_and_drops_nothing() {
    let (nats, database) = (NatsServer::start().await, Database::sqlite(TABLES).await);
    let limits = StreamLimits { queue_messages: 60, ..StreamLimits::default() };
    let process = process(&nats, limits, &database.url).await;
    process.tell(1_500).await.expect("the outbox takes them");
    let detail = process.in_trouble("scheduler.relay", Trouble::BrokerFull).await;
    assert!(detail.contains("CMD_SCHEDULER"), "{detail}");
    // the log of events still takes what is said behind them
    process.say_big(3).await;
    eventually(SOON, "the events", async || (process.stored("EVENTS").await == 3).then_some(())).await;
    assert!(process.stored("CMD_SCHEDULER").await <= 60);
    process.serve();
    eventually(SOON, "all effects", async || (process.effects().await == 1_500).then_some(())).await;
    process.all_published().await;
    process.well("scheduler.relay").await;
    process.chassis.tasks.stop().await;
}

#[tokio::test]
async fn a_broker_out_of_storage_and_one_that_is_away() {
    let small = "jetstream { max_file_store: 6MB }";
    let (mut nats, database) = (NatsServer::start_with(small).await, Database::sqlite(TABLES).await);
    let limits = StreamLimits {
        queue_bytes: -1,
        outside_bytes: -1,
        dead_bytes: -1,
        outbox_waiting: 20,
        ..StreamLimits::default()
    };
    let process = process(&nats, limits, &database.url).await;
    process.say_big(100).await;
    process.in_trouble("scheduler.relay", Trouble::BrokerFull).await;
    process.in_trouble("scheduler.outbox", Trouble::OutboxFull).await;
    nats.end();
    process.in_trouble("scheduler.relay", Trouble::BrokerAway).await;
    process.in_trouble("broker", Trouble::BrokerAway).await;
    nats.configure("jetstream { max_file_store: 100MB }");
    nats.up().await;
    process.all_published().await;
    for part in ["scheduler.relay", "scheduler.outbox", "broker"] {
        process.well(part).await;
    }
    assert_eq!(process.stored("EVENTS").await, 100);
    process.chassis.tasks.stop().await;
}
