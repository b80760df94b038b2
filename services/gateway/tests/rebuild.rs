//! The gateway's tables can be thrown away: the event stream gives the same rows again.

mod harness;

use bus::watch::{Item, Query, watch};
use bus::{Cause, Desk};
use contracts::common::v1::{OperationProgress, OperationState};
use contracts::gateway::v1::{Token, TokenCreated, TokenRecord, TokensForgotten};
use contracts::host_driver::v1::{ExecFinished, QuarantineChanged, QuarantineState, Quarantined};
use contracts::scheduler::v1 as scheduler;
use gateway::{MIGRATIONS, STATE_TABLES, Wakeups};
use harness::Gateway;
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Store, dump_table};
use testkit::Database;

const INSTANCE: &str = "018f0000-0000-7000-8000-000000000001";

fn progress(answer: &Value, state: OperationState, step: &str) -> Vec<OperationProgress> {
    let id = answer["operation_id"].as_str().expect("an id").to_owned();
    vec![OperationProgress { operation_id: id, state: state as i32, step: step.into(), refusal: None }]
}

/// Folds the whole stream into the tables of `store`.
async fn fold(gateway: &Gateway, store: &Store) -> usize {
    let handlers = gateway::subscriptions(store, &Wakeups::default());
    let desk = Desk::new("gateway", store.clone(), Arc::new(kernel::SystemClock));
    let mut work = desk.begin(Cause::own("gateway")).await.expect("begins");
    let mut items = watch(gateway.chassis.bus.clone(), Query::default());
    let mut count = 0;
    while let Some(item) = items.recv().await {
        let Item::Event { envelope, .. } = item.expect("readable") else { panic!("a gap") };
        handlers.apply(&mut work, &envelope).await.expect("folded");
        count += 1;
    }
    work.commit().await.expect("commits");
    count
}

#[tokio::test]
async fn the_tables_are_a_fold_over_the_stream() {
    let gateway = Gateway::start().await;
    gateway.image("018f0000-0000-7000-8000-0000000000bb", "debian").await;
    gateway.host("h1", "node-1", "agent-1").await;
    gateway.ready(INSTANCE, "web-1", "h1").await;
    let body = json!({"name": "tiny", "resources": {"vcpus_milli": 1, "memory_bytes": 16 << 20}});
    assert_eq!(gateway.call("POST", "/v1/flavors", body).await.0, 200);
    let limits = json!({"limits": {"instances": 100}});
    assert_eq!(gateway.call("PUT", "/v1/tenants/default/quota", limits).await.0, 200);
    let (_, created) = gateway
        .call("POST", "/v1/instances", json!({"name": "web-2", "image": "debian", "flavor": "tiny"}))
        .await;
    let (_, first) = gateway.call("POST", "/v1/instances/web-1/exec", json!({"argv": ["true"]})).await;
    let (_, lost) =
        gateway.keyed("POST", "/v1/instances/web-1/exec", "lost", json!({"argv": ["sleep"]})).await;
    let finished = ExecFinished {
        instance_id: INSTANCE.into(),
        exit_code: 3,
        output: Some(gateway.chassis.sealer.seal(b"")),
        operations: progress(&first, OperationState::Succeeded, "finished"),
        ..ExecFinished::default()
    };
    gateway.say(&finished).await;
    let refused = scheduler::InstanceRefused {
        instance: Some(scheduler::Instance::default()),
        operations: progress(&created, OperationState::Failed, "refused"),
    };
    gateway.say(&refused).await;
    for id in ["old", "older"] {
        let token = Token { id: id.into(), expires_at_us: 50, revision: 1, ..Token::default() };
        let record = TokenRecord { token: Some(token), hash: None };
        gateway.say(&TokenCreated { record: Some(record) }).await;
        gateway.say(&TokensForgotten { name: "100".into(), expired_before_us: 100 }).await;
    }
    // whichever is heard first
    for (id, gone) in [("old", 50), ("of-late", 500)] {
        let key =
            scheduler::SshKey { id: id.into(), tenant: "acme".into(), name: id.into(), ..Default::default() };
        let made = scheduler::SshKey { revision: 1, ..key.clone() };
        gateway.say(&scheduler::SshKeyCreated { ssh_key: Some(made), operations: vec![] }).await;
        let deleted = scheduler::SshKey { revision: 2, deleted_at_us: gone, ..key };
        gateway.say(&scheduler::SshKeyDeleted { ssh_key: Some(deleted), operations: vec![] }).await;
        gateway.say(&scheduler::ObjectsForgotten { kind: "ssh_key".into(), gone_before_us: 100 }).await;
    }
    for id in ["kept", "dropped"] {
        let held =
            Quarantined { id: id.into(), state: QuarantineState::Held.into(), ..Quarantined::default() };
        let said = |item| QuarantineChanged { item: Some(item), operations: vec![] };
        gateway.say(&said(Quarantined { instance_id: INSTANCE.into(), ..held.clone() })).await;
        if id == "dropped" {
            let state = QuarantineState::Dropped.into();
            gateway.say(&said(Quarantined { instance_id: INSTANCE.into(), state, ..held })).await;
        }
    }
    let decision =
        scheduler::PlacementDecision { instance_id: INSTANCE.into(), decided_at_us: 5, ..Default::default() };
    gateway.say(&scheduler::PlacementDecided { decision: Some(decision) }).await;
    let deleted = scheduler::Instance {
        id: INSTANCE.into(),
        tenant: "default".into(),
        name: "web-1".into(),
        revision: 2,
        phase: scheduler::InstancePhase::Deleted as i32,
        ..scheduler::Instance::default()
    };
    gateway.say(&scheduler::InstanceDeleted { instance: Some(deleted), operations: vec![] }).await;
    for operation in [created, first, lost] {
        let path = format!("/v1/operations/{}", operation["operation_id"].as_str().expect("an id"));
        gateway
            .until("GET", &path, |(_, o)| {
                ["OPERATION_STATE_FAILED", "OPERATION_STATE_SUCCEEDED"]
                    .iter()
                    .any(|s| o["operation"]["state"] == *s)
            })
            .await;
    }
    let body = json!({"name": "hook", "url": "https://hooks.example.com/"});
    assert_eq!(gateway.call("POST", "/v1/webhooks", body).await.0, 200);
    let changed = gateway.call("POST", "/v1/webhooks/hook", json!({"state": "WEBHOOK_STATE_DISABLED"})).await;
    assert_eq!(changed.0, 200, "{changed:?}");
    gateway.until("GET", "/v1/operations?page_size=1", |_| true).await;
    for kind in harness::declared::kinds() {
        let id = kernel::ObjectId::new().to_string();
        let event = harness::declared::created(kind, "default", &id, "main");
        testkit::publish(&gateway.chassis.bus, &event).await;
        let path = format!("/v1/{}/main", kind.plural.replace('_', "-"));
        gateway.until("GET", &path, |(status, _)| *status == 200).await;
    }
    let fresh = Database::sqlite(MIGRATIONS).await;
    assert!(fold(&gateway, &fresh.store).await > 10);
    let url = format!("sqlite://{}/gateway/gateway.db", gateway.folder.path().display());
    let live = Store::open(&url, &[bus::MIGRATIONS, MIGRATIONS].concat()).await.expect("opens");
    for table in STATE_TABLES {
        let (expected, found) = (dump_table(&live, table).await, dump_table(&fresh.store, table).await);
        let (expected, found) = (expected.expect("rows"), found.expect("rows"));
        assert!(!expected.is_empty(), "{table} is empty");
        assert_eq!(expected, found, "{table}");
    }
    gateway.stop().await;
}
