//! A damaged row stops itself and nobody else, in every loop.

mod support;

use contracts::scheduler::v1::*;
use scheduler::MIGRATIONS;
use sqlx::AssertSqlSafe;
use std::time::Duration;
use support::*;
use testkit::databases;

/// Runs a case on both databases. No event makes what is damaged, so nothing is rebuilt and compared.
async fn everywhere_damaged(case: impl AsyncFn(&mut World)) {
    for database in databases(MIGRATIONS).await {
        let mut world = World::new(database.store.clone(), 1);
        case(&mut world).await;
        database.remove().await;
    }
}

/// A snapshot that nobody can read any more.
async fn damage(world: &World, table: &str, id: &str) {
    let mut tx = world.store().begin().await.expect("a transaction");
    let sql = format!("UPDATE {table} SET snapshot = $1 WHERE id = $2");
    let done =
        sqlx::query(AssertSqlSafe(sql)).bind(vec![0xff_u8; 3]).bind(id.to_owned()).execute(&mut *tx).await;
    assert_eq!(done.expect("damaged").rows_affected(), 1, "{table} {id}");
    tx.commit().await.expect("commits");
}

#[tokio::test]
async fn one_that_cannot_be_read_keeps_no_other_from_being_placed() {
    everywhere_damaged(async |world| {
        world.image().await;
        let first = world.create("first").await;
        world.create("second").await;
        world.create("third").await;
        damage(world, "instances", &first).await;
        world.host(1, 8, 16).await;
        world.names();
        world.place().await;
        let placed: Vec<String> =
            world.said::<InstancePlaced>().into_iter().filter_map(|e| e.instance).map(|i| i.name).collect();
        assert_eq!(placed, ["second", "third"]);
    })
    .await;
}

#[tokio::test]
async fn one_that_cannot_be_read_keeps_no_deadline_of_others_from_passing() {
    everywhere_damaged(async |world| {
        world.ground().await;
        let (damaged, other) = (world.create("damaged").await, world.create("other").await);
        assert!(world.instance(&other).await.operation.is_some());
        damage(world, "instances", &damaged).await;
        world.clock.advance(Duration::from_secs(24 * 3600));
        world.deadlines().await;
        assert!(world.instance(&other).await.operation.is_none(), "its deadline has passed");
    })
    .await;
}

#[tokio::test]
async fn a_host_that_cannot_be_read_gets_nothing_and_stops_no_other() {
    everywhere_damaged(async |world| {
        world.image().await;
        let (damaged, other) = (world.host(1, 8, 16).await, world.host(2, 8, 16).await);
        world.names();
        damage(world, "hosts", &damaged).await;
        // both were silent for longer than that
        let (desk, limit) = (world.bench.desk.clone(), Duration::ZERO);
        scheduler::reconcilers::hosts::pass(&desk, &world.context, limit).await.expect("a pass");
        world.listen().await;
        let changed: Vec<String> =
            world.said::<HostChanged>().into_iter().filter_map(|e| e.host).map(|h| h.id).collect();
        assert_eq!(changed, [other]);
        // another process reads all tables anew
        let again = scheduler::context(
            &scheduler::Settings::default(),
            world.store().clone(),
            &opentelemetry::global::meter("test"),
        );
        let cause = bus::Cause::own("scheduler").for_tenant(TENANT);
        let mut work = world.bench.desk.begin(cause).await.expect("a transaction");
        again.fleet.hold(&mut work, &again.metrics).await.expect("held");
        assert_eq!(again.fleet.read(|fleet| fleet.len()), 1);
    })
    .await;
}
