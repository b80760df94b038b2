//! What holds of every kind holds of those of the scheduler.
#![allow(missing_docs)]

use contracts::Forgotten;
use contracts::Object as _;
use contracts::scheduler::v1::{
    CreateSshKeyRequest, DeleteSshKeyRequest, ObjectsForgotten, SshKey, UpdateSshKeyRequest,
};
use kernel::{ManualClock, Timestamp};
use objects::{Filter, Forgetting, Order, Owned, Query, Row};
use scheduler::kinds::SshKeys;
use std::sync::Arc;
use std::time::Duration;
use testkit::{Bench, Database, Samples, databases, eventually, laws};

#[tokio::test]
async fn ssh_keys() {
    let create = |name: &str| CreateSshKeyRequest {
        name: name.into(),
        public_key:
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop"
                .into(),
        labels: [("team".to_owned(), "web".to_owned())].into(),
    };
    let samples = Samples {
        create,
        change: |name| UpdateSshKeyRequest {
            name: name.into(),
            labels: [("team".to_owned(), "db".to_owned())].into(),
            remove_labels: vec!["owner".into()],
            if_revision: 0,
        },
        delete: |name| DeleteSshKeyRequest { name: name.into(), if_revision: 0 },
        broken: (CreateSshKeyRequest { public_key: "ssh-rsa AAAA".into(), ..create("two") }, "public_key"),
    };
    let subscriptions = |store: &store::Store| {
        Owned::<SshKeys>::new(store).subscribe(bus::Subscriptions::new(scheduler::SERVICE.name))
    };
    laws::<SshKey, _, _, _>("scheduler", scheduler::MIGRATIONS, subscriptions, &samples).await;
}

/// Two owners that looked at the same revision: one of them is told that it came too late, and leaves nothing behind.
#[tokio::test]
async fn who_comes_second_writes_nothing() {
    let database = Database::postgres(scheduler::MIGRATIONS).await;
    let key = |revision, team: &str| SshKey {
        id: "018f0000-0000-7000-8000-000000000001".into(),
        tenant: "acme".into(),
        name: "laptop".into(),
        revision,
        labels: [("team".to_owned(), team.to_owned())].into(),
        ..SshKey::default()
    };
    let mut tx = database.store.begin().await.expect("begins");
    assert!(objects::put(&mut tx, &objects::Row::of(&key(1, "web"))).await.expect("written"));
    tx.commit().await.expect("committed");
    let mut first = database.store.begin().await.expect("begins");
    assert!(objects::put(&mut first, &objects::Row::of(&key(2, "db"))).await.expect("written"));
    let store = database.store.clone();
    let second = tokio::spawn(async move {
        let mut second = store.begin().await.expect("begins");
        let written = objects::put(&mut second, &objects::Row::of(&key(2, "ops"))).await.expect("no error");
        second.commit().await.expect("committed");
        written
    });
    // it has looked, and waits for the row
    eventually(Duration::from_secs(20), "the second to wait", async || {
        let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM pg_locks WHERE NOT granted")
            .fetch_one(database.store.reader())
            .await
            .expect("counted");
        (waiting > 0).then_some(())
    })
    .await;
    first.commit().await.expect("committed");
    assert!(!second.await.expect("ends"), "it came too late");
    let of = |team: &str| [("team".to_owned(), team.to_owned())].into();
    let found = async |team: &str| {
        let filter = Filter::default().labelled(&[], &of(team));
        let query = Query {
            kind: SshKey::KIND,
            tenant: "acme",
            filter: &filter,
            order: Order::read("").expect("an order"),
            gone: false,
            after: None,
            size: 9,
        };
        objects::page(database.store.reader(), &query).await.expect("read").objects.len()
    };
    assert_eq!((found("db").await, found("ops").await, found("web").await), (1, 0, 0));
    database.remove().await;
}

/// Of what is gone for long no row is kept, whichever is heard first: that it went, or that it is forgotten.
#[tokio::test]
async fn what_is_gone_for_long_is_forgotten_and_stays_so() {
    const DAY_US: i64 = 24 * 3_600_000_000;
    const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
    let key = |id: &str, revision, gone: i64| SshKey {
        id: id.into(),
        tenant: "acme".into(),
        name: id.into(),
        revision,
        deleted_at_us: gone * DAY_US,
        ..SshKey::default()
    };
    for database in databases(scheduler::MIGRATIONS).await {
        let store = &database.store;
        let rows = async || -> Vec<String> {
            let sql = "SELECT id FROM objects ORDER BY id";
            sqlx::query_scalar(sql).fetch_all(store.reader()).await.expect("read")
        };
        let put = async |key: SshKey| {
            let mut tx = store.begin().await.expect("begins");
            objects::put(&mut tx, &Row::of(&key)).await.expect("written");
            tx.commit().await.expect("commits");
        };
        for key in [key("of-late", 2, 71), key("old", 2, 69), key("older", 2, 50), key("there", 1, 0)] {
            put(key).await;
        }
        let clock = Arc::new(ManualClock::at(Timestamp(100 * DAY_US)));
        let desk = bus::Desk::new("scheduler", store.clone(), clock);
        let mut bench = Bench::on(desk.clone(), bus::Subscriptions::new("scheduler"), 1);
        let forgetting = Forgetting::new(desk, KEEP, &opentelemetry::global::meter("test"));
        forgetting.pass::<SshKeys>().await.expect("a pass");
        assert_eq!(rows().await, ["of-late", "there"], "{}", database.name);
        let said: Vec<ObjectsForgotten> = bench.said_of().await;
        let expected = ObjectsForgotten { kind: "ssh_key".into(), gone_before_us: 70 * DAY_US };
        assert_eq!(said, std::slice::from_ref(&expected));
        forgetting.pass::<SshKeys>().await.expect("a pass");
        assert!(bench.said_of::<ObjectsForgotten>().await.is_empty(), "nothing is left to forget");
        // said again, as after a lost stream: it comes for a moment, and goes with what became of it
        put(key("old", 1, 0)).await;
        put(key("old", 2, 69)).await;
        put(key("older", 2, 50)).await;
        assert_eq!(rows().await, ["of-late", "there"], "{}", database.name);
        // an older word of the same takes nothing back
        let mut tx = store.begin().await.expect("begins");
        let before = Forgotten { kind: "ssh_key".into(), gone_before_us: DAY_US };
        objects::forget(&mut tx, &before).await.expect("forgotten");
        tx.commit().await.expect("commits");
        put(key("old", 2, 69)).await;
        assert_eq!(rows().await, ["of-late", "there"], "{}", database.name);
        database.remove().await;
    }
}
