//! Whatever comes in whatever order, whatever is undone, comes twice or dies before its commit: a tenant is admitted exactly
//! what its quota has room for, and what is deleted is free again.

mod support;

use async_trait::async_trait;
use bus::{Cause, Envelope, Failure, Handle, Subscriptions, Work};
use contracts::gateway::v1::{Quota as Set, QuotaLimits, TenantQuotaSet};
use contracts::host_driver::v1::{HostReported, VmObservation, VmObserved, VmPower};
use contracts::scheduler::v1::*;
use contracts::storage::v1::ImageImported;
use kernel::quota::{Amounts, Limits, Quota, judge};
use kernel::{Clock as _, CorrelationId, InstanceId, Message, MessageId, OperationId, PLATFORM, Subject};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use scheduler::handlers::{Context, OnCreateInstance, OnDeleteInstance, OnTenantQuotaSet, OnVmObserved};
use scheduler::{MIGRATIONS, SERVICE};
use std::collections::BTreeMap;
use support::*;
use testkit::Database;

const TENANTS: [&str; 2] = [TENANT, "bravo"];

/// One message.
#[derive(Debug, Clone)]
enum Op {
    /// A new instance: whose, CPUs, GiB of memory, and whether its message fails after it was admitted.
    Create(usize, u64, u64, bool),
    /// One of the instances that are there is deleted.
    Delete(usize),
    /// Another quota: whose, instances, CPUs and GiB of memory.
    Quota(usize, Option<u64>, Option<u64>, Option<u64>),
    /// One of the messages that came before comes again.
    Again(usize),
}

/// How messages go through.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Together,
    OneByOne,
    /// The process dies before the commit; the messages come again later, if at all.
    Crash,
    /// The same, and they come again at once.
    CrashAndAgain,
}

fn op() -> impl Strategy<Value = Op> {
    let limit = |most: u64| proptest::option::of(0..most);
    prop_oneof![
        6 => (0..2usize, 1..4u64, 1..4u64, proptest::bool::weighted(0.2))
            .prop_map(|(whose, cpus, memory, fails)| Op::Create(whose, cpus, memory, fails)),
        4 => (0..8usize).prop_map(Op::Delete),
        2 => (0..2usize, limit(7), limit(12), limit(12)).prop_map(|(w, i, c, m)| Op::Quota(w, i, c, m)),
        1 => (0..50usize).prop_map(Op::Again),
    ]
}

fn history() -> impl Strategy<Value = Vec<(How, Vec<Op>)>> {
    let how = prop_oneof![
        4 => Just(How::Together), 2 => Just(How::OneByOne), 1 => Just(How::Crash), 1 => Just(How::CrashAndAgain)
    ];
    proptest::collection::vec((how, proptest::collection::vec(op(), 1..7)), 1..10)
}

/// Takes an instance in like the real handler, and then fails when the name says so.
struct Doomed(Context);

#[async_trait]
impl Handle<CreateInstance> for Doomed {
    async fn handle(&self, work: &mut Work, command: CreateInstance) -> Result<(), Failure> {
        let fails = command.name.starts_with("doomed");
        OnCreateInstance(self.0.clone()).handle(work, command).await?;
        if fails { Err(Failure::Poison("it was to fail".into())) } else { Ok(()) }
    }
}

/// What a message does if it is handled.
#[derive(Clone)]
enum Effect {
    Create { id: String, tenant: usize, asked: Amounts, fails: bool },
    Gone(String),
    Limits(usize, u64, Limits),
    None,
}

/// What has to come out: plain numbers, without tables, transactions or memory.
#[derive(Clone, Default)]
struct Model {
    limits: [(u64, Limits); 2],
    there: BTreeMap<String, (usize, Amounts)>,
    handled: std::collections::BTreeSet<String>,
    refused: Vec<String>,
}

impl Model {
    fn used(&self, tenant: usize) -> Amounts {
        let own = self.there.values().filter(|(of, _)| *of == tenant);
        own.fold(Amounts::default(), |sum, (_, amounts)| sum.plus(*amounts))
    }

    fn apply(&mut self, message: &str, effect: &Effect) {
        if matches!(effect, Effect::Create { fails: true, .. }) || !self.handled.insert(message.to_owned()) {
            return;
        }
        match effect {
            Effect::Create { id, tenant, asked, .. } => {
                match judge(&self.limits[*tenant].1, &self.used(*tenant), asked) {
                    Ok(()) => drop(self.there.insert(id.clone(), (*tenant, *asked))),
                    Err(_) => self.refused.push(id.clone()),
                }
            }
            Effect::Gone(id) => drop(self.there.remove(id)),
            Effect::Limits(tenant, revision, limits) if *revision > self.limits[*tenant].0 => {
                self.limits[*tenant] = (*revision, *limits);
            }
            Effect::Limits(..) | Effect::None => {}
        }
    }
}

struct Run {
    world: World,
    handlers: Subscriptions,
    model: Model,
    sent: Vec<(Envelope, Effect)>,
    number: u128,
    revision: u64,
    refused: Vec<String>,
}

