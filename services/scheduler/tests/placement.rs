//! Finding room, waiting for it, and never promising it twice.

mod support;

use contracts::host_driver::v1::{self as vm, EnsureVm, VmPower};
use contracts::scheduler::v1::*;
use scheduler::MIGRATIONS;
use std::collections::BTreeMap;
use std::time::Duration;
use support::*;
use testkit::Database;

#[tokio::test]
async fn without_room_an_instance_waits_and_says_why_once() {
    everywhere(async |world| {
        world.ground().await;
        let big = |command: &mut CreateInstance| {
            command.spec.as_mut().expect("a spec").resources = Some(resources(2, 64, 10))
        };
        let id = world.create_with("big", big).await;
        assert_eq!(world.names(), ["InstanceAccepted", "PlacementDecided", "InstanceChanged"]);
        let refusal = world.instance(&id).await.refusal.expect("a reason");
        assert_eq!(
            (refusal.code.as_str(), refusal.reasons),
            ("NO_HOST_HAS_ROOM", vec!["1 host lacks memory".to_owned()])
        );
        world.place().await;
        world.place().await;
        assert_eq!(world.names(), [""; 0], "nothing new to say");
        world.host(2, 4, 8).await;
        world.names();
        world.place().await;
        let decision = world.one::<PlacementDecided>().decision.expect("a decision");
        assert_eq!(decision.rejected_by_filter, BTreeMap::from([("capacity".to_owned(), 2)]));
        assert_eq!(decision.rejections[1].reason, "8 GiB memory free of 8 GiB, 64 GiB asked");
        world.host(3, 16, 128).await;
        world.names();
        world.place().await;
        assert_eq!(world.names(), ["PlacementDecided", "InstancePlaced", "EnsureVm"]);
        assert_eq!(world.instance(&id).await.host_id, host_id(3));
    })
    .await;
}

#[tokio::test]
async fn one_that_fits_nowhere_delays_nobody() {
    everywhere(async |world| {
        world.image().await;
        let nowhere = |command: &mut CreateInstance| {
            let spec = command.spec.as_mut().expect("a spec");
            spec.require_host_labels = BTreeMap::from([("rack".to_owned(), "none".to_owned())]);
        };
        let impossible = world.create_with("impossible", nowhere).await;
        let possible = world.create("possible").await;
        world.host(1, 8, 16).await;
        world.place().await;
        assert_eq!(world.instance(&impossible).await.phase(), InstancePhase::Pending);
        assert_eq!(world.instance(&possible).await.phase(), InstancePhase::Starting);
    })
    .await;
}

#[tokio::test]
async fn room_that_is_given_back_is_given_to_who_waits_longest() {
    everywhere(async |world| {
        world.ground().await;
        let quarter = world.create("first").await;
        for name in ["b", "c", "d"] {
            world.create(name).await;
        }
        let (second, third) = (world.create("second").await, world.create("third").await);
        assert_eq!(world.reserved(&host_id(1)).await, (8000, 16 * GIB, 40 * GIB));
        world.delete(&quarter).await;
        world.see(&quarter, VmPower::Absent, |_| {}).await;
        world.place().await;
        assert_eq!(world.instance(&second).await.phase(), InstancePhase::Starting);
        assert_eq!(world.instance(&third).await.phase(), InstancePhase::Pending);
        assert_eq!(world.reserved(&host_id(1)).await, (8000, 16 * GIB, 40 * GIB));
    })
    .await;
}

#[tokio::test]
async fn groups_share_a_host_or_never_do() {
    everywhere(async |world| {
        world.ground().await;
        world.host(2, 8, 16).await;
        let apart = |command: &mut CreateInstance| {
            command.spec.as_mut().expect("a spec").anti_affinity_group = "db".into()
        };
        let together = |command: &mut CreateInstance| {
            command.spec.as_mut().expect("a spec").affinity_group = "web".into()
        };
        let (a, b) = (world.create_with("a", apart).await, world.create_with("b", apart).await);
        assert_ne!(world.instance(&a).await.host_id, world.instance(&b).await.host_id);
        let third = world.create_with("c", apart).await;
        assert_eq!(world.instance(&third).await.refusal.expect("a reason").code, "NO_HOST_FITS");
        let (d, e) = (world.create_with("d", together).await, world.create_with("e", together).await);
        assert_eq!(world.instance(&d).await.host_id, world.instance(&e).await.host_id);
    })
    .await;
}

