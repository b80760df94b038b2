//! Every statement on SQLite and PostgreSQL.

use super::*;
use bus::LateRows;
use contracts::common::v1::{OperationState, Resources};
use contracts::gateway::v1::{Flavor, Operation};
use contracts::scheduler::v1::{Host, Instance, InstancePhase, InstanceSpec, PlacementDecision};
use contracts::storage::v1::{Image, ImagePhase};
use gateway_api::domain::page::Page;
use gateway_api::store::{MIGRATIONS, operations};
use testkit::databases;

fn instance(id: &str, name: &str, phase: InstancePhase, revision: u64) -> Instance {
    let resources = Some(Resources { vcpus_milli: 500, memory_bytes: 1 << 30, disk_bytes: 0 });
    Instance {
        id: id.into(),
        tenant: "acme".into(),
        name: name.into(),
        phase: phase as i32,
        revision,
        host_id: "h1".into(),
        spec: Some(InstanceSpec { resources, ..InstanceSpec::default() }),
        ..Instance::default()
    }
}

fn first(size: u32) -> Page {
    Page::read(size, "", 2).expect("a page")
}

pub(super) async fn put(tx: &mut sqlx::AnyConnection, instance: Instance) {
    let mut rows = instances::Rows::default();
    rows.note(instance);
    rows.write(tx).await.expect("written");
}

#[tokio::test]
async fn of_many_snapshots_the_newest_of_each_object_is_written() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        let mut rows = instances::Rows::default();
        for number in 0..150 {
            let id = format!("i-{number:03}");
            rows.note(instance(&id, "second", InstancePhase::Ready, 2));
            rows.note(instance(&id, "first", InstancePhase::Pending, 1));
            rows.note(instance(&id, "again", InstancePhase::Failed, 2));
        }
        rows.write(&mut tx).await.expect("written");
        tx.commit().await.expect("commits");
        let all = instances::page(database.store.reader(), "acme", true, &first(1000)).await.expect("read");
        assert_eq!(all.len(), 150);
        assert!(all.iter().all(|one| one.name == "second" && one.revision == 2));
        database.remove().await;
    }
}

#[tokio::test]
async fn who_was_placed_before_one_that_waits_is_counted_by_tenant_or_for_all() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        let waiting = Instance { host_id: String::new(), ..instance("2", "big", InstancePhase::Pending, 1) };
        for one in [
            instance("1", "earlier", InstancePhase::Ready, 1),
            waiting.clone(),
            instance("3", "later", InstancePhase::Starting, 1),
            instance("4", "gone", InstancePhase::Deleted, 1),
            Instance { host_id: String::new(), ..instance("5", "waits", InstancePhase::Pending, 1) },
            Instance { tenant: "other".into(), ..instance("6", "web", InstancePhase::Ready, 1) },
        ] {
            put(&mut tx, one).await;
        }
        tx.commit().await.expect("commits");
        let reader = database.store.reader();
        let count = async |tenant| instances::overtaken_by(reader, &waiting, tenant).await.expect("read");
        assert_eq!((count(Some("acme")).await, count(None).await), (1, 2), "{}", database.name);
        database.remove().await;
    }
}

#[tokio::test]
async fn instances_are_found_by_name_and_id_within_their_tenant() {
    for database in databases(MIGRATIONS).await {
        let store = &database.store;
        let mut tx = store.begin().await.expect("begins");
        for one in [
            instance("1", "web", InstancePhase::Deleted, 9),
            instance("2", "web", InstancePhase::Ready, 3),
            instance("3", "db", InstancePhase::Pending, 1),
            Instance { tenant: "other".into(), ..instance("4", "web", InstancePhase::Ready, 1) },
        ] {
            put(&mut tx, one).await;
        }
        // the same revision is not taken twice, nor an older one
        put(&mut tx, instance("2", "later", InstancePhase::Failed, 3)).await;
        put(&mut tx, instance("2", "older", InstancePhase::Failed, 2)).await;
        tx.commit().await.expect("commits");

        let reader = store.reader();
        let id = |found: Option<Instance>| found.map(|i| i.id);
        assert_eq!(id(instances::find(reader, "acme", "web").await.expect("read")), Some("2".into()));
        assert_eq!(id(instances::find(reader, "acme", "1").await.expect("read")), Some("1".into()));
        assert_eq!(id(instances::find(reader, "acme", "4").await.expect("read")), None, "somebody else's");
        assert_eq!(id(instances::find(reader, "other", "web").await.expect("read")), Some("4".into()));

        let all = instances::page(reader, "acme", false, &first(1)).await.expect("read");
        let (page, token) = first(1).cut(all, |i| vec![i.name.clone(), i.id.clone()]);
        assert_eq!(page[0].id, "3");
        let second = Page::read(1, &token, 2).expect("own token");
        let rest = instances::page(reader, "acme", false, &second).await.expect("read");
        assert_eq!(rest.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["2"]);
        assert_eq!(instances::page(reader, "acme", true, &first(10)).await.expect("read").len(), 3);

        let (promised, count) = instances::promised_on(reader, "h1").await.expect("read");
        assert_eq!(
            (promised.vcpus_milli, promised.memory_bytes, count),
            (1500, 3 << 30, 3),
            "not the deleted one"
        );
        assert_eq!(instances::promised_on(reader, "h9").await.expect("read"), (Resources::default(), 0));
        database.remove().await;
    }
}

