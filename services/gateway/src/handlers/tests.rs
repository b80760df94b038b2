//! Messages in, rows out; each case with every message delivered once and twice, and in other orders.

use super::subscriptions;
use crate::store::{STATE_TABLES, hosts, images, instances};
use ::store::{Store, dump_table};
use bus::Failure;
use contracts::common::v1::{OperationProgress, OperationState, Refusal, Sealed};
use contracts::gateway::v1 as gateway;
use contracts::gateway::v1::{
    AuditObject, AuditRecord, AuditRecorded, Flavor, FlavorCreated, Operation, OperationAbandoned,
    OperationAccepted,
};
use contracts::host_driver::v1::{ExecFinished, QuarantineChanged, QuarantineState, Quarantined};
use contracts::scheduler::v1 as scheduler;
use contracts::storage::v1 as storage;
use gateway_api::store::{MIGRATIONS, operations};
use gateway_api::translate::operations::{New, accepted};
use gateway_api::wakeups::Wakeups;
use gateway_events::store::webhooks;
use kernel::Timestamp;
use testkit::{Bench, Database, databases};

fn bench(store: &Store, deliveries: usize) -> Bench {
    Bench::new("gateway", store.clone(), subscriptions(store, &Wakeups::default()), deliveries)
}

fn progress(id: &str, state: OperationState, step: &str) -> Vec<OperationProgress> {
    let refusal =
        (state == OperationState::Failed).then(|| Refusal { code: "NO_ROOM".into(), ..Refusal::default() });
    vec![OperationProgress { operation_id: id.into(), state: state as i32, step: step.into(), refusal }]
}

fn new_operation(id: &str, method: &str) -> Operation {
    let new = New {
        id: id.into(),
        tenant: "default",
        method,
        object_id: "i",
        actor: "admin",
        idempotency_key: "",
        request_sha256: "",
        deadline_us: 0,
    };
    accepted(new, Timestamp(1))
}

fn instance(revision: u64, phase: scheduler::InstancePhase) -> Option<scheduler::Instance> {
    Some(scheduler::Instance {
        id: "i".into(),
        tenant: "default".into(),
        name: "web".into(),
        revision,
        phase: phase as i32,
        ..scheduler::Instance::default()
    })
}

