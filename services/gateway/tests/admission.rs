//! What the owners would refuse is refused at once, with the same code on both doors; what was accepted stays accepted.

mod harness;

use contracts::common::v1::{OperationProgress, OperationState};
use contracts::gateway::v1::CreateInstanceRequest;
use contracts::scheduler::v1 as scheduler;
use contracts::storage::v1 as storage;
use harness::Gateway;
use scheduler::{DesiredPower, InstancePhase};
use serde_json::{Value, json};
use storage::ImagePhase;
use tonic::Code;

const INSTANCE: &str = "018f0000-0000-7000-8000-000000000001";
const IMAGE: &str = "018f0000-0000-7000-8000-0000000000bb";
const GIB: u64 = 1 << 30;

fn instance(revision: u64, phase: InstancePhase) -> scheduler::Instance {
    let spec = scheduler::InstanceSpec { image_id: IMAGE.into(), ..scheduler::InstanceSpec::default() };
    scheduler::Instance {
        id: INSTANCE.into(),
        tenant: "default".into(),
        name: "web-1".into(),
        revision,
        phase: phase as i32,
        desired: DesiredPower::Running as i32,
        spec: Some(spec),
        ..scheduler::Instance::default()
    }
}

async fn say(gateway: &Gateway, instance: scheduler::Instance) {
    let (id, revision) = (instance.id.clone(), instance.revision);
    gateway.say(&scheduler::InstanceChanged { instance: Some(instance), operations: vec![] }).await;
    let path = format!("/v1/instances/{id}");
    gateway.until("GET", &path, |(_, body)| body["instance"]["revision"] == revision).await;
}

async fn say_image(gateway: &Gateway, id: &str, name: &str, phase: ImagePhase) {
    let image = storage::Image {
        id: id.into(),
        tenant: "default".into(),
        name: name.into(),
        revision: 1,
        phase: phase as i32,
        min_disk_bytes: 2 * GIB,
        ..storage::Image::default()
    };
    gateway.say(&storage::ImageImportStarted { image: Some(image), operations: vec![] }).await;
    gateway.until("GET", &format!("/v1/images/{id}"), |(status, _)| *status == 200).await;
}

async fn refused(gateway: &Gateway, method: &str, path: &str, body: Value) -> (u16, String, String) {
    let (status, problem) = gateway.call(method, path, body).await;
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("field"))
}

fn is(status: u16, code: &str, field: &str) -> (u16, String, String) {
    (status, code.to_owned(), field.to_owned())
}

#[tokio::test]
async fn a_new_instance_is_refused_at_once_for_its_name_its_image_or_its_disk() {
    let gateway = Gateway::start().await;
    say_image(&gateway, IMAGE, "debian", ImagePhase::Ready).await;
    say_image(&gateway, "018f0000-0000-7000-8000-0000000000b1", "coming", ImagePhase::Importing).await;
    say_image(&gateway, "018f0000-0000-7000-8000-0000000000b2", "bad", ImagePhase::Rejected).await;
    say_image(&gateway, "018f0000-0000-7000-8000-0000000000b3", "gone", ImagePhase::Deleted).await;
    say(&gateway, instance(1, InstancePhase::Ready)).await;
    let small = json!({"vcpus_milli": 100, "memory_bytes": 64 << 20, "disk_bytes": GIB});
    for (body, expected) in [
        (json!({"name": "web-1", "image": "debian", "flavor": "small"}), is(409, "NAME_TAKEN", "name")),
        (json!({"name": "a", "image": "nothing", "flavor": "small"}), is(404, "IMAGE_NOT_FOUND", "image")),
        (json!({"name": "a", "image": "gone", "flavor": "small"}), is(404, "IMAGE_NOT_FOUND", "image")),
        (
            json!({"name": "a", "image": "018f0000-0000-7000-8000-0000000000b3", "flavor": "small"}),
            is(404, "IMAGE_NOT_FOUND", "image"),
        ),
        (json!({"name": "a", "image": "coming", "flavor": "small"}), is(409, "IMAGE_NOT_READY", "image")),
        (
            json!({"name": "a", "image": "018f0000-0000-7000-8000-0000000000b2", "flavor": "small"}),
            is(409, "IMAGE_REJECTED", "image"),
        ),
        (json!({"name": "a", "image": "debian", "flavor": "micro"}), is(400, "DISK_TOO_SMALL", "flavor")),
        (
            json!({"name": "a", "image": "debian", "resources": small}),
            is(400, "DISK_TOO_SMALL", "resources.disk_bytes"),
        ),
    ] {
        assert_eq!(refused(&gateway, "POST", "/v1/instances", body.clone()).await, expected, "{body}");
    }
    let request = CreateInstanceRequest {
        name: "web-1".into(),
        image: "debian".into(),
        flavor: "small".into(),
        ..CreateInstanceRequest::default()
    };
    let by_grpc = gateway.instances().await.create_instance(request).await.expect_err("the name is taken");
    let (refusal, field) = contracts::status::details(&by_grpc);
    assert_eq!((by_grpc.code(), field.as_deref()), (Code::AlreadyExists, Some("name")));
    assert_eq!(refusal.map(|r| r.code).as_deref(), Some("NAME_TAKEN"));

    // a refused request leaves nothing: no operation, no command
    let (_, list) = gateway.call("GET", "/v1/operations", Value::Null).await;
    assert_eq!(list["operations"], json!([]));
    let fine = json!({"name": "web-2", "image": "debian", "flavor": "small"});
    assert_eq!(gateway.call("POST", "/v1/instances", fine).await.0, 202);
    gateway.stop().await;
}