impl Run {
    async fn new(database: &Database) -> Self {
        let mut world = World::new(database.store.clone(), 1);
        let image = contracts::storage::v1::Image { tenant: PLATFORM.into(), ..image() };
        world.deliver(&ImageImported { image: Some(image), operations: vec![] }).await;
        // so large that everything has its host at once
        let mut report = report(1, 1, 1000, 1000);
        report.capacity = Some(resources(1000, 1000, 10_000));
        world.deliver(&HostReported { report: Some(report) }).await;
        world.names();
        let context = || world.context.clone();
        let handlers = Subscriptions::new(SERVICE.name)
            .on(Doomed(context()))
            .on(OnDeleteInstance(context()))
            .on(OnVmObserved(context()))
            .on(OnTenantQuotaSet(context()));
        let (model, sent) = (Model::default(), Vec::new());
        Self { world, handlers, model, sent, number: 10, revision: 0, refused: Vec::new() }
    }

    fn envelope<M: Message>(&mut self, tenant: &str, message: &M) -> Envelope {
        Envelope {
            id: MessageId::new(),
            subject: Subject {
                kind: M::KIND,
                service: M::SERVICE.to_owned(),
                version: M::VERSION.to_owned(),
                name: M::NAME.to_owned(),
                tenant: tenant.to_owned(),
                key: message.key().to_owned(),
            },
            cause: Cause {
                correlation: CorrelationId::new(),
                causation: None,
                actor: "test".into(),
                tenant: tenant.to_owned(),
                traceparent: String::new(),
            },
            occurred_at: self.world.clock.now(),
            payload: message.to_bytes().into(),
        }
    }

    /// The host says of every instance that is to go that it is gone.
    async fn cleaned(&mut self) -> Vec<(Envelope, Effect)> {
        let mut seen = Vec::new();
        for id in self.model.there.keys().cloned().collect::<Vec<_>>() {
            let instance = self.world.instance(&id).await;
            if instance.phase() != InstancePhase::Deleting {
                continue;
            }
            let observation = VmObservation {
                instance_id: id.clone(),
                host_id: instance.host_id,
                tenant: instance.tenant.clone(),
                revision: 1,
                generation: instance.generation,
                intent_revision: instance.intent_revision,
                power: VmPower::Absent.into(),
                ..VmObservation::default()
            };
            let message = VmObserved { observation: Some(observation) };
            seen.push((self.envelope(&instance.tenant, &message), Effect::Gone(id)));
        }
        seen
    }

    fn create(&mut self, tenant: usize, cpus: u64, memory: u64, fails: bool) -> (Envelope, Effect) {
        self.number += 1;
        let name = format!("{}-{}", if fails { "doomed" } else { "fine" }, self.number);
        let mut command = create(InstanceId::from_u128(self.number), &name);
        command.operation_id = OperationId::from_u128(self.number).to_string();
        command.tenant = TENANTS[tenant].into();
        command.spec.as_mut().expect("a spec").resources = Some(resources(cpus, memory, 3));
        let asked = Amounts::default()
            .with(Quota::Instances, 1)
            .with(Quota::Vcpus, cpus * 1000)
            .with(Quota::Memory, memory * GIB)
            .with(Quota::Disk, 3 * GIB);
        let effect = Effect::Create { id: command.instance_id.clone(), tenant, asked, fails };
        (self.envelope(TENANTS[tenant], &command), effect)
    }

    fn delete(&mut self, id: &str, tenant: usize) -> (Envelope, Effect) {
        self.number += 1;
        let operation_id = OperationId::from_u128(self.number).to_string();
        let (instance_id, tenant) = (id.to_owned(), TENANTS[tenant].to_owned());
        let command = DeleteInstance { instance_id, operation_id, tenant: tenant.clone() };
        // it goes when its host says so
        (self.envelope(&tenant, &command), Effect::None)
    }

    fn message(&mut self, op: &Op) -> Option<(Envelope, Effect)> {
        match op {
            Op::Create(tenant, cpus, memory, fails) => Some(self.create(*tenant, *cpus, *memory, *fails)),
            Op::Delete(which) => {
                let (id, (tenant, _)) = self.model.there.iter().nth(*which)?;
                let (id, tenant) = (id.clone(), *tenant);
                Some(self.delete(&id, tenant))
            }
            Op::Quota(tenant, instances, cpus, memory) => {
                self.revision += 1;
                let limits = QuotaLimits {
                    instances: *instances,
                    vcpus_milli: cpus.map(|cpus| cpus * 1000),
                    memory_bytes: memory.map(|memory| memory * GIB),
                    ..QuotaLimits::default()
                };
                let effect = Effect::Limits(*tenant, self.revision, Limits::from(&limits));
                let tenant = TENANTS[*tenant];
                let quota = Set {
                    tenant: tenant.into(),
                    limits: Some(limits),
                    revision: self.revision,
                    updated_at_us: 1,
                };
                Some((self.envelope(tenant, &TenantQuotaSet { quota: Some(quota) }), effect))
            }
            Op::Again(which) => self.sent.get(*which).cloned(),
        }
    }