#[tokio::test]
async fn gpus_are_held_one_by_one_and_given_back() {
    everywhere(async |world| {
        world.image().await;
        let report = vm::HostReport { gpus: 2, gpu_model: "a100".into(), ..report(1, 1, 16, 64) };
        world.deliver(&vm::HostReported { report: Some(report) }).await;
        let asks = |gpus: u32, gpu_milli: u32| {
            move |command: &mut CreateInstance| {
                let spec = command.spec.as_mut().expect("a spec");
                (spec.gpus, spec.gpu_milli) = (gpus, gpu_milli);
            }
        };
        let half = world.create_with("half", asks(1, 500)).await;
        let whole = world.create_with("whole", asks(1, 0)).await;
        let quarter = world.create_with("quarter", asks(1, 250)).await;
        assert_eq!(world.instance(&half).await.gpu_indexes, [0]);
        assert_eq!(world.instance(&whole).await.gpu_indexes, [1]);
        assert_eq!(world.instance(&quarter).await.gpu_indexes, [0]);
        let other = world.create_with("other", asks(1, 500)).await;
        let refusal = world.instance(&other).await.refusal.expect("a reason");
        assert_eq!(refusal.code, "NO_HOST_HAS_ROOM");
        assert_eq!(refusal.reasons, ["1 host lacks free GPUs"]);
        let decisions = world.said::<PlacementDecided>();
        let rejection = &decisions.last().and_then(|said| said.decision.as_ref()).expect("one").rejections[0];
        assert_eq!(
            (rejection.filter.as_str(), rejection.reason.as_str()),
            ("gpu", "250/1000 free on the freest of 2 GPUs, 500/1000 asked")
        );
        world.delete(&half).await;
        world.see(&half, VmPower::Absent, |_| {}).await;
        world.place().await;
        assert_eq!(world.instance(&other).await.gpu_indexes, [0]);
        let never = world.create_with("never", asks(3, 0)).await;
        assert_eq!(world.instance(&never).await.phase(), InstancePhase::Pending);
        let wrong = world.create_with("wrong", asks(2, 500)).await;
        world.listen().await;
        let refused = world.said::<InstanceRefused>().pop().and_then(|said| said.instance).expect("refused");
        assert_eq!(refused.id, wrong);
        assert_eq!(refused.refusal.expect("why").reasons[0].split(':').next(), Some("spec.gpu_milli"));
    })
    .await;
}

/// Nothing is passed through to guests of real hypervisors yet: their hosts have no GPU to give.
#[tokio::test]
async fn where_no_host_has_a_gpu_a_request_for_one_waits_and_says_why() {
    everywhere(async |world| {
        world.ground().await;
        let id = world.create_with("train", |command| command.spec.as_mut().expect("a spec").gpus = 1).await;
        let refusal = world.instance(&id).await.refusal.expect("a reason");
        assert_eq!(refusal.code, "NO_HOST_FITS");
        assert_eq!(refusal.message, "no host can take 2 vCPU, 4 GiB memory, 10 GiB disk, 1 GPU");
        assert_eq!(refusal.reasons, ["1 host has no GPU"]);
    })
    .await;
}

#[tokio::test]
async fn a_group_may_share_a_host_up_to_a_number() {
    everywhere(async |world| {
        world.ground().await;
        let two = |command: &mut CreateInstance| {
            let spec = command.spec.as_mut().expect("a spec");
            (spec.anti_affinity_group, spec.max_per_host) = ("db".into(), 2);
        };
        for name in ["a", "b"] {
            let id = world.create_with(name, two).await;
            assert_eq!(world.instance(&id).await.host_id, host_id(1));
        }
        let third = world.create_with("c", two).await;
        let decision = world.said::<PlacementDecided>().pop().and_then(|said| said.decision).expect("one");
        assert_eq!(
            decision.rejections[0].reason,
            "already has 2 members of anti-affinity group \"db\", at most 2 may share a host"
        );
        assert_eq!(world.instance(&third).await.phase(), InstancePhase::Pending);
    })
    .await;
}

#[tokio::test]
async fn cordoned_and_unreachable_hosts_get_nothing_new() {
    everywhere(async |world| {
        world.ground().await;
        let (host_id, operation_id) = (host_id(1), world.operation());
        world.deliver(&CordonHost { host_id: host_id.clone(), operation_id, reason: "fan".into() }).await;
        assert_eq!(ended(&world.one::<HostChanged>().operations), succeeded());
        let id = world.create("web").await;
        let decision = world.one::<PlacementDecided>().decision.expect("a decision");
        assert_eq!(
            (decision.rejections[0].filter.as_str(), decision.rejections[0].reason.as_str()),
            ("cordon", "cordoned: fan")
        );
        let operation_id = world.operation();
        world.deliver(&UncordonHost { host_id: host_id.clone(), operation_id }).await;
        world.place().await;
        assert_eq!(world.instance(&id).await.host_id, host_id);
        let operation_id = world.operation();
        world.deliver(&UncordonHost { host_id: "nonsense".into(), operation_id }).await;
        assert_eq!(ended(&world.one::<RequestRefused>().operations), failed("NOT_FOUND"));
    })
    .await;
}