#[tokio::test]
async fn what_an_instance_cannot_do_is_refused_unless_something_is_under_way() {
    let gateway = Gateway::start().await;
    let verb =
        async |verb: &str| refused(&gateway, "POST", &format!("/v1/instances/web-1/{verb}"), json!({})).await;
    assert_eq!(verb("start").await, is(404, "INSTANCE_NOT_FOUND", "instance"));
    say(
        &gateway,
        scheduler::Instance { desired: DesiredPower::Stopped as i32, ..instance(1, InstancePhase::Stopped) },
    )
    .await;
    assert_eq!(verb("reboot").await, is(409, "INSTANCE_NOT_RUNNING", "instance"));
    assert_eq!(verb("pause").await, is(409, "INSTANCE_NOT_RUNNING", "instance"));
    assert_eq!(verb("resume").await, is(409, "INSTANCE_NOT_PAUSED", "instance"));

    // a start is on its way to the owner: what comes after it is for the owner to judge
    let (status, started) = gateway.call("POST", "/v1/instances/web-1/start", json!({})).await;
    assert_eq!(status, 202);
    assert_eq!(verb("reboot").await.0, 202);
    let operation = started["operation_id"].as_str().expect("an id").to_owned();
    let over = |id: &str| OperationProgress {
        operation_id: id.into(),
        state: OperationState::Succeeded as i32,
        step: "ready".into(),
        refusal: None,
    };
    let (_, list) = gateway.call("GET", "/v1/operations", Value::Null).await;
    let ids = list["operations"].as_array().expect("a list").iter().filter_map(|o| o["id"].as_str());
    let operations: Vec<OperationProgress> = ids.map(over).collect();
    assert!(operations.iter().any(|o| o.operation_id == operation));
    let instance_now = Some(instance(2, InstancePhase::Ready));
    gateway.say(&scheduler::InstanceReady { instance: instance_now, operations }).await;
    gateway.until("GET", "/v1/instances/web-1", |(_, b)| b["instance"]["revision"] == 2).await;

    // while it is being deleted nothing else can be done, whatever else is under way
    assert_eq!(gateway.call("POST", "/v1/instances/web-1/stop", json!({})).await.0, 202);
    say(&gateway, instance(3, InstancePhase::Deleting)).await;
    assert_eq!(verb("start").await, is(409, "INSTANCE_DELETING", "instance"));
    say(&gateway, instance(4, InstancePhase::Deleted)).await;
    assert_eq!(verb("start").await, is(404, "INSTANCE_NOT_FOUND", "instance"));
    let by_id = refused(&gateway, "POST", &format!("/v1/instances/{INSTANCE}/start"), json!({})).await;
    assert_eq!(by_id, is(404, "INSTANCE_NOT_FOUND", "instance"));
    gateway.stop().await;
}