/// The story of one instance, from its acceptance to its deletion, and of a program in it.
async fn story(bench: &mut Bench) -> Result<(), Failure> {
    use scheduler::InstancePhase as Phase;
    bench
        .deliver(&OperationAccepted {
            operation: Some(new_operation("o1", "CreateInstance")),
            ..Default::default()
        })
        .await?;
    let running = |step| progress("o1", OperationState::Running, step);
    let started = scheduler::InstanceAccepted {
        instance: instance(1, Phase::Pending),
        operations: running("accepted by the scheduler"),
    };
    bench.deliver(&started).await?;
    let decision =
        scheduler::PlacementDecision { instance_id: "i".into(), decided_at_us: 7, ..Default::default() };
    bench.deliver(&scheduler::PlacementDecided { decision: Some(decision) }).await?;
    let placed =
        scheduler::InstancePlaced { instance: instance(2, Phase::Starting), operations: running("placed") };
    bench.deliver(&placed).await?;
    let ready = scheduler::InstanceReady {
        instance: instance(4, Phase::Ready),
        operations: progress("o1", OperationState::Succeeded, "ready"),
    };
    bench.deliver(&ready).await?;
    // came late, and is older than what is known
    let late =
        scheduler::InstanceStarted { instance: instance(3, Phase::Running), operations: running("booted") };
    bench.deliver(&late).await?;

    bench
        .deliver(&OperationAccepted {
            operation: Some(new_operation("o2", "ExecInstance")),
            ..Default::default()
        })
        .await?;
    let output = Sealed { key_id: "k".into(), nonce: vec![1], ciphertext: vec![2, 3] };
    let finished = ExecFinished {
        instance_id: "i".into(),
        exit_code: 3,
        output: Some(output),
        operations: progress("o2", OperationState::Succeeded, "finished"),
        ..ExecFinished::default()
    };
    bench.deliver(&finished).await?;
    let abandoned = OperationAbandoned {
        operation_id: "o2".into(),
        operations: progress("o2", OperationState::Failed, "abandoned"),
    };
    bench.deliver(&abandoned).await?;

    bench
        .deliver(&OperationAccepted {
            operation: Some(new_operation("o3", "CreateInstance")),
            ..Default::default()
        })
        .await?;
    let refused = scheduler::InstanceRefused {
        instance: Some(scheduler::Instance {
            id: "nothing".into(),
            name: "web".into(),
            ..Default::default()
        }),
        operations: progress("o3", OperationState::Failed, ""),
    };
    bench.deliver(&refused).await?;
    let flavor = Flavor { name: "small".into(), revision: 1, ..Flavor::default() };
    bench.deliver(&FlavorCreated { flavor: Some(flavor) }).await?;
    let object = AuditObject { kind: "flavor".into(), name: "tiny".into(), ..AuditObject::default() };
    let record = AuditRecord { id: "r1".into(), count: 1, objects: vec![object], ..AuditRecord::default() };
    bench.deliver(&AuditRecorded { record: Some(record) }).await?;
    let host = scheduler::Host { id: "h".into(), name: "node".into(), revision: 1, ..Default::default() };
    bench.deliver(&scheduler::HostRegistered { host: Some(host.clone()), operations: vec![] }).await?;
    let cordoned = scheduler::Host { revision: 2, cordoned: true, ..host };
    bench.deliver(&scheduler::HostChanged { host: Some(cordoned), operations: vec![] }).await?;
    let held = Quarantined {
        id: "q".into(),
        host_id: "h".into(),
        state: QuarantineState::Held as i32,
        ..Default::default()
    };
    bench.deliver(&QuarantineChanged { item: Some(held), operations: vec![] }).await?;
    let key = scheduler::SshKey {
        id: "k".into(),
        tenant: "default".into(),
        name: "laptop".into(),
        revision: 1,
        fingerprint: "SHA256:x".into(),
        ..scheduler::SshKey::default()
    };
    bench.deliver(&scheduler::SshKeyCreated { ssh_key: Some(key), operations: vec![] }).await?;
    let upload = Some(storage::artifact_source::Source::UploadId("u".into()));
    let image = storage::Image {
        id: "m".into(),
        tenant: "default".into(),
        name: "debian".into(),
        revision: 1,
        sources: vec![storage::ArtifactSource { source: upload, ..Default::default() }],
        ..Default::default()
    };
    bench.deliver(&storage::ImageImportStarted { image: Some(image.clone()), operations: vec![] }).await?;
    let ready = storage::Image { revision: 2, phase: storage::ImagePhase::Ready as i32, ..image };
    bench.deliver(&storage::ImageImported { image: Some(ready), operations: vec![] }).await?;

    let tenant = gateway::Tenant { name: "acme".into(), revision: 1, ..Default::default() };
    bench.deliver(&gateway::TenantCreated { tenant: Some(tenant.clone()) }).await?;
    let disabled = gateway::Tenant { revision: 2, state: gateway::TenantState::Disabled as i32, ..tenant };
    bench.deliver(&gateway::TenantChanged { tenant: Some(disabled) }).await?;
    let quota = gateway::Quota { tenant: "acme".into(), revision: 1, ..Default::default() };
    bench.deliver(&gateway::TenantQuotaSet { quota: Some(quota) }).await?;
    let user = gateway::User { id: "u".into(), name: "ann".into(), revision: 1, ..Default::default() };
    let record = gateway::UserRecord { user: Some(user), ..Default::default() };
    bench.deliver(&gateway::UserCreated { record: Some(record) }).await?;
    let token = gateway::Token { id: "t".into(), user_id: "u".into(), revision: 1, ..Default::default() };
    let record = gateway::TokenRecord { token: Some(token), hash: None };
    bench.deliver(&gateway::TokenCreated { record: Some(record) }).await?;
    bench.deliver(&gateway::TokensForgotten { name: "5".into(), expired_before_us: 5 }).await?;
    let forgotten = scheduler::ObjectsForgotten { kind: "ssh_key".into(), gone_before_us: 5 };
    bench.deliver(&forgotten).await?;
    let hook = |revision, state| {
        let hook = gateway::Webhook { id: "w".into(), revision, state, ..Default::default() };
        Some(gateway::WebhookRecord { webhook: Some(hook), ..Default::default() })
    };
    bench.deliver(&gateway::WebhookCreated { record: hook(1, 1) }).await?;
    bench.deliver(&gateway::WebhookDisabled { record: hook(3, 3) }).await?;
    bench.deliver(&gateway::WebhookChanged { record: hook(2, 2) }).await
}