#[tokio::test]
async fn an_operator_says_how_far_a_host_may_be_promised() {
    everywhere(async |world| {
        world.ground().await;
        let set = async |world: &mut World, host_id: String, vcpus_percent, memory_percent| {
            let overcommit = Some(Overcommit { vcpus_percent, memory_percent, disk_percent: 0 });
            let operation_id = world.operation();
            world.deliver(&SetHostOvercommit { host_id, operation_id, overcommit }).await;
        };
        for name in ["a", "b", "c", "d"] {
            world.create(name).await;
        }
        let waiting = world.create("e").await;
        assert_eq!(world.instance(&waiting).await.phase(), InstancePhase::Pending);
        world.names();
        set(world, host_id(1), 200, 150).await;
        let changed = world.one::<HostChanged>();
        assert_eq!(changed.operations[0].step, "set");
        let overcommit = changed.host.and_then(|host| host.overcommit).expect("overcommit");
        assert_eq!(
            (overcommit.vcpus_percent, overcommit.memory_percent, overcommit.disk_percent),
            (200, 150, 100)
        );
        world.place().await;
        assert_eq!(world.instance(&waiting).await.phase(), InstancePhase::Starting);
        // less than is promised already: nobody is sent away, nobody comes, and it says so
        world.names();
        set(world, host_id(1), 100, 0).await;
        assert_eq!(world.one::<HostChanged>().operations[0].step, "over-promised");
        assert_eq!(world.reserved(&host_id(1)).await.0, 10_000);
        let next = world.create("f").await;
        let decision = world.one::<PlacementDecided>().decision.expect("a decision");
        assert_eq!(decision.rejections[0].reason, "0 vCPU free of 8, 2 asked");
        assert_eq!(world.instance(&next).await.phase(), InstancePhase::Pending);
        set(world, host_id(1), 0, 3201).await;
        assert_eq!(ended(&world.one::<RequestRefused>().operations), failed("INVALID_REQUEST"));
        set(world, host_id(7), 100, 0).await;
        assert_eq!(ended(&world.one::<RequestRefused>().operations), failed("NOT_FOUND"));
    })
    .await;
}

#[tokio::test]
async fn a_silent_host_is_unreachable_until_it_is_heard_of() {
    everywhere(async |world| {
        world.ground().await;
        let limit = Duration::from_millis(200);
        let pass = async |world: &mut World| {
            scheduler::reconcilers::hosts::pass(&world.bench.desk, &world.context, limit)
                .await
                .expect("a pass");
            world.listen().await;
        };
        world.context.heartbeats.heard(host_id(1).parse().expect("an id"));
        pass(world).await;
        assert_eq!(world.names(), [""; 0]);
        let host: kernel::HostId = host_id(1).parse().expect("an id");
        let silent = async || (world.context.heartbeats.silence(host) > limit).then_some(());
        testkit::eventually(Duration::from_secs(5), "the host has been silent", silent).await;
        pass(world).await;
        assert_eq!(world.one::<HostChanged>().host.expect("a host").state(), HostState::Unreachable);
        let id = world.create("web").await;
        let decision = world.one::<PlacementDecided>().decision.expect("a decision");
        assert_eq!(decision.rejections[0].filter, "state");
        world.context.heartbeats.heard(host);
        pass(world).await;
        assert_eq!(world.one::<HostChanged>().host.expect("a host").state(), HostState::Up);
        world.place().await;
        assert_eq!(world.instance(&id).await.phase(), InstancePhase::Starting);
    })
    .await;
}

#[tokio::test]
async fn a_host_with_another_agent_is_told_everything_again() {
    everywhere(async |world| {
        world.ground().await;
        let id = world.create("web").await;
        world.names();
        let mut moved = report(1, 2, 8, 16);
        moved.agent_id = "agent-9".into();
        world.deliver(&contracts::host_driver::v1::HostReported { report: Some(moved) }).await;
        let order = world.one::<EnsureVm>();
        assert_eq!(
            (order.agent_id.as_str(), order.spec.clone().expect("a spec").instance_id),
            ("agent-9", id)
        );
    })
    .await;
}

/// Two schedulers on one PostgreSQL, many creates at once: the host is filled and never overfilled.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_schedulers_never_promise_the_same_room() {
    let database = Database::postgres(MIGRATIONS).await;
    let all: Vec<store::MigrationFile> = bus::MIGRATIONS.iter().chain(MIGRATIONS).copied().collect();
    let second = store::Store::open(&database.url, &all).await.expect("the same database");
    let mut ground = World::new(database.store.clone(), 1);
    ground.ground().await;
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
            }));
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    // 24 creates of a quarter of the host each
    assert_eq!(ground.reserved(&host_id(1)).await, (8000, 16 * GIB, 40 * GIB));
    let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM instances WHERE waiting = 1")
        .fetch_one(ground.store().reader())
        .await
        .expect("a count");
    assert_eq!(waiting, 20);
    second.close().await;
    database.remove().await;
}