#[tokio::test]
async fn an_image_in_use_stays_and_its_name_is_taken() {
    let gateway = Gateway::start().await;
    say_image(&gateway, IMAGE, "debian", ImagePhase::Ready).await;
    say(&gateway, instance(1, InstancePhase::Stopped)).await;
    let (status, problem) = gateway.call("DELETE", "/v1/images/debian", Value::Null).await;
    assert_eq!((status, &problem["code"]), (409, &json!("IMAGE_IN_USE")), "{problem}");
    assert_eq!(problem["reasons"], json!(["instance web-1"]));
    let source = |id: &str| json!([{"role": "ARTIFACT_ROLE_DISK", "upload_id": id}]);
    let again = json!({"name": "debian", "sources": source(IMAGE)});
    assert_eq!(refused(&gateway, "POST", "/v1/images", again).await, is(409, "NAME_TAKEN", "name"));
    let unsent = json!({"name": "other", "sources": source(IMAGE)});
    assert_eq!(
        refused(&gateway, "POST", "/v1/images", unsent).await,
        is(404, "UPLOAD_UNKNOWN", "sources[0].upload_id")
    );
    say(&gateway, instance(2, InstancePhase::Deleted)).await;
    assert_eq!(gateway.call("DELETE", "/v1/images/debian", Value::Null).await.0, 202);
    gateway.stop().await;
}

#[tokio::test]
async fn a_repeated_key_gets_its_first_answer_although_it_would_be_refused_by_now() {
    let gateway = Gateway::start().await;
    say_image(&gateway, IMAGE, "debian", ImagePhase::Ready).await;
    let body = json!({"name": "web-1", "image": "debian", "flavor": "small"});
    let (status, first) = gateway.keyed("POST", "/v1/instances", "key-1", body.clone()).await;
    assert_eq!(status, 202, "{first}");
    let created = scheduler::Instance {
        id: first["instance_id"].as_str().expect("an id").into(),
        ..instance(1, InstancePhase::Ready)
    };
    let operations = vec![OperationProgress {
        operation_id: first["operation_id"].as_str().expect("an id").into(),
        state: OperationState::Succeeded as i32,
        step: "ready".into(),
        refusal: None,
    }];
    gateway.say(&scheduler::InstanceReady { instance: Some(created), operations }).await;
    gateway.until("GET", "/v1/instances/web-1", |(status, _)| *status == 200).await;
    assert_eq!(gateway.keyed("POST", "/v1/instances", "key-1", body.clone()).await, (202, first));
    let (status, problem) = gateway.keyed("POST", "/v1/instances", "key-2", body.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("NAME_TAKEN")));
    // the refusal is not kept: once the name is free the same key may have it
    let (_, list) = gateway.call("GET", "/v1/instances/web-1", Value::Null).await;
    let id = list["instance"]["id"].as_str().expect("an id").to_owned();
    say(&gateway, scheduler::Instance { id, ..instance(2, InstancePhase::Deleted) }).await;
    assert_eq!(gateway.keyed("POST", "/v1/instances", "key-2", body).await.0, 202);
    gateway.stop().await;
}

#[tokio::test]
async fn a_staged_file_goes_when_the_last_import_of_it_ends() {
    let gateway = Gateway::start().await;
    let staged = async || {
        let sent = gateway.rest("PUT", "/v1/uploads").body("kernel");
        harness::answer(sent).await.1["upload_id"].as_str().expect("an id").to_owned()
    };
    let (used, unused) = (staged().await, staged().await);
    let there = |id: &str| gateway.folder.path().join("datastore/staging").join(id).exists();
    let said = async |image: &str, phase: ImagePhase, revision: u64| {
        let source = storage::ArtifactSource {
            source: Some(storage::artifact_source::Source::UploadId(used.clone())),
            ..storage::ArtifactSource::default()
        };
        let image = storage::Image {
            id: image.into(),
            tenant: "default".into(),
            name: image.into(),
            revision,
            phase: phase as i32,
            sources: vec![source],
            ..storage::Image::default()
        };
        gateway.say(&storage::ImageImported { image: Some(image.clone()), operations: vec![] }).await;
        let path = format!("/v1/images/{}", image.id);
        gateway.until("GET", &path, |(_, b)| b["image"]["revision"] == revision).await;
    };
    said("one", ImagePhase::Importing, 1).await;
    said("two", ImagePhase::Importing, 1).await;
    said("one", ImagePhase::Ready, 2).await;
    // the second import may still need it; news of it has passed the sweep by the time the third image is known
    said("three", ImagePhase::Importing, 1).await;
    assert!(there(&used));
    said("two", ImagePhase::Rejected, 2).await;
    said("three", ImagePhase::Ready, 2).await;
    testkit::eventually(harness::PATIENCE, "the staged file to go", async || (!there(&used)).then_some(()))
        .await;
    assert!(there(&unused), "nobody imported it yet");
    gateway.stop().await;
}

