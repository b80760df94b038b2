//! The catalogue of events against what is really sent.

mod harness;

use harness::readers::lines;
use harness::{Gateway, PATIENCE};
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const HOST: &str = "018f0000-0000-7000-8000-0000000000c1";
const IMAGE: &str = "018f0000-0000-7000-8000-0000000000b1";
const INSTANCE: &str = "018f0000-0000-7000-8000-0000000000a1";
/// Bring the list of types up to date.
const WRITE: &str = "BERTH_WRITE_GOLDEN";

/// A validator for each type, out of the schemas that the gateway hands out.
async fn validators(gateway: &Gateway, token: &str) -> BTreeMap<String, Validator> {
    let (status, answer) = gateway.ask(token, "", "GET", "/v1/schemas", Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    let mut validators = BTreeMap::new();
    for event in answer["types"].as_array().expect("types") {
        let path = event["schema"].as_str().expect("a path");
        let (status, schema) = gateway.ask(token, "", "GET", path, Value::Null).await;
        assert_eq!((status, &schema["$id"]), (200, &json!(path)));
        assert!(jsonschema::meta::is_valid(&schema), "{path} is no schema");
        let validator = jsonschema::validator_for(&schema).unwrap_or_else(|e| panic!("{path}: {e}"));
        validators.insert(event["name"].as_str().expect("a name").to_owned(), validator);
    }
    validators
}

#[track_caller]
fn check(validator: &Validator, what: &str, value: &Value) {
    let wrong: Vec<String> =
        validator.iter_errors(value).map(|e| format!("{} at {}", e, e.instance_path())).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{value:#}");
}

/// Things that happen on a platform, as far as the gateway alone can make them happen.
async fn life(gateway: &Gateway) -> String {
    let post = async |path: &str, body: Value| {
        let (status, answer) = gateway.call("POST", path, body).await;
        assert!(status < 300, "{path}: {answer}");
        answer
    };
    post("/v1/tenants", json!({"name": "acme"})).await;
    post(
        "/v1/flavors",
        json!({"name": "huge", "resources": {"vcpus_milli": 64_000, "memory_bytes": 1u64 << 44}}),
    )
    .await;
    let user = json!({"name": "ann", "roles": ["developer"]});
    let (_, user) = gateway.ask(&gateway.token, "acme", "POST", "/v1/users", user).await;
    let token = json!({"name": "ci", "user": "ann"});
    let (_, token) = gateway.ask(&gateway.token, "acme", "POST", "/v1/tokens", token).await;
    let other = json!({"name": "old"});
    let other = post("/v1/tokens", other).await;
    gateway
        .call("DELETE", &format!("/v1/tokens/{}", other["token"]["id"].as_str().expect("an id")), Value::Null)
        .await;
    let path = format!("/v1/users/{}", user["user"]["id"].as_str().expect("an id"));
    gateway.ask(&gateway.token, "acme", "POST", &format!("{path}/disable"), json!({})).await;
    gateway.ask(&gateway.token, "acme", "POST", &format!("{path}/enable"), json!({})).await;
    for _ in 0..7 {
        let login = json!({"user": "ann@acme", "password": "not this one at all"});
        gateway.call("POST", "/v1/login", login).await;
    }
    gateway.image(IMAGE, "debian").await;
    gateway.host(HOST, "node-1", "agent-1").await;
    gateway.ready(INSTANCE, "web-1", HOST).await;
    let body = json!({"argv": ["true"], "stdin": ""});
    post("/v1/instances/web-1/exec", body).await;
    post("/v1/instances/web-1/stop", json!({"grace_s": 5})).await;
    post("/v1/instances", json!({"name": "web-2", "image": "debian", "flavor": "micro"})).await;
    post("/v1/tenants/acme/disable", json!({})).await;
    post("/v1/tenants/acme/enable", json!({})).await;
    token["secret"].as_str().expect("a secret").to_owned()
}

#[tokio::test]
async fn every_event_that_is_sent_fits_its_schema_and_the_document() {
    let gateway = Gateway::start().await;
    let ann = life(&gateway).await;
    let by_type = validators(&gateway, &ann).await;
    let (status, document) = gateway.ask(&ann, "", "GET", "/v1/asyncapi.json", Value::Null).await;
    assert_eq!((status, &document["asyncapi"]), (200, &json!("3.0.0")));
    let mut seen = BTreeSet::new();
    testkit::eventually(PATIENCE, "the last events", async || {
        let lines = lines(&gateway, &gateway.token, "types=gateway.TenantChanged").await;
        (lines.len() >= 2).then_some(())
    })
    .await;
    // whole, and as somebody sees them who is not shown the hosts
    for token in [&gateway.token, &ann] {
        for format in ["berth", "cloudevents"] {
            let lines = lines(&gateway, token, &format!("format={format}")).await;
            assert!(!lines.is_empty());
            for line in lines {
                let event = if format == "berth" { &line["event"] } else { &line };
                let name = event["type"].as_str().expect("a type");
                let name = name.strip_prefix("io.berth.").unwrap_or(name).replace(".v1.", ".");
                check(&by_type[&name], &name, &event["data"]);
                check(&envelope(&document, &name), &name, event);
                seen.insert(name);
            }
        }
    }
    for wanted in [
        "gateway.TenantCreated",
        "gateway.TenantChanged",
        "gateway.UserCreated",
        "gateway.UserChanged",
        "gateway.TokenCreated",
        "gateway.TokenRevoked",
        "gateway.FlavorCreated",
        "gateway.OperationAccepted",
        "gateway.AuditRecorded",
        "gateway.LoginBlocked",
        "storage.ImageImported",
        "scheduler.HostRegistered",
        "scheduler.InstanceReady",
    ] {
        assert!(seen.contains(wanted), "{wanted} did not happen: {seen:?}");
    }
    // a schema that took everything would prove nothing
    let ready = lines(&gateway, &gateway.token, "types=scheduler.InstanceReady").await;
    let mut data = ready[0]["event"]["data"].clone();
    data["instance"]["surprise"] = json!(1);
    assert!(!by_type["scheduler.InstanceReady"].is_valid(&data));
    data["instance"].as_object_mut().expect("an object").remove("surprise");
    data["instance"].as_object_mut().expect("an object").remove("revision");
    assert!(!by_type["scheduler.InstanceReady"].is_valid(&data));
    gateway.stop().await;
}

/// What the document says of a message, as a schema of its own.
fn envelope(document: &Value, name: &str) -> Validator {
    let (service, event) = name.split_once('.').expect("service and event");
    let payload = &document["components"]["messages"][format!("{service}.v1.{event}")]["payload"];
    let mut schema = payload.clone();
    schema["components"] = json!({"schemas": document["components"]["schemas"]});
    jsonschema::draft7::new(&schema).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[tokio::test]
async fn the_catalogue_is_for_everyone_with_a_token() {
    let gateway = Gateway::start().await;
    let body = json!({"name": "narrow", "permissions": ["instance.read"]});
    let (_, token) = gateway.call("POST", "/v1/tokens", body).await;
    let token = token["secret"].as_str().expect("a secret");
    for path in ["/v1/asyncapi.json", "/v1/schemas", "/v1/schemas/scheduler.v1.InstanceReady"] {
        assert_eq!(gateway.ask(token, "", "GET", path, Value::Null).await.0, 200, "{path}");
        let stranger = gateway.http.get(gateway.url(path)).send().await.expect("an answer");
        assert_eq!(stranger.status(), 401, "{path}");
    }
    let (status, problem) = gateway.call("GET", "/v1/schemas/scheduler.v1.Nothing", Value::Null).await;
    assert_eq!((status, &problem["code"]), (404, &json!("EVENT_TYPE_NOT_FOUND")));
    gateway.stop().await;
}

/// Whoever subscribed to a type relies on it: one that is gone fails here, a new one is written down.
#[tokio::test]
async fn no_type_of_event_is_taken_away() {
    let gateway = Gateway::start().await;
    let (_, answer) = gateway.call("GET", "/v1/schemas", Value::Null).await;
    let now: BTreeSet<String> = answer["types"]
        .as_array()
        .expect("types")
        .iter()
        .filter_map(|event| event["type"].as_str().map(str::to_owned))
        .collect();
    gateway.stop().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/catalogue/types.txt");
    let kept: BTreeSet<String> =
        std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    let gone: Vec<&String> = kept.difference(&now).collect();
    assert!(gone.is_empty(), "{gone:?}: others read these events; they cannot be taken away");
    if std::env::var_os(WRITE).is_some() {
        let text: String = now.iter().map(|name| format!("{name}\n")).collect();
        std::fs::write(&path, text).expect("our own file");
        return;
    }
    let new: Vec<&String> = now.difference(&kept).collect();
    assert!(new.is_empty(), "{new:?} is not in {}: run this test with {WRITE}=1", path.display());
}
