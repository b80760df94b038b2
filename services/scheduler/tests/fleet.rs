//! The fleet in memory is the one in the tables, whoever writes, and whatever is undone.

mod support;

use bus::{Cause, Handle, Work};
use contracts::host_driver::v1::{HostReported, VmPower};
use contracts::scheduler::v1::*;
use kernel::{InstanceId, OperationId};
use scheduler::handlers::{OnCordonHost, OnCreateInstance, OnUncordonHost};
use scheduler::{MIGRATIONS, store::fleet};
use scheduler_placement::solver::Fleet;
use support::*;
use testkit::databases;

/// Numbers that look random and are the same in every run (Knuth's constants for MMIX).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn begin(world: &World) -> Work {
    world.bench.desk.begin(Cause::own("scheduler").for_tenant(TENANT)).await.expect("a transaction")
}

/// What the process believes while it holds the fleet, and what the tables say.
async fn both(world: &World, work: &mut Work) -> (Fleet, Fleet) {
    world.context.fleet.hold(work, &world.context.metrics).await.expect("held");
    let tables = fleet::load(work.tx()).await.expect("loaded");
    (world.context.fleet.read(Clone::clone), tables)
}

async fn check(world: &World, step: &str) {
    let mut work = begin(world).await;
    let (memory, tables) = both(world, &mut work).await;
    assert!(memory == tables, "after {step}:\nin memory {memory:#?}\nin the tables {tables:#?}");
    // what only looked changes nothing
    drop(work);
}

fn any_create(dice: &mut Dice, number: u128) -> CreateInstance {
    let mut command = create(InstanceId::from_u128(number), &format!("i{number}"));
    command.operation_id = OperationId::from_u128(number).to_string();
    let spec = command.spec.as_mut().expect("a spec");
    spec.resources = Some(resources(1 + dice.roll(3), 1 + dice.roll(4), 3));
    match dice.roll(5) {
        0 => spec.gpus = 1,
        1 => (spec.gpus, spec.gpu_milli) = (1, 300),
        2 => (spec.anti_affinity_group, spec.max_per_host) = ("apart".into(), 2),
        3 => spec.affinity_group = "together".into(),
        _ => {}
    }
    command
}

/// One thing that happens in a unit of work, through the scheduler's own handlers.
async fn happen(world: &World, dice: &mut Dice, work: &mut Work, number: u128) {
    let host = host_id(1 + u32::try_from(dice.roll(4)).expect("small"));
    let operation_id = OperationId::from_u128(number).to_string();
    let context = world.context.clone();
    let done = match dice.roll(6) {
        0 => {
            let command = CordonHost { host_id: host, operation_id, reason: "test".into() };
            OnCordonHost(context).handle(work, command).await
        }
        1 => OnUncordonHost(context).handle(work, UncordonHost { host_id: host, operation_id }).await,
        _ => OnCreateInstance(context).handle(work, any_create(dice, number)).await,
    };
    done.expect("handled");
}

async fn interleave(worlds: &mut [World], seed: u64) {
    let mut dice = Dice(seed);
    let mut number = 100_000 * u128::from(seed);
    worlds[0].image().await;
    for step in 0..60 {
        let who = usize::try_from(dice.roll(worlds.len() as u64)).expect("small");
        number += 10;
        let what = dice.roll(10);
        let world = &mut worlds[who];
        match what {
            0 | 1 => {
                let host = 1 + u32::try_from(dice.roll(4)).expect("small");
                let mut told = report(host, step + 1, 2 + dice.roll(8), 8);
                told.gpus = u32::try_from(dice.roll(4)).expect("small");
                world.deliver(&HostReported { report: Some(told) }).await;
            }
            2 | 3 => {
                let ids: Vec<String> =
                    sqlx::query_scalar("SELECT id FROM instances WHERE reserved = 1 ORDER BY id")
                        .fetch_all(world.store().reader())
                        .await
                        .expect("ids");
                let Some(id) = ids.get(usize::try_from(dice.roll(8)).expect("small")) else { continue };
                world.delete(id).await;
                world.see(id, VmPower::Absent, |_| {}).await;
            }
            4 => world.place().await,
            5 | 6 => {
                // a transaction that ends without a commit, after several messages
                let mut work = begin(world).await;
                for more in 0..3 {
                    happen(world, &mut dice, &mut work, number + more).await;
                }
                work.write_late().await.expect("written");
                let (memory, tables) = both(world, &mut work).await;
                assert!(memory == tables, "inside a transaction, step {step}");
                drop(work);
            }
            _ => {
                let mut work = begin(world).await;
                for more in 0..=u128::from(dice.roll(3)) {
                    happen(world, &mut dice, &mut work, number + more).await;
                }
                work.commit().await.expect("committed");
            }
        }
        let looks = usize::try_from(dice.roll(worlds.len() as u64)).expect("small");
        check(&worlds[looks], &format!("step {step} ({what} by {who}), seen by {looks}")).await;
    }
    for world in worlds.iter() {
        check(world, "all").await;
    }
}

#[tokio::test]
async fn memory_and_tables_agree_after_every_step_of_two_schedulers() {
    for database in databases(MIGRATIONS).await {
        for seed in 1..=3 {
            let mut worlds = [World::new(database.store.clone(), 1), World::new(database.store.clone(), 1)];
            interleave(&mut worlds, seed).await;
        }
        database.remove().await;
    }
}

/// Who was away for longer than changes are remembered reads everything; so does who knows of a future that was lost.
#[tokio::test]
async fn a_gap_in_the_changes_is_noticed() {
    for database in databases(MIGRATIONS).await {
        let mut worlds = [World::new(database.store.clone(), 1), World::new(database.store.clone(), 1)];
        worlds[0].ground().await;
        check(&worlds[1], "the first look").await;
        worlds[0].create("a").await;
        worlds[0].create("b").await;
        let mut tx = database.store.begin().await.expect("a transaction");
        sqlx::query("DELETE FROM fleet_changes WHERE version < 3")
            .execute(&mut *tx)
            .await
            .expect("forgotten");
        tx.commit().await.expect("committed");
        check(&worlds[1], "changes that were forgotten").await;
        let mut tx = database.store.begin().await.expect("a transaction");
        sqlx::query("DELETE FROM fleet_changes").execute(&mut *tx).await.expect("lost");
        sqlx::query("UPDATE instances SET reserved = 0").execute(&mut *tx).await.expect("lost");
        tx.commit().await.expect("committed");
        check(&worlds[1], "tables of an earlier time").await;
        database.remove().await;
    }
}