#[tokio::test]
async fn an_exec_whose_instance_is_gone_will_not_be_answered() {
    for database in databases(MIGRATIONS).await {
        let store = &database.store;
        let mut tx = store.begin().await.expect("begins");
        for (id, object_id) in [("1", "i"), ("2", "i"), ("3", "other")] {
            let one = Operation {
                id: id.into(),
                object_id: object_id.into(),
                state: OperationState::Running as i32,
                revision: 1,
                deadline_us: 50,
                ..Operation::default()
            };
            operations::put(&mut tx, &one).await.expect("written");
        }
        put(&mut tx, instance("i", "web", InstancePhase::Deleted, 1)).await;
        tx.commit().await.expect("commits");
        let deleted = InstancePhase::Deleted as i32;
        assert_eq!(operations::overdue(store.reader(), 0, deleted, 10).await.expect("read").len(), 2);
        database.remove().await;
    }
}

#[tokio::test]
async fn images_and_hosts_are_found_and_paged() {
    for database in databases(MIGRATIONS).await {
        let store = &database.store;
        let image = |id: &str, phase: ImagePhase, revision| Image {
            id: id.into(),
            tenant: "acme".into(),
            name: "debian".into(),
            phase: phase as i32,
            revision,
            ..Image::default()
        };
        let host =
            |id: &str, name: &str| Host { id: id.into(), name: name.into(), revision: 1, ..Host::default() };
        let mut tx = store.begin().await.expect("begins");
        for one in [
            image("1", ImagePhase::Rejected, 2),
            image("2", ImagePhase::Ready, 2),
            image("3", ImagePhase::Deleted, 4),
        ] {
            assert!(images::put(&mut tx, &one).await.expect("written"));
        }
        assert!(!images::put(&mut tx, &image("2", ImagePhase::Deleted, 1)).await.expect("skipped"));
        for one in [host("a", "node-2"), host("b", "node-1")] {
            assert!(hosts::put(&mut tx, &one).await.expect("written"));
        }
        assert!(!hosts::put(&mut tx, &host("a", "renamed")).await.expect("skipped"));
        tx.commit().await.expect("commits");

        let reader = store.reader();
        assert_eq!(
            images::find(reader, "acme", "debian").await.expect("read").map(|i| i.id),
            Some("2".into())
        );
        assert_eq!(images::find(reader, "acme", "1").await.expect("read").map(|i| i.id), Some("1".into()));
        assert_eq!(images::find(reader, "other", "debian").await.expect("read"), None);
        assert_eq!(images::page(reader, "acme", &first(10)).await.expect("read").len(), 1);
        assert_eq!(hosts::find(reader, "node-1").await.expect("read").map(|h| h.id), Some("b".into()));
        assert_eq!(hosts::find(reader, "a").await.expect("read").map(|h| h.name), Some("node-2".into()));
        let names: Vec<String> =
            hosts::page(reader, &first(10)).await.expect("read").into_iter().map(|h| h.name).collect();
        assert_eq!(names, ["node-1", "node-2"]);
        let after = Page { size: 10, after: vec!["node-1".into(), "b".into()] };
        assert_eq!(hosts::page(reader, &after).await.expect("read").len(), 1);

        let mut tx = store.begin().await.expect("begins");
        for (id, host) in [("i", "a"), ("j", "a"), ("k", "elsewhere")] {
            let placed = Instance { host_id: host.into(), ..instance(id, id, InstancePhase::Ready, 1) };
            put(&mut tx, placed).await;
        }
        let gone = Instance { host_id: "a".into(), ..instance("l", "l", InstancePhase::Deleted, 1) };
        put(&mut tx, gone).await;
        tx.commit().await.expect("commits");
        let promised = instances::promised(reader, &after).await.expect("read");
        let on = promised.iter().map(|(host, (r, count))| (host.as_str(), r.vcpus_milli, *count));
        assert_eq!(on.collect::<Vec<_>>(), [("a", 1000, 2)]);
        database.remove().await;
    }
}

