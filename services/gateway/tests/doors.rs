//! Both doors of a gateway on a real socket: the same answers, the same rules, and nothing that breaks it.

mod harness;

use contracts::gateway::v1::flavor_service_client::FlavorServiceClient;
use contracts::gateway::v1::{
    CreateFlavorRequest, CreateInstanceRequest, GetInstanceRequest, ListFlavorsRequest, ListInstancesRequest,
};
use contracts::scheduler::v1::CreateInstance;
use harness::{Gateway, answer};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn nobody_comes_in_without_a_token() {
    let gateway = Gateway::start().await;
    // logging in is what one does without a token
    for method in contracts::methods().iter().filter(|method| method.permission != "session.open") {
        let path = method.path.replace(['{', '}'], "");
        let verb = reqwest::Method::from_bytes(method.http_method.as_bytes()).expect("a method");
        // garbage as well: strangers' bodies are not even read
        let request = gateway.http.request(verb.clone(), gateway.url(&path)).body("{garbage");
        let (status, problem) = answer(request).await;
        assert_eq!((status, &problem["code"]), (401, &json!("UNAUTHENTICATED")), "{path}");
        assert!(problem["detail"].as_str().is_some_and(|d| d.contains("admin.token")), "a hint: {problem}");
        let wrong = gateway.http.request(verb, gateway.url(&path)).bearer_auth("f".repeat(64));
        assert_eq!(answer(wrong).await.0, 401, "{path}");
    }
    let mut grpc = FlavorServiceClient::new(gateway.channel().await);
    let refused = grpc.list_flavors(ListFlavorsRequest {}).await.expect_err("no token");
    assert_eq!(refused.code(), Code::Unauthenticated);

    // what is open to all
    let (status, document) = answer(gateway.http.get(gateway.url("/openapi.json"))).await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let mut health = HealthClient::new(gateway.channel().await);
    health.check(HealthCheckRequest::default()).await.expect("health is open");
    let mut reflection = tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(
        gateway.channel().await,
    );
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(tokio_stream::iter([list]))
        .await
        .expect("reflection is open")
        .into_inner();
    let listed = format!("{:?}", answers.message().await.expect("an answer"));
    assert!(listed.contains("berth.gateway.v1.InstanceService"), "{listed}");
    gateway.stop().await;
}

#[tokio::test]
async fn the_token_file_is_private_and_the_table_holds_only_hashes() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = Gateway::start().await;
    let file = gateway.folder.path().join("gateway/admin.token");
    assert_eq!(std::fs::metadata(file).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(gateway.token.len(), 64);
    gateway.chassis.tasks.stop().await;
    for entry in std::fs::read_dir(gateway.folder.path().join("gateway")).expect("a folder") {
        let path = entry.expect("an entry").path();
        // the database puts its log away while it closes
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let found = bytes.windows(64).any(|w| w == gateway.token.as_bytes());
        assert_eq!(found, path.ends_with("admin.token"), "{}", path.display());
    }
}

#[tokio::test]
async fn an_administrators_token_that_is_cut_off_is_refused_and_not_taken_in() {
    let gateway = Gateway::start().await;
    let file = gateway.folder.path().join("gateway/admin.token");
    gateway.chassis.stop().await;
    for garbled in ["", "short\n"] {
        std::fs::write(&file, garbled).expect("written");
        let settings = gateway::Settings {
            listen: "127.0.0.1:0".into(),
            data_dir: gateway.folder.path().join("gateway"),
            datastore_url: format!("file://{}/datastore", gateway.folder.path().display()),
            ..gateway::Settings::default()
        };
        let process = chassis::ChassisSettings {
            bus: gateway.nats.settings(),
            ops_listen: String::new(),
            sealing_key_file: gateway.folder.path().join("sealing.key"),
            ..chassis::ChassisSettings::default()
        };
        let chassis = chassis::Chassis::start("gateway", &process).await.expect("the chassis starts");
        let error = gateway::start(&settings, &chassis).await.expect_err("refused").to_string();
        assert!(error.contains("admin.token"), "{error}");
        chassis.stop().await;
    }
}