    async fn go(&mut self, how: How, batch: Vec<(Envelope, Effect)>) {
        let envelopes: Vec<Envelope> = batch.iter().map(|(envelope, _)| envelope.clone()).collect();
        let desk = self.world.bench.desk.clone();
        match how {
            How::OneByOne => {
                for envelope in &envelopes {
                    // one that was to fail does
                    let _ = self.handlers.deliver(&desk, envelope).await;
                }
            }
            How::Together => {
                let mut work = desk.begin(Cause::own(SERVICE.name)).await.expect("begins");
                self.handlers.deliver_together(&mut work, &envelopes).await.expect("goes through");
                work.commit().await.expect("commits");
            }
            How::Crash | How::CrashAndAgain => {
                let mut work = desk.begin(Cause::own(SERVICE.name)).await.expect("begins");
                self.handlers.deliver_together(&mut work, &envelopes).await.expect("goes through");
                drop(work);
                if how == How::CrashAndAgain {
                    return Box::pin(self.go(How::Together, batch)).await;
                }
                // what was not taken comes again, some time
                return self.sent.extend(batch);
            }
        }
        let mut events = Vec::new();
        for (envelope, effect) in &batch {
            self.model.apply(&envelope.id.to_string(), effect);
            if envelope.subject.service == "gateway" {
                let subject = &envelope.subject;
                events.push((subject.service.clone(), subject.name.clone(), envelope.payload.to_vec()));
            }
        }
        self.sent.extend(batch);
        self.world.listen_after(events).await;
        let refused = self.world.said::<InstanceRefused>();
        self.refused.extend(refused.into_iter().filter_map(|event| Some(event.instance?.id)));
    }

    /// The tables are what the model says.
    async fn check(&self, step: &str) -> Result<(), TestCaseError> {
        let there: Vec<String> = sqlx::query_scalar("SELECT id FROM instances WHERE deleted = 0 ORDER BY id")
            .fetch_all(self.world.store().reader())
            .await
            .expect("ids");
        let expected: Vec<String> = self.model.there.keys().cloned().collect();
        prop_assert_eq!(there, expected, "{}", step);
        prop_assert_eq!(&self.refused, &self.model.refused, "{}", step);
        Ok(())
    }

    /// Everything is deleted, and then each tenant gets exactly what its quota says.
    async fn nothing_leaked(&mut self) -> Result<(), TestCaseError> {
        let all: Vec<(String, usize)> =
            self.model.there.iter().map(|(id, (tenant, _))| (id.clone(), *tenant)).collect();
        let deletes = all.iter().map(|(id, tenant)| self.delete(id, *tenant)).collect();
        self.go(How::OneByOne, deletes).await;
        let gone = self.cleaned().await;
        self.go(How::Together, gone).await;
        prop_assert!(self.model.there.is_empty());
        for (tenant, name) in TENANTS.iter().enumerate() {
            let limits = QuotaLimits { instances: Some(3), ..QuotaLimits::default() };
            self.revision += 1;
            let quota = Set {
                tenant: (*name).into(),
                limits: Some(limits),
                revision: self.revision,
                updated_at_us: 1,
            };
            let effect = Effect::Limits(tenant, self.revision, Limits::from(&limits));
            let mut batch = vec![(self.envelope(name, &TenantQuotaSet { quota: Some(quota) }), effect)];
            for _ in 0..4 {
                batch.push(self.create(tenant, 1, 1, false));
            }
            self.go(How::Together, batch).await;
            prop_assert_eq!(self.model.used(tenant).of(Quota::Instances), 3);
        }
        self.check("the end").await
    }
}

async fn run(database: &Database, history: &[(How, Vec<Op>)]) -> Result<(), TestCaseError> {
    let mut run = Run::new(database).await;
    for (step, (how, ops)) in history.iter().enumerate() {
        let mut batch = run.cleaned().await;
        for op in ops {
            batch.extend(run.message(op));
        }
        run.go(*how, batch).await;
        run.check(&format!("step {step}: {how:?} {ops:?}")).await?;
    }
    run.nothing_leaked().await?;
    run.world.check_rebuild().await;
    Ok(())
}

#[test]
fn what_is_admitted_is_exactly_what_fits() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 40, max_shrink_iters: 60, ..Config::default() });
    let outcome = runner.run(&history(), |history| {
        runtime.block_on(async {
            let database = Database::sqlite(MIGRATIONS).await;
            run(&database, &history).await
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    // the same on PostgreSQL, where a transaction is another thing
    let mut runner = TestRunner::new(Config { cases: 6, max_shrink_iters: 10, ..Config::default() });
    let outcome = runner.run(&history(), |history| {
        runtime.block_on(async {
            let database = Database::postgres(MIGRATIONS).await;
            let outcome = run(&database, &history).await;
            database.remove().await;
            outcome
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