/// What no host runs is refused when it is asked for, also when an older flavor says so.
#[tokio::test]
async fn more_than_any_host_runs_is_refused_at_once() {
    let gateway = Gateway::start().await;
    say_image(&gateway, IMAGE, "debian", ImagePhase::Ready).await;
    let big =
        |vcpus_milli: u64| json!({"vcpus_milli": vcpus_milli, "memory_bytes": GIB, "disk_bytes": 4 * GIB});
    let create = |size: (&str, Value)| json!({"name": "web-1", "image": "debian", (size.0): size.1});
    let asked = create(("resources", big(256_000)));
    let bad = |field| is(400, "INVALID_ARGUMENT", field);
    assert_eq!(refused(&gateway, "POST", "/v1/instances", asked).await, bad("resources.vcpus_milli"));
    let flavor = json!({"name": "huge", "resources": big(256_000)});
    assert_eq!(refused(&gateway, "POST", "/v1/flavors", flavor).await, bad("resources.vcpus_milli"));

    let resources =
        contracts::common::v1::Resources { vcpus_milli: 512_000, memory_bytes: GIB, disk_bytes: 4 * GIB };
    let flavor = contracts::gateway::v1::Flavor {
        name: "of-old".into(),
        resources: Some(resources),
        revision: 1,
        ..Default::default()
    };
    gateway.say(&contracts::gateway::v1::FlavorCreated { flavor: Some(flavor) }).await;
    let known = |(_, body): &(u16, Value)| body.to_string().contains("of-old");
    gateway.until("GET", "/v1/flavors", known).await;
    let asked = create(("flavor", json!("of-old")));
    assert_eq!(refused(&gateway, "POST", "/v1/instances", asked).await, bad("flavor"));

    say(&gateway, instance(1, InstancePhase::Ready)).await;
    let input = json!({"argv": ["cat"], "stdin": "AAAA".repeat((64 << 10) / 3 + 1)});
    assert_eq!(refused(&gateway, "POST", "/v1/instances/web-1/exec", input).await, bad("stdin"));
    gateway.stop().await;
}

/// Room is not held back: who waits behind smaller ones is told how many came before.
#[tokio::test]
async fn who_waits_behind_smaller_ones_is_told_so() {
    let gateway = Gateway::start().await;
    let of = |number: u8, name: &str, vcpus_milli, host_id: &str, phase| {
        let mut one = instance(1, phase);
        (one.id, one.name) = (format!("018f0000-0000-7000-8000-0000000000{number:02}"), name.to_owned());
        one.host_id = host_id.to_owned();
        let resources = contracts::common::v1::Resources { vcpus_milli, ..Default::default() };
        one.spec.as_mut().expect("a spec").resources = Some(resources);
        one
    };
    say(&gateway, of(11, "before", 1_000, "h1", InstancePhase::Ready)).await;
    say(&gateway, of(12, "big", 8_000, "", InstancePhase::Pending)).await;
    let explain = async || gateway.call("GET", "/v1/instances/big/explain", Value::Null).await.1;
    assert_eq!(explain().await["waiting"]["overtaken_by"], 0);
    say(&gateway, of(13, "small", 1_000, "h1", InstancePhase::Ready)).await;
    say(&gateway, of(14, "bigger", 9_000, "h1", InstancePhase::Ready)).await;
    say(&gateway, of(15, "waits-too", 1_000, "", InstancePhase::Pending)).await;
    let told = explain().await;
    assert_eq!(
        (&told["waiting"]["overtaken_by"], &told["waiting"]["of_all_tenants"]),
        (&json!(1), &json!(true))
    );
    let (_, placed) = gateway.call("GET", "/v1/instances/small/explain", Value::Null).await;
    assert_eq!(placed["waiting"], Value::Null);
    gateway.stop().await;
}
