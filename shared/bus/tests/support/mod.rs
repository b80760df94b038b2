//! A small service on a real broker: it obeys StartInstance by writing a row and saying InstanceChanged.
#![allow(dead_code, missing_docs)]

pub mod line;
pub mod scenario;

use async_trait::async_trait;
use bus::{
    Cause, Connection, Desk, Failure, Handle, Relay, Report, RetryPolicy, Runner, Subscriptions, Work,
};
use contracts::bus::v1::StreamRefilled;
use contracts::scheduler::v1::{Instance, InstanceChanged, StartInstance};
use kernel::{InstanceId, Message, SystemClock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::MigrationFile;
use testkit::{Database, NatsServer};
use tokio_util::sync::CancellationToken;

pub const TABLES: &[MigrationFile] = &[MigrationFile {
    version: 1000,
    name: "effects",
    sql: "CREATE TABLE effects (seq BIGSERIAL PRIMARY KEY, instance_id TEXT NOT NULL);
          CREATE TABLE seen (seq BIGSERIAL PRIMARY KEY, instance_id TEXT NOT NULL);",
}];

pub const SOON: Duration = Duration::from_secs(20);

/// What the handler should do with an instance's message: how often to fail, and how.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<BTreeMap<String, (u32, &'static str)>>>);

impl Script {
    pub fn fail(&self, instance: &str, times: u32, how: &'static str) {
        self.0.lock().expect("lock").insert(instance.to_owned(), (times, how));
    }

    fn next(&self, instance: &str) -> Option<&'static str> {
        let mut plan = self.0.lock().expect("lock");
        let (left, how) = plan.get_mut(instance)?;
        *left = left.checked_sub(1)?;
        Some(*how)
    }
}

pub struct OnStart {
    pub script: Script,
    pub runs: Arc<AtomicU32>,
    pub gathered: Arc<AtomicU32>,
    pub slow: Duration,
}

#[async_trait]
impl Handle<StartInstance> for OnStart {
    async fn gather(
        &self,
        _work: &mut Work,
        messages: &mut (dyn Iterator<Item = StartInstance> + Send),
    ) -> Result<(), Failure> {
        self.gathered.fetch_add(messages.count() as u32, Ordering::SeqCst);
        Ok(())
    }

    async fn handle(&self, work: &mut Work, message: StartInstance) -> Result<(), Failure> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        sqlx::query("INSERT INTO effects (instance_id) VALUES ($1)")
            .bind(&message.instance_id)
            .execute(work.tx())
            .await?;
        work.say(&InstanceChanged {
            instance: Some(Instance { id: message.instance_id.clone(), ..Instance::default() }),
            operations: vec![],
        });
        tokio::time::sleep(self.slow).await;
        match self.script.next(&message.instance_id) {
            Some("panic") => panic!("as the script says"),
            Some("poison") => Err(Failure::Poison("cannot be".into())),
            Some(_) => Err(Failure::Transient("not yet".into())),
            None => Ok(()),
        }
    }
}

/// Takes note of each event.
pub struct OnChanged;

#[async_trait]
impl Handle<InstanceChanged> for OnChanged {
    async fn handle(&self, work: &mut Work, message: InstanceChanged) -> Result<(), Failure> {
        let instance = message.instance.ok_or_else(|| Failure::Poison("no instance".into()))?;
        sqlx::query("INSERT INTO seen (instance_id) VALUES ($1)")
            .bind(&instance.id)
            .execute(work.tx())
            .await?;
        Ok(())
    }
}

pub struct Service {
    pub desk: Desk,
    pub connection: Connection,
    pub database: Database,
    pub script: Script,
    pub runs: Arc<AtomicU32>,
    /// How many commands came in batches.
    pub gathered: Arc<AtomicU32>,
    pub stop: CancellationToken,
    /// How long a loop may get nowhere, and between two clearings of old rows.
    pub times: (Duration, Duration),
    /// What relay and runner said of themselves: well, and the sentence.
    pub heard: Arc<Mutex<Vec<(bool, String)>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

pub fn quick() -> RetryPolicy {
    RetryPolicy {
        attempts: 4,
        first_delay: Duration::from_millis(20),
        max_delay: Duration::from_millis(100),
        ack_wait: Duration::from_secs(2),
    }
}

impl Service {
    pub async fn start(nats: &NatsServer, slow: Duration) -> Self {
        Self::on(Database::sqlite(TABLES).await, nats, slow).await
    }

    pub async fn on(database: Database, nats: &NatsServer, slow: Duration) -> Self {
        Self::with(database, nats.connect().await, slow)
    }

    pub fn with(database: Database, connection: Connection, slow: Duration) -> Self {
        let desk = Desk::new("scheduler", database.store.clone(), Arc::new(SystemClock));
        let mut service = Self {
            desk,
            connection,
            database,
            script: Script::default(),
            runs: Arc::default(),
            gathered: Arc::default(),
            stop: CancellationToken::new(),
            times: (bus::watchdog::PATIENCE, Duration::from_secs(3600)),
            heard: Arc::default(),
            tasks: Vec::new(),
        };
        service.relay();
        service.runner(slow);
        service
    }