#[tokio::test]
async fn what_is_said_is_what_is_shown() {
    for deliveries in [1, 2] {
        for database in databases(MIGRATIONS).await {
            let mut bench = bench(&database.store, deliveries);
            story(&mut bench).await.expect("handled");
            let reader = database.store.reader();
            let shown = instances::find(reader, "default", "web").await.expect("read").expect("there");
            assert_eq!((shown.revision, shown.phase), (4, scheduler::InstancePhase::Ready as i32));
            assert!(
                instances::find(reader, "default", "nothing").await.expect("read").is_none(),
                "refused: nothing exists"
            );

            let create = operations::find(reader, "o1").await.expect("read").expect("there");
            // five steps, and two states on
            assert_eq!((create.state, create.revision), (OperationState::Succeeded as i32, 7));
            let mut steps: Vec<&str> = create.steps.iter().map(|s| s.name.as_str()).collect();
            steps.sort_unstable();
            assert_eq!(steps, ["accepted", "accepted by the scheduler", "booted", "placed", "ready"]);

            let exec = operations::find(reader, "o2").await.expect("read").expect("there");
            assert_eq!(
                (exec.state, exec.exit_code),
                (OperationState::Succeeded as i32, 3),
                "an answer stays an answer"
            );
            assert!(exec.output.is_some());
            let refused = operations::find(reader, "o3").await.expect("read").expect("there");
            assert_eq!(refused.refusal.map(|r| r.code), Some("NO_ROOM".to_owned()));
            assert!(webhooks::active(reader).await.expect("read").is_empty(), "the newest word counts");
            assert!(hosts::find(reader, "node").await.expect("read").is_some_and(|h| h.cordoned));
            let image = images::find(reader, "default", "debian").await.expect("read").expect("there");
            assert_eq!(image.phase, storage::ImagePhase::Ready as i32);
            assert!(bench.said().await.is_empty(), "a projection says nothing");
            database.remove().await;
        }
    }
}

#[tokio::test]
async fn an_acceptance_that_comes_late_gives_the_same_operation() {
    let database = Database::sqlite(MIGRATIONS).await;
    let mut bench = bench(&database.store, 2);
    let placed =
        scheduler::InstanceRefused { instance: None, operations: progress("o1", OperationState::Failed, "") };
    bench.deliver(&placed).await.expect("handled");
    let reader = database.store.reader();
    assert!(operations::get(reader, "default", "o1").await.expect("read").is_none(), "nobody's yet");
    let accepted =
        OperationAccepted { operation: Some(new_operation("o1", "CreateInstance")), ..Default::default() };
    bench.deliver(&accepted).await.expect("handled");
    let shown = operations::get(reader, "default", "o1").await.expect("read").expect("there");
    assert_eq!(
        (shown.state, shown.method.as_str(), shown.revision),
        (OperationState::Failed as i32, "CreateInstance", 4)
    );
}

#[tokio::test]
async fn messages_that_say_nothing_are_poison() {
    let database = Database::sqlite(MIGRATIONS).await;
    let mut bench = bench(&database.store, 1);
    let empty = scheduler::InstanceReady::default();
    assert!(matches!(bench.deliver(&empty).await, Err(Failure::Poison(_))));
    assert!(matches!(bench.deliver(&OperationAccepted::default()).await, Err(Failure::Poison(_))));
    assert!(matches!(bench.deliver(&scheduler::PlacementDecided::default()).await, Err(Failure::Poison(_))));
}

#[tokio::test]
async fn every_table_comes_from_events() {
    let database = Database::sqlite(MIGRATIONS).await;
    let mut bench = bench(&database.store, 1);
    story(&mut bench).await.expect("handled");
    for table in STATE_TABLES {
        let rows = dump_table(&database.store, table).await.expect("a table");
        assert!(!rows.is_empty(), "{table} got no row from events");
    }
}
