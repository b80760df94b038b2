//! Operations on SQLite and PostgreSQL.

use super::{MIGRATIONS, operations};
use crate::domain::page::Page;
use contracts::common::v1::OperationState;
use contracts::gateway::v1::Operation;
use testkit::databases;

#[tokio::test]
async fn operations_keep_the_newest_revision_and_one_row_for_a_key() {
    for database in databases(MIGRATIONS).await {
        let store = &database.store;
        let operation = |id: &str, revision, state: OperationState, deadline_us| Operation {
            id: id.into(),
            tenant: "acme".into(),
            method: "ExecInstance".into(),
            object_id: "i".into(),
            idempotency_key: format!("key-{id}"),
            state: state as i32,
            revision,
            deadline_us,
            ..Operation::default()
        };
        let mut tx = store.begin().await.expect("begins");
        for one in [
            operation("1", 2, OperationState::Running, 50),
            operation("1", 1, OperationState::Pending, 50),
            operation("2", 1, OperationState::Pending, 70),
            operation("3", 5, OperationState::Succeeded, 10),
        ] {
            operations::put(&mut tx, &one).await.expect("written");
        }
        tx.commit().await.expect("commits");

        let reader = store.reader();
        let found = operations::get(reader, "acme", "1").await.expect("read").expect("there");
        assert_eq!(found.revision, 2);
        assert!(operations::get(reader, "other", "1").await.expect("read").is_none());
        assert!(operations::find(reader, "1").await.expect("read").is_some());
        assert!(operations::by_key(reader, "acme", "key-2").await.expect("read").is_some());
        assert!(operations::by_key(reader, "other", "key-2").await.expect("read").is_none());
        assert!(operations::by_key(reader, "acme", "").await.expect("read").is_none());
        let overdue = operations::overdue(reader, 60, 9, 10).await.expect("read");
        assert_eq!(
            overdue.iter().map(|o| o.id.as_str()).collect::<Vec<_>>(),
            ["1"],
            "finished ones do not wait"
        );
        assert!(operations::unfinished(reader, "acme", "ExecInstance", "i").await.expect("read").is_some());
        assert!(operations::unfinished(reader, "acme", "CreateInstance", "i").await.expect("read").is_none());

        let page = Page::read(2, "", 1).expect("a page");
        let newest = operations::page(reader, "acme", "", &page).await.expect("read");
        assert_eq!(newest[0].id, "3");
        let next = Page { size: 2, after: vec!["2".into()] };
        assert_eq!(operations::page(reader, "acme", "i", &next).await.expect("read")[0].id, "1");
        assert!(operations::page(reader, "acme", "nothing", &page).await.expect("read").is_empty());

        // the second row of one key is refused by the table itself
        let mut tx = store.begin().await.expect("begins");
        let twin =
            Operation { idempotency_key: "key-1".into(), ..operation("9", 1, OperationState::Pending, 0) };
        assert!(operations::put(&mut tx, &twin).await.is_err());
        drop(tx);
        database.remove().await;
    }
}

#[tokio::test]
async fn many_operations_are_written_and_found_at_once() {
    for database in databases(MIGRATIONS).await {
        let operations: Vec<Operation> = (0..150)
            .map(|n| Operation {
                id: format!("{n:03}"),
                tenant: if n % 3 == 0 { "acme".into() } else { "other".into() },
                idempotency_key: format!("key-{n}"),
                revision: 1,
                ..Operation::default()
            })
            .collect();
        let mut tx = database.store.begin().await.expect("begins");
        operations::insert_all(&mut tx, &operations).await.expect("written");
        let asked: Vec<(String, String)> =
            (100..250).map(|n| ("other".to_owned(), format!("key-{n}"))).collect();
        let keys =
            asked.iter().map(|(tenant, key)| (tenant.as_str(), key.as_str())).chain([("acme", "key-3")]);
        let found = operations::by_keys(&mut tx, &keys.collect()).await.expect("read");
        let mut ids: Vec<String> = found.into_iter().map(|o| o.id).collect();
        ids.sort();
        let expected: Vec<String> =
            (0..150).filter(|n| *n == 3 || *n >= 100 && n % 3 != 0).map(|n| format!("{n:03}")).collect();
        assert_eq!(ids, expected);
        assert!(
            operations::by_keys(&mut tx, &std::collections::BTreeSet::new()).await.expect("read").is_empty()
        );
        drop(tx);
        database.remove().await;
    }
}