    pub fn relay(&mut self) {
        let relay = Relay::new(self.desk.clone(), self.connection.clone(), self.report())
            .with_times(self.times.0, self.times.1);
        self.tasks.push(tokio::spawn(relay.run(self.stop.clone())));
    }

    pub fn runner(&mut self, slow: Duration) {
        let (script, runs, gathered) = (self.script.clone(), self.runs.clone(), self.gathered.clone());
        let handler = OnStart { script, runs, gathered, slow };
        let subscriptions =
            Subscriptions::new("scheduler").on::<StartInstance>(handler).on::<InstanceChanged>(OnChanged);
        let runner =
            Runner::new(self.desk.clone(), self.connection.clone(), subscriptions, quick(), self.report())
                .with_patience(self.times.0);
        self.tasks.push(tokio::spawn(runner.run(self.stop.clone())));
    }

    fn report(&self) -> Report {
        let heard = self.heard.clone();
        Report::new(move |outcome, detail| heard.lock().expect("lock").push((outcome.is_ok(), detail)))
    }

    /// Sends a command the way services do: through the outbox.
    pub async fn tell(&self, instance: &str) {
        let mut work = self.desk.begin(Cause::own("test").for_tenant("acme")).await.expect("begin");
        work.tell(&StartInstance { instance_id: instance.into(), ..StartInstance::default() });
        work.commit().await.expect("commit");
    }

    /// Many commands in one transaction.
    pub async fn tell_all(&self, instances: &[String]) {
        let mut work = self.desk.begin(Cause::own("test").for_tenant("acme")).await.expect("begin");
        for id in instances {
            work.tell(&StartInstance { instance_id: id.clone(), ..StartInstance::default() });
        }
        work.commit().await.expect("commit");
    }

    /// Message ids of all commands in the outbox.
    pub async fn told(&self) -> Vec<String> {
        self.column("SELECT message_id FROM outbox WHERE stream = 'CMD_SCHEDULER'").await
    }

    /// Says that instances changed, each event so big that few fit into a block of the broker's store.
    pub async fn say_big(&self, ids: &[String]) {
        for ids in ids.chunks(50) {
            let mut work = self.desk.begin(Cause::own("test").for_tenant("acme")).await.expect("begin");
            for id in ids {
                let name = "x".repeat(20_000);
                let instance = Instance { id: id.clone(), name, ..Instance::default() };
                work.say(&InstanceChanged { instance: Some(instance), operations: vec![] });
            }
            work.commit().await.expect("commit");
        }
    }

    async fn column(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query).fetch_all(self.desk.store().reader()).await.expect("rows")
    }

    pub async fn effects(&self) -> Vec<String> {
        self.column("SELECT instance_id FROM effects ORDER BY seq").await
    }

    /// Ids of the instances whose events were handled.
    pub async fn seen(&self) -> Vec<String> {
        self.column("SELECT instance_id FROM seen ORDER BY seq").await
    }

    /// Message ids of all events in the outbox, in the order they were said.
    pub async fn said(&self) -> Vec<String> {
        self.column("SELECT message_id FROM outbox WHERE stream = 'EVENTS' ORDER BY seq").await
    }

    /// Events that the stream is known to hold.
    pub async fn acknowledged(&self) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM outbox WHERE stream = 'EVENTS' AND stream_sequence > 0")
            .fetch_one(self.desk.store().reader())
            .await
            .expect("a number")
    }

    /// All events in the stream.
    pub async fn stream(&self) -> Vec<bus::Envelope> {
        let mut items = bus::watch::watch(self.connection.clone(), bus::watch::Query::default());
        let mut events = Vec::new();
        while let Some(item) = items.recv().await {
            if let Ok(bus::watch::Item::Event { envelope, .. }) = item {
                events.push(*envelope);
            }
        }
        events
    }

    /// Ids of the instances that events in the stream speak of.
    pub async fn events(&self) -> Vec<String> {
        let events = self.stream().await;
        let changed = events.into_iter().filter(|e| e.subject.name == "InstanceChanged");
        changed.map(|e| e.subject.key).collect()
    }

    /// What was said about lost messages.
    pub async fn refills(&self) -> Vec<StreamRefilled> {
        let events = self.stream().await;
        let refilled = events.iter().filter(|e| e.subject.name == "StreamRefilled");
        refilled.map(|e| Message::from_bytes(&e.payload).expect("readable")).collect()
    }

    /// Ends relay and runner; both can be started again.
    pub async fn halt(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.expect("no task panics");
        }
        self.stop = CancellationToken::new();
    }

    /// Ends relay and runner where they are, as a kill would.
    pub async fn drop_tasks(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
    }

    pub async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("no task panics");
        }
    }
}

pub fn id() -> String {
    InstanceId::new().to_string()
}