#[tokio::test]
async fn every_method_of_the_interface_is_routed_and_implemented() {
    let gateway = Gateway::start().await;
    // the token of this test has to last
    for method in contracts::methods().iter().filter(|method| method.descriptor.name() != "Logout") {
        let path = method.path.replace(['{', '}'], "").replace("/sequence", "/1");
        let (status, problem) = gateway.call(&method.http_method, &path, Value::Null).await;
        assert!(![405, 501].contains(&status), "{} {path}: {status} {problem}", method.http_method);
        assert_ne!(problem["code"], "NO_SUCH_PATH", "{path}");
    }
    let (status, problem) = gateway.call("GET", "/v1/nothing", Value::Null).await;
    assert_eq!((status, &problem["code"]), (404, &json!("NO_SUCH_PATH")));
    let (status, problem) = gateway.call("PUT", "/v1/instances", Value::Null).await;
    assert_eq!((status, &problem["code"]), (405, &json!("METHOD_NOT_ALLOWED")));
    gateway.stop().await;
}

#[tokio::test]
async fn both_doors_give_the_same_answers() {
    let gateway = Gateway::start().await;
    gateway.image("018f0000-0000-7000-8000-000000000001", "debian").await;
    let (channel, bearer) = gateway.signed_in().await;
    let mut flavors = FlavorServiceClient::with_interceptor(channel, bearer);
    let by_grpc = flavors.list_flavors(ListFlavorsRequest {}).await.expect("listed").into_inner().flavors;
    let (_, by_rest) = gateway.call("GET", "/v1/flavors", Value::Null).await;
    let names: Vec<&str> =
        by_rest["flavors"].as_array().expect("a list").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(names, by_grpc.iter().map(|f| f.name.as_str()).collect::<Vec<_>>());
    assert!(names.contains(&"small") && names.contains(&"micro"), "the default flavors: {names:?}");

    // what one door writes, the other reads
    let resources =
        contracts::common::v1::Resources { vcpus_milli: 500, memory_bytes: 64 << 20, disk_bytes: 0 };
    let create =
        CreateFlavorRequest { name: "tiny".into(), resources: Some(resources), description: String::new() };
    flavors.create_flavor(create.clone()).await.expect("created");
    let (_, list) = gateway.call("GET", "/v1/flavors", Value::Null).await;
    let tiny = list["flavors"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|f| f["name"] == "tiny")
        .cloned()
        .expect("tiny");
    assert_eq!(tiny["resources"], json!({"vcpus_milli": 500, "memory_bytes": 67108864, "disk_bytes": 0}));

    // and they refuse with the same words
    let by_grpc = flavors.create_flavor(create).await.expect_err("it is there");
    let body = json!({"name": "tiny", "resources": {"vcpus_milli": 500, "memory_bytes": 67108864}});
    let (status, problem) = gateway.call("POST", "/v1/flavors", body).await;
    assert_eq!((status, by_grpc.code()), (409, Code::AlreadyExists));
    assert_eq!(problem["detail"], by_grpc.message());
    let (refusal, field) = contracts::status::details(&by_grpc);
    assert_eq!(problem["code"], refusal.expect("a refusal").code);
    assert_eq!(problem["field"], field.expect("a field"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_one_request() {
    let gateway = Gateway::start().await;
    gateway.image("018f0000-0000-7000-8000-000000000001", "debian").await;
    let body = json!({"name": "web-1", "image": "debian", "flavor": "small", "user_data": "#cloud-config\npassword: hunter2"});
    let (status, first) = gateway.keyed("POST", "/v1/instances", "key-1", body.clone()).await;
    assert_eq!(status, 202, "{first}");
    let (_, again) = gateway.keyed("POST", "/v1/instances", "key-1", body.clone()).await;
    assert_eq!(first, again);

    // the same over the other door
    let mut request = Request::new(CreateInstanceRequest {
        name: "web-1".into(),
        image: "debian".into(),
        flavor: "small".into(),
        user_data: "#cloud-config\npassword: hunter2".into(),
        ..CreateInstanceRequest::default()
    });
    request.metadata_mut().insert("idempotency-key", "key-1".parse().expect("ascii"));
    let by_grpc = gateway.instances().await.create_instance(request).await.expect("accepted").into_inner();
    assert_eq!(by_grpc.operation_id, first["operation_id"]);

    let other = json!({"name": "web-2", "image": "debian", "flavor": "small"});
    let (status, problem) = gateway.keyed("POST", "/v1/instances", "key-1", other).await;
    assert_eq!((status, &problem["code"]), (409, &json!("IDEMPOTENCY_KEY_REUSED")));
    let (status, problem) = gateway.keyed("DELETE", "/v1/images/debian", "key-1", json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("IDEMPOTENCY_KEY_REUSED")));

    // many at once are one as well
    let many = (0..8).map(|_| gateway.keyed("POST", "/v1/instances", "key-2", body.clone()));
    let answers = futures::future::join_all(many).await;
    assert!(answers.iter().all(|a| a == &answers[0]), "{answers:?}");
    gateway.command::<CreateInstance>().await;
    let commands = testkit::eventually(harness::PATIENCE, "two commands", async || {
        let all = gateway.commands::<CreateInstance>().await;
        (all.len() >= 2).then_some(all)
    });
    let commands = commands.await;
    assert_eq!(commands.len(), 2, "one for each key");
    let command = &commands[0];
    assert_eq!(command.operation_id, first["operation_id"]);
    assert_eq!(command.tenant, "default");
    let spec = command.spec.clone().expect("a spec");
    assert_eq!(spec.resources.map(|r| r.memory_bytes), Some(512 << 20), "the flavor's");
    let sealed = spec.user_data.clone().expect("sealed");
    assert_eq!(gateway.chassis.sealer.open(&sealed).expect("opens"), b"#cloud-config\npassword: hunter2");
    let bytes = prost::Message::encode_to_vec(command);
    assert!(!bytes.windows(7).any(|w| w == b"hunter2"), "never in clear on the bus");
    gateway.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let gateway = Gateway::start().await;
    gateway.host("h1", "node-1", "agent").await;
    for (id, name) in [("1", "c"), ("2", "a"), ("3", "b")] {
        gateway.ready(&format!("018f0000-0000-7000-8000-00000000000{id}"), name, "h1").await;
    }
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!("/v1/instances?page_size=2&page_token={token}");
        let (status, page) = gateway.call("GET", &path, Value::Null).await;
        assert_eq!(status, 200);
        let rows = page["instances"].as_array().expect("a list");
        assert!(rows.len() <= 2);
        names.extend(rows.iter().map(|i| i["name"].as_str().expect("a name").to_owned()));
        token = page["next_page_token"].as_str().expect("a token").to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c"]);
    let (_, host) = gateway.call("GET", "/v1/hosts/node-1", Value::Null).await;
    assert_eq!(host["host"]["instances"], 3);
    assert_eq!(host["host"]["reserved"]["memory_bytes"], 3u64 << 30);
    let (status, problem) = gateway.call("GET", "/v1/instances?page_token=zz", Value::Null).await;
    assert_eq!((status, &problem["field"]), (400, &json!("page_token")));

    // sealed user data is not shown by any door
    let (_, shown) = gateway.call("GET", "/v1/instances/a", Value::Null).await;
    assert!(!shown.to_string().contains("ciphertext"), "{shown}");
    let mut grpc = gateway.instances().await;
    let shown =
        grpc.get_instance(GetInstanceRequest { instance: "a".into() }).await.expect("shown").into_inner();
    assert!(shown.instance.and_then(|i| i.spec).is_some_and(|s| s.user_data.is_none()));
    let list = grpc.list_instances(ListInstancesRequest::default()).await.expect("listed").into_inner();
    assert!(list.instances.iter().all(|i| i.spec.as_ref().is_some_and(|s| s.user_data.is_none())));
    gateway.stop().await;
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let gateway = Gateway::start().await;
    gateway.image("018f0000-0000-7000-8000-000000000001", "debian").await;
    for (method, path, body, status, field) in [
        ("POST", "/v1/instances", json!({"nome": "x"}), 400, "nome"),
        ("POST", "/v1/instances", json!({"name": "X", "image": "debian", "flavor": "small"}), 400, "name"),
        ("POST", "/v1/instances", json!({"name": "x", "image": "nothing", "flavor": "small"}), 404, "image"),
        ("POST", "/v1/instances", json!({"name": "x", "image": "debian", "flavor": "huge"}), 404, "flavor"),
        (
            "POST",
            "/v1/instances",
            json!({"name": "x", "image": "debian", "resources": {"vcpus_milli": 1}}),
            400,
            "resources.memory_bytes",
        ),
        (
            "POST",
            "/v1/instances",
            json!({"name": "x", "image": "debian", "flavor": "small", "labels": {"a": 1}}),
            400,
            "labels.a",
        ),
        ("POST", "/v1/instances/nothing/stop", json!({}), 404, "instance"),
        ("POST", "/v1/instances/nothing/stop", json!({"grace_s": 99999}), 400, "grace_s"),
        ("POST", "/v1/instances/nothing/stop", json!({"instance": "other"}), 400, "instance"),
        ("GET", "/v1/instances?page_size=many", Value::Null, 400, "page_size"),
        ("GET", "/v1/instances?page_size=1001", Value::Null, 400, "page_size"),
        ("GET", "/v1/instances?color=red", Value::Null, 400, "color"),
        ("GET", "/v1/instances?include_deleted=1", Value::Null, 400, "include_deleted"),
        ("GET", "/v1/dead-letters/first", Value::Null, 400, "sequence"),
        ("GET", "/v1/operations/none/wait?timeout_ms=60001", Value::Null, 400, "timeout_ms"),
        ("GET", "/v1/events?types=nobody", Value::Null, 400, "types[0]"),
        (
            "POST",
            "/v1/images",
            json!({"name": "x", "sources": [{"role": "ARTIFACT_ROLE_DISK"}]}),
            400,
            "sources[0].source",
        ),
        ("POST", "/v1/flavors", json!({"name": "x"}), 400, "resources.vcpus_milli"),
    ] {
        let (found, problem) = gateway.call(method, path, body).await;
        assert_eq!((found, &problem["field"]), (status, &json!(field)), "{method} {path}: {problem}");
        assert_eq!(problem["status"], status);
    }
    let (status, problem) = gateway.keyed("POST", "/v1/flavors", "a b", json!({})).await;
    assert_eq!((status, &problem["field"]), (400, &json!("idempotency-key")));
    let text = gateway.rest("POST", "/v1/flavors").header("content-type", "text/plain").body("{}");
    assert_eq!(answer(text).await.0, 415);
    let big = gateway
        .rest("POST", "/v1/flavors")
        .header("content-type", "application/json")
        .body(" ".repeat((1 << 20) + 1));
    assert_eq!(answer(big).await.0, 413);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_the_callers_fault() {
    let gateway = Gateway::start().await;
    let gateway = &gateway;
    let paths: Vec<(String, String)> = contracts::methods()
        .iter()
        .filter(|m| m.http_method != "PUT" && !m.descriptor.is_server_streaming())
        .map(|m| (m.http_method.clone(), m.path.clone()))
        .collect();
    let handle = tokio::runtime::Handle::current();
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "\\PC{0,80}".prop_map(String::into_bytes),
        "[{}\\[\\]\":,0-9a-z]{0,60}".prop_map(String::into_bytes),
    ];
    let strategy = (0..paths.len(), "[a-zA-Z0-9%._~-]{1,30}", "[a-z_=&%0-9]{0,30}", body);
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    tokio::task::block_in_place(|| {
        runner.run(&strategy, |(index, word, query, body)| {
            let (method, path) = &paths[index];
            let filled: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { word.as_str() } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let Ok(url) = reqwest::Url::parse(&gateway.url(&format!("{filled}?{query}"))) else {
                return Ok(());
            };
            let verb = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
            let request = gateway.http.request(verb, url).bearer_auth(&gateway.token);
            let (status, answer) =
                handle.block_on(answer(request.header("content-type", "application/json").body(body)));
            prop_assert!(status < 500, "{} {}: {} {}", method, filled, status, answer);
            if status >= 400 {
                prop_assert!(answer["detail"].is_string(), "{}", answer);
            }
            Ok(())
        })
    })
    .expect("no garbage breaks it");
    assert_eq!(gateway.call("GET", "/v1/flavors", Value::Null).await.0, 200);
}
