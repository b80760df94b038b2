//! The life of an instance, in messages.

mod support;

use contracts::common::v1::OperationState;
use contracts::host_driver::v1::{EnsureVm, VmPower};
use contracts::scheduler::v1::*;
use std::time::Duration;
use support::*;

#[tokio::test]
async fn from_create_to_delete() {
    everywhere(async |world| {
        world.ground().await;
        let id = world.create("web").await;
        assert_eq!(world.names(), ["InstanceAccepted", "PlacementDecided", "InstancePlaced", "EnsureVm"]);
        assert_eq!(world.reserved(&host_id(1)).await, (2000, 4 * GIB, 10 * GIB));

        world.see(&id, VmPower::Running, |seen| seen.agent_answered = false).await;
        assert_eq!(world.names(), ["InstanceStarted"]);
        world.see(&id, VmPower::Running, |_| {}).await;
        assert_eq!(ended(&world.one::<InstanceReady>().operations), succeeded());

        world.stop(&id).await;
        assert_eq!(world.one::<EnsureVm>().power(), VmPower::Stopped);
        world.see(&id, VmPower::Stopped, |_| {}).await;
        assert_eq!(ended(&world.one::<InstanceStopped>().operations), succeeded());
        assert_eq!(world.reserved(&host_id(1)).await.0, 2000, "a stopped instance keeps its place");

        world.start(&id).await;
        let order = world.one::<EnsureVm>();
        assert_eq!((order.power(), order.generation, order.intent_revision), (VmPower::Running, 1, 3));
        world.see(&id, VmPower::Running, |_| {}).await;

        world.delete(&id).await;
        world.see(&id, VmPower::Absent, |_| {}).await;
        assert_eq!(ended(&world.one::<InstanceDeleted>().operations), succeeded());
        assert_eq!(world.reserved(&host_id(1)).await, (0, 0, 0));
        // its name is free again
        world.create("web").await;
        assert!(world.names().contains(&"InstancePlaced".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn the_order_to_the_host_says_everything() {
    everywhere(async |world| {
        world.ground().await;
        let id = world
            .create_with("web", |command| {
                let spec = command.spec.as_mut().expect("a spec");
                spec.ssh_authorized_keys = vec!["ssh-ed25519 AAAA me".into()];
                spec.hostname = "web-host".into();
            })
            .await;
        let order = world.one::<EnsureVm>();
        assert_eq!((order.agent_id.as_str(), order.host_id), ("agent-1", host_id(1)));
        let spec = order.spec.expect("a spec");
        assert_eq!(
            (spec.instance_id.clone(), spec.tenant.as_str(), spec.hostname.as_str()),
            (id, TENANT, "web-host")
        );
        assert_eq!(spec.artifacts, image().artifacts);
        assert_eq!(spec.ssh_authorized_keys, ["ssh-ed25519 AAAA me"]);
        assert!(spec.guest_agent);
        assert_eq!(spec.driver(), contracts::common::v1::Driver::Simulated);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_with_the_reason() {
    everywhere(async |world| {
        world.ground().await;
        world.create("web").await;
        world.names();
        type Change = fn(&mut CreateInstance);
        fn spec(command: &mut CreateInstance) -> &mut InstanceSpec {
            command.spec.as_mut().expect("a spec")
        }
        let cases: [(&str, Change); 12] = [
            ("NAME_TAKEN", |_| {}),
            ("INVALID_REQUEST", |command| command.name = "Web_1".into()),
            ("INVALID_REQUEST", |command| command.spec = None),
            ("INVALID_REQUEST", |command| spec(command).resources = Some(resources(0, 4, 10))),
            ("INVALID_REQUEST", |command| (command.name, spec(command).driver) = ("b".into(), 99)),
            ("INVALID_REQUEST", |command| spec(command).resources = Some(resources(256, 4, 10))),
            ("INVALID_REQUEST", |command| spec(command).resources = Some(resources(1, 25 << 10, 10))),
            ("INVALID_REQUEST", |command| spec(command).gpus = kernel::limits::GPUS + 1),
            ("INVALID_REQUEST", |command| spec(command).hostname = "web_1.example.com".into()),
            ("IMAGE_NOT_FOUND", |command| (command.name, spec(command).image_id) = ("b".into(), "x".into())),
            ("IMAGE_NOT_FOUND", |command| (command.name, command.tenant) = ("b".into(), "globex".into())),
            ("DISK_TOO_SMALL", |command| {
                (command.name, spec(command).resources) = ("b".into(), Some(resources(1, 1, 1)))
            }),
        ];
        for (code, change) in cases {
            world.create_with("web", change).await;
            let event = world.one::<InstanceRefused>();
            assert_eq!(ended(&event.operations), failed(code));
            assert_eq!(event.instance.expect("what was asked for").phase(), InstancePhase::Failed);
        }
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM instances")
            .fetch_one(world.store().reader())
            .await
            .expect("a count");
        assert_eq!(rows, 1, "nothing of them is kept");
    })
    .await;
}

#[tokio::test]
async fn an_image_that_was_just_imported_is_waited_for() {
    everywhere(async |world| {
        world.host(1, 8, 16).await;
        let now = u128::from(u64::try_from(world.clock.now_us() / 1000).expect("after 1970"));
        let mut command = create(kernel::InstanceId::from_u128(now << 80), "web");
        command.operation_id = world.operation();
        let failure = world.bench.deliver(&command).await.expect_err("later");
        assert!(matches!(failure, bus::Failure::Transient(_)), "{failure}");
        world.clock.advance(Duration::from_secs(6));
        world.names();
        world.deliver(&command).await;
        assert_eq!(ended(&world.one::<InstanceRefused>().operations), failed("IMAGE_NOT_FOUND"));
    })
    .await;
}

#[tokio::test]
async fn another_tenants_instance_does_not_exist() {
    everywhere(async |world| {
        world.ground().await;
        let id = world.create("web").await;
        world.names();
        let operation_id = world.operation();
        world
            .deliver(&DeleteInstance { instance_id: id.clone(), operation_id, tenant: "globex".into() })
            .await;
        assert_eq!(ended(&world.one::<RequestRefused>().operations), failed("NOT_FOUND"));
        assert_eq!(world.instance(&id).await.phase(), InstancePhase::Starting);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_and_changes_nothing() {
    everywhere(async |world| {
        world.ground().await;
        let id = world.create("web").await;
        let before = world.instance(&id).await;
        world.names();
        let (operation_id, tenant) = (world.operation(), TENANT.to_owned());
        world.deliver(&PauseInstance { instance_id: id.clone(), operation_id, tenant }).await;
        assert_eq!(ended(&world.one::<RequestRefused>().operations), failed("INSTANCE_NOT_RUNNING"));
        assert_eq!(world.instance(&id).await, before);
    })
    .await;
}

#[tokio::test]
async fn a_guest_that_never_answers_fails_its_create_and_nothing_else() {
    everywhere(async |world| {
        world.ground().await;
        let id = world.create("web").await;
        world.see(&id, VmPower::Running, |seen| seen.agent_answered = false).await;
        world.names();
        world.deadlines().await;
        assert_eq!(world.names(), [""; 0], "too early");
        world.clock.advance(Duration::from_secs(601));
        world.deadlines().await;
        let event = world.one::<InstanceChanged>();
        assert_eq!(ended(&event.operations), failed("GUEST_SILENT"));
        assert_eq!(event.instance.expect("it").phase(), InstancePhase::Running);
        world.deadlines().await;
        assert_eq!(world.names(), [""; 0], "once");
    })
    .await;
}

#[tokio::test]
async fn a_failed_first_start_goes_to_another_host_and_leaves_nothing_behind() {
    everywhere(async |world| {
        world.ground().await;
        world.host(2, 8, 16).await;
        let id = world.create("web").await;
        let first = world.instance(&id).await.host_id;
        world.names();
        world
            .see(&id, VmPower::Stopped, |seen| {
                seen.gave_up = true;
                seen.failure = Some(kernel::Refusal::new("DISK_FULL", "no space left").into());
            })
            .await;
        assert_eq!(world.one::<EnsureVm>().power(), VmPower::Absent);
        assert_eq!(world.reserved(&first).await.0, 2000, "until the host has cleaned up");
        world.see(&id, VmPower::Absent, |_| {}).await;
        assert_eq!(world.reserved(&first).await.0, 0);
        world.place().await;
        let order = world.one::<EnsureVm>();
        assert_ne!(order.host_id, first);
        assert_eq!(order.generation, 2);
        // what the first host says afterwards is nobody's business
        let now = world.instance(&id).await;
        let late = contracts::host_driver::v1::VmObservation {
            instance_id: id.clone(),
            host_id: first,
            revision: 99,
            generation: 1,
            intent_revision: 2,
            power: VmPower::Running.into(),
            ..Default::default()
        };
        world.deliver(&contracts::host_driver::v1::VmObserved { observation: Some(late) }).await;
        assert_eq!(world.instance(&id).await, now);
    })
    .await;
}

#[tokio::test]
async fn a_restart_that_fails_stays_with_its_disk() {
    everywhere(async |world| {
        world.ground().await;
        world.host(2, 8, 16).await;
        let id = world.create("web").await;
        let host = world.instance(&id).await.host_id;
        world.see(&id, VmPower::Running, |_| {}).await;
        world.stop(&id).await;
        world.see(&id, VmPower::Stopped, |_| {}).await;
        world.start(&id).await;
        world.names();
        world
            .see(&id, VmPower::Stopped, |seen| {
                seen.gave_up = true;
                seen.failure = Some(kernel::Refusal::new("DISK_BROKEN", "it cannot be read").into());
            })
            .await;
        assert_eq!(ended(&world.one::<InstanceFailed>().operations), failed("DISK_BROKEN"));
        world.place().await;
        let instance = world.instance(&id).await;
        assert_eq!((instance.phase(), &instance.host_id), (InstancePhase::Failed, &host));
        assert_eq!(world.reserved(&host).await.0, 2000);
        world.start(&id).await;
        let order = world.one::<EnsureVm>();
        assert_eq!((order.host_id, order.generation), (host, 1));
    })
    .await;
}

#[tokio::test]
async fn a_later_request_supersedes_the_one_before() {
    everywhere(async |world| {
        world.ground().await;
        let id = world.create("web").await;
        world.names();
        world.delete(&id).await;
        let event = world.one::<InstanceChanged>();
        assert_eq!(event.operations[0].state(), OperationState::Superseded);
        assert_eq!(event.operations[1].state(), OperationState::Running);
    })
    .await;
}
