//! Tenants have what their quota allows and no more, whatever comes in between.

mod support;

use contracts::common::v1::OperationState;
use contracts::gateway::v1::{Quota, QuotaLimits, TenantQuotaSet};
use contracts::host_driver::v1::VmPower;
use contracts::scheduler::v1::*;
use contracts::storage::v1::ImageImported;
use kernel::ImageId;
use scheduler::MIGRATIONS;
use support::*;
use testkit::Database;

async fn set(world: &mut World, tenant: &str, revision: u64, limits: QuotaLimits) {
    let quota = Quota { tenant: tenant.into(), limits: Some(limits), revision, updated_at_us: 1 };
    world.deliver(&TenantQuotaSet { quota: Some(quota) }).await;
}

fn instances(limit: u64) -> QuotaLimits {
    QuotaLimits { instances: Some(limit), ..QuotaLimits::default() }
}

/// Whether the newest create was accepted; the refusal if not.
fn outcome(world: &mut World) -> Result<(), contracts::common::v1::Refusal> {
    let refused = world.said::<InstanceRefused>();
    assert!(refused.len() <= 1, "refused once");
    match refused.into_iter().next() {
        None => Ok(()),
        Some(event) => {
            assert_eq!(ended(&event.operations), failed("QUOTA_EXCEEDED"));
            Err(event.operations[0].refusal.clone().expect("a refusal"))
        }
    }
}

async fn rows(world: &World) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM instances WHERE deleted = 0")
        .fetch_one(world.store().reader())
        .await
        .expect("a count")
}

#[tokio::test]
async fn up_to_the_limit_and_again_when_something_was_given_back() {
    everywhere(async |world| {
        world.ground().await;
        let limits = QuotaLimits { memory_bytes: Some(9 * GIB), disk_bytes: Some(25 * GIB), ..instances(10) };
        set(world, TENANT, 1, limits).await;
        // each takes 2 CPUs, 4 GiB and a disk of 10 GiB
        let first = world.create("a").await;
        world.create("b").await;
        assert_eq!(outcome(world), Ok(()));
        world.create("c").await;
        let refusal = outcome(world).expect_err("full");
        assert_eq!(refusal.message, "the quota of the tenant has no room for this: memory, disk");
        let expected =
            ["memory: 8 GiB of 9 GiB used, 4 GiB asked for", "disk: 20 GiB of 25 GiB used, 10 GiB asked for"];
        assert_eq!(refusal.reasons, expected);
        assert_eq!(rows(world).await, 2, "nothing was made");

        // one that is stopped, or on its way out, holds what it holds
        world.see(&first, VmPower::Running, |_| {}).await;
        world.stop(&first).await;
        world.see(&first, VmPower::Stopped, |_| {}).await;
        world.delete(&first).await;
        world.names();
        world.create("d").await;
        assert!(outcome(world).is_err());
        world.see(&first, VmPower::Absent, |_| {}).await;
        world.create("d").await;
        assert_eq!(outcome(world), Ok(()));
        // what fits is taken though it comes later than what does not
        world.create("e").await;
        assert!(outcome(world).is_err());
        world
            .create_with("small", |command| {
                command.spec.as_mut().expect("a spec").resources = Some(resources(1, 1, 2));
            })
            .await;
        assert_eq!(outcome(world), Ok(()));
    })
    .await;
}

#[tokio::test]
async fn one_that_waits_or_failed_counts_until_it_is_deleted() {
    everywhere(async |world| {
        world.image().await;
        set(world, TENANT, 1, instances(1)).await;
        let waits = world.create("waits").await;
        assert_eq!(outcome(world), Ok(()));
        world.create("more").await;
        assert!(outcome(world).is_err(), "it waits for a host and has its place");
        world.delete(&waits).await;
        world.names();
        world.host(1, 8, 16).await;
        let fails = world.create("fails").await;
        assert_eq!(outcome(world), Ok(()));
        world
            .see(&fails, VmPower::Stopped, |seen| {
                seen.gave_up = true;
                seen.failure = Some(kernel::Refusal::new("DISK_FULL", "no space left").into());
            })
            .await;
        world.see(&fails, VmPower::Absent, |_| {}).await;
        world.names();
        world.create("more").await;
        assert!(outcome(world).is_err(), "it can be started again");
    })
    .await;
}