#[tokio::test]
async fn only_the_newest_decisions_are_kept() {
    for database in databases(MIGRATIONS).await {
        let decision =
            |at| PlacementDecision { instance_id: "i".into(), decided_at_us: at, ..Default::default() };
        let mut tx = database.store.begin().await.expect("begins");
        for at in (1..=30).rev().chain(5..10) {
            decisions::put(&mut tx, &decision(at)).await.expect("written");
        }
        tx.commit().await.expect("commits");
        let kept = decisions::of_instance(database.store.reader(), "i").await.expect("read");
        let times: Vec<i64> = kept.iter().map(|d| d.decided_at_us).collect();
        assert_eq!(times, (11..=30).rev().collect::<Vec<_>>());
        database.remove().await;
    }
}

#[tokio::test]
async fn flavors_are_written_once() {
    for database in databases(MIGRATIONS).await {
        let flavor = |name: &str, description: &str| Flavor {
            name: name.into(),
            description: description.into(),
            revision: 1,
            ..Flavor::default()
        };
        let mut tx = database.store.begin().await.expect("begins");
        for one in [flavor("b", "first"), flavor("a", ""), flavor("b", "second")] {
            flavors::put(&mut tx, &one).await.expect("written");
        }
        tx.commit().await.expect("commits");
        let reader = database.store.reader();
        let all = flavors::all(reader).await.expect("read");
        assert_eq!(all.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let kept = flavors::get(reader, "b").await.expect("read").map(|f| f.description);
        assert_eq!(kept.as_deref(), Some("first"));
        database.remove().await;
    }
}

#[tokio::test]
async fn an_operator_learns_what_is_late_and_what_is_broken() {
    use contracts::scheduler::v1::HostState;
    for database in databases(MIGRATIONS).await {
        let store = &database.store;
        let operation = |id: &str, state: OperationState, deadline_us| Operation {
            id: id.into(),
            tenant: "acme".into(),
            method: "CreateInstance".into(),
            state: state as i32,
            revision: 1,
            deadline_us,
            ..Operation::default()
        };
        let host = |id: &str, state: HostState| Host {
            id: id.into(),
            name: format!("node-{id}"),
            revision: 1,
            state: state as i32,
            ..Host::default()
        };
        let mut tx = store.begin().await.expect("begins");
        for one in [
            operation("018a", OperationState::Running, 0),
            operation("018b", OperationState::Succeeded, 0),
            operation("019a", OperationState::Pending, 50),
            operation("019b", OperationState::Pending, 0),
        ] {
            operations::put(&mut tx, &one).await.expect("written");
        }
        for one in [host("a", HostState::Up), host("b", HostState::Unreachable)] {
            hosts::put(&mut tx, &one).await.expect("written");
        }
        for one in
            [instance("1", "web", InstancePhase::Failed, 1), instance("2", "db", InstancePhase::Ready, 1)]
        {
            put(&mut tx, one).await;
        }
        tx.commit().await.expect("commits");
        let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        let late = names(&["CreateInstance 018a", "CreateInstance 019a"]);
        assert_eq!(diagnosis::overdue(store, "019", 60).await.expect("read"), (2, late));
        assert_eq!(diagnosis::unreachable(store).await.expect("read"), (2, (1, names(&["node-b"]))));
        assert_eq!(diagnosis::failed(store).await.expect("read"), (1, names(&["web"])));
        let clock = diagnosis::clock(store).await.expect("read");
        assert!(clock == 0 || clock > 1_700_000_000_000_000, "{clock}");
        database.remove().await;
    }
}
