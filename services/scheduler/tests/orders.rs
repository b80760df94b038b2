//! Orders that a host never answers: it is told again until it does, and not more often than that.

mod support;

use contracts::host_driver::v1::{EnsureVm, VmPower};
use contracts::scheduler::v1::HostState;
use scheduler::reconcilers::orders::Orders;
use std::sync::Arc;
use std::time::Duration;
use support::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn orders(world: &World) -> Arc<Orders> {
    Arc::new(Orders::new(world.bench.desk.clone(), world.context.metrics.clone(), PATIENCE))
}

/// A pass after so much time. Answers what hosts are told.
async fn pass(world: &mut World, orders: &Arc<Orders>, later: Duration) -> Vec<EnsureVm> {
    world.names();
    world.clock.advance(later);
    orders.clone().pass().await.expect("a pass");
    world.listen().await;
    world.said::<EnsureVm>()
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_told_again() {
    everywhere(async |world| {
        world.ground().await;
        let id = world.create("web").await;
        let first = world.one::<EnsureVm>();
        let orders = orders(world);
        assert!(pass(world, &orders, Duration::ZERO).await.is_empty(), "it was told just now");
        assert!(pass(world, &orders, PATIENCE / 2).await.is_empty());
        let again = pass(world, &orders, PATIENCE).await;
        assert_eq!(again, [EnsureVm { answer_again: true, ..first.clone() }], "the same order, once");
        // pauses grow
        assert!(pass(world, &orders, PATIENCE).await.is_empty());
        assert_eq!(pass(world, &orders, PATIENCE * 2).await.len(), 1);

        // an observation from before the newest order is no answer to it
        world.stop(&id).await;
        world.see(&id, VmPower::Running, |seen| seen.intent_revision = 1).await;
        assert_eq!(world.instance(&id).await.confirmed_intent, 1);
        pass(world, &orders, PATIENCE * 20).await;
        let again = pass(world, &orders, PATIENCE * 20).await;
        assert_eq!((again.len(), again[0].power(), again[0].intent_revision), (1, VmPower::Stopped, 2));

        world.see(&id, VmPower::Stopped, |_| {}).await;
        assert_eq!(world.instance(&id).await.confirmed_intent, 2);
        assert!(pass(world, &orders, PATIENCE * 100).await.is_empty(), "it has answered");
        world.delete(&id).await;
        world.see(&id, VmPower::Absent, |_| {}).await;
        assert!(pass(world, &orders, PATIENCE * 100).await.is_empty(), "it is gone");
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_away_is_told_when_it_is_back() {
    everywhere(async |world| {
        world.ground().await;
        world.create("web").await;
        let desk = world.bench.desk.clone();
        let state = async |world: &mut World, limit: Duration| {
            scheduler::reconcilers::hosts::pass(&desk, &world.context, limit).await.expect("a pass");
            let sql = "SELECT state FROM hosts";
            let state: String =
                sqlx::query_scalar(sql).fetch_one(world.store().reader()).await.expect("a host");
            state
        };
        let orders = orders(world);
        assert_eq!(state(world, Duration::ZERO).await, HostState::Unreachable.as_str_name());
        pass(world, &orders, Duration::ZERO).await;
        assert!(pass(world, &orders, PATIENCE * 2).await.is_empty(), "nobody would listen");
        assert_eq!(state(world, Duration::from_secs(600)).await, HostState::Up.as_str_name());
        assert_eq!(pass(world, &orders, Duration::ZERO).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_was_told_before_answers_were_noted_is_asked_once() {
    for database in testkit::databases(scheduler::MIGRATIONS).await {
        let mut world = World::new(database.store.clone(), 1);
        world.ground().await;
        let id = world.create("web").await;
        world.see(&id, VmPower::Running, |_| {}).await;
        // as the migration leaves the row of a snapshot that knows nothing of answers
        let mut old = world.instance(&id).await;
        old.confirmed_intent = 0;
        let bytes = prost::Message::encode_to_vec(&old);
        let sql = "UPDATE instances SET snapshot = $1, unconfirmed = 1";
        sqlx::query(sql).bind(bytes).execute(world.store().reader()).await.expect("written");
        let orders = orders(&world);
        pass(&mut world, &orders, Duration::ZERO).await;
        let asked = pass(&mut world, &orders, PATIENCE).await;
        assert!(matches!(asked.as_slice(), [order] if order.answer_again), "{asked:?}");
        world.see(&id, VmPower::Running, |_| {}).await;
        assert!(pass(&mut world, &orders, PATIENCE * 100).await.is_empty());
        database.remove().await;
    }
}