#[tokio::test]
async fn a_limit_can_be_lowered_raised_and_taken_away_and_old_news_counts_for_nothing() {
    everywhere(async |world| {
        world.ground().await;
        world.create("a").await;
        world.create("b").await;
        world.names();
        set(world, TENANT, 2, instances(1)).await;
        assert_eq!(rows(world).await, 2, "nothing is taken away");
        world.create("c").await;
        assert_eq!(outcome(world).expect_err("full").reasons, ["instances: 2 of 1 used, 1 asked for"]);
        set(world, TENANT, 1, instances(100)).await;
        world.create("c").await;
        assert!(outcome(world).is_err(), "that was set before");
        set(world, TENANT, 3, instances(3)).await;
        world.create("c").await;
        assert_eq!(outcome(world), Ok(()));
        set(world, TENANT, 4, QuotaLimits::default()).await;
        world.create("d").await;
        assert_eq!(outcome(world), Ok(()));
        set(world, TENANT, 5, instances(0)).await;
        world.create("e").await;
        assert!(outcome(world).is_err());
    })
    .await;
}

#[tokio::test]
async fn the_quota_of_one_tenant_is_nobody_elses() {
    everywhere(async |world| {
        world.ground().await;
        let theirs = ImageId::from_u128(0xbb).to_string();
        let image = contracts::storage::v1::Image { id: theirs.clone(), tenant: "bravo".into(), ..image() };
        world.deliver(&ImageImported { image: Some(image), operations: vec![] }).await;
        set(world, TENANT, 1, instances(0)).await;
        world.create("a").await;
        assert!(outcome(world).is_err());
        world
            .create_with("a", |command| {
                command.tenant = "bravo".into();
                command.spec.as_mut().expect("a spec").image_id.clone_from(&theirs);
            })
            .await;
        let accepted = world.one::<InstanceAccepted>();
        assert_eq!(accepted.instance.expect("an instance").tenant, "bravo");
        let states = accepted.operations.iter().map(|o| o.state()).collect::<Vec<_>>();
        assert_eq!(states, [OperationState::Running]);
    })
    .await;
}

/// Two schedulers on one PostgreSQL, many creates at once: the quota is filled and never exceeded.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_schedulers_never_admit_to_the_same_place() {
    let database = Database::postgres(MIGRATIONS).await;
    let all: Vec<store::MigrationFile> = bus::MIGRATIONS.iter().chain(MIGRATIONS).copied().collect();
    let second = store::Store::open(&database.url, &all).await.expect("the same database");
    let mut ground = World::new(database.store.clone(), 1);
    ground.ground().await;
    let limits = QuotaLimits { memory_bytes: Some(7 * 4 * GIB + 1), ..instances(20) };
    set(&mut ground, TENANT, 1, limits).await;
    let mut tasks = Vec::new();
    for (number, store) in [database.store.clone(), second.clone()].into_iter().enumerate() {
        for lane in 0..3_u128 {
            let mut world = World::new(store.clone(), 1);
            tasks.push(tokio::spawn(async move {
                for turn in 0..4_u128 {
                    let id = (u128::try_from(number).expect("small") * 10 + lane) * 100 + turn + 10_000;
                    let mut command = create(kernel::InstanceId::from_u128(id), &format!("i{id}"));
                    command.operation_id = kernel::OperationId::from_u128(id).to_string();
                    world.bench.deliver(&command).await.expect("taken");
                }
                // somebody raises and lowers what is no limit here meanwhile
                let limits = QuotaLimits { networks: Some(1), ..limits };
                set(&mut world, TENANT, 2 + u64::try_from(lane).expect("small"), limits).await;
            }));
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(rows(&ground).await, 7, "24 creates of which 7 fit");
    second.close().await;
    database.remove().await;
}
