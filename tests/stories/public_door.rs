//! The public port from outside: REST and its document, idempotency, garbage, health and metrics.

use crate::one_instance::{IMAGE, prepare};
use node::SERVICES;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use stories::chaos::monkey::readers;
use stories::node::Node;
use testkit::eventually;

/// REST of a node.
pub struct Door {
    client: Client,
    base: String,
    token: String,
}

impl Door {
    pub fn of(node: &Node) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = std::fs::read(node.data_dir().join("pki/ca.pem")).expect("the node's authority");
        let authority = reqwest::Certificate::from_pem(&ca).expect("a certificate");
        let client = Client::builder().tls_certs_only([authority]).build().expect("a client");
        let token =
            std::fs::read_to_string(node.data_dir().join("gateway/admin.token")).expect("the first token");
        Self { client, base: format!("https://{}", node.address()), token: token.trim().to_owned() }
    }

    pub async fn post(&self, path: &str, key: &str, body: String) -> (StatusCode, Value) {
        self.post_with(path, &[("Idempotency-Key", key)], body).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: String) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.header("content-type", "application/json");
        let answer = request.body(body).send().await.expect("an answer");
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn rest_over_tls_does_what_the_command_line_does_once_per_key() {
    let node = Node::start(&["--simulated-hosts", "1"]).await;
    let (cli, door) = (node.cli(), Door::of(&node));
    prepare(&cli).await;
    let wanted = json!({ "name": "web-1", "image": IMAGE, "flavor": "micro" }).to_string();
    let (status, first) = door.post("/v1/instances", "key-1", wanted.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    let (_, again) = door.post("/v1/instances", "key-1", wanted.clone()).await;
    assert_eq!(first, again, "the same key and request: the same answer");
    let other = json!({ "name": "web-2", "image": IMAGE, "flavor": "micro" }).to_string();
    let (status, problem) = door.post("/v1/instances", "key-1", other).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    let operation = first["operation_id"].as_str().expect("an operation");
    eventually(Duration::from_secs(30), "the operation to succeed", async || {
        let (_, shown) = door.get(&format!("/v1/operations/{operation}/wait?timeout_ms=1000")).await;
        (shown["operation"]["state"] == "OPERATION_STATE_SUCCEEDED").then_some(())
    })
    .await;
    assert_eq!(cli.json(&["instance", "list"])["instances"].as_array().expect("a list").len(), 1);

    let (_, document) = door.get("/openapi.json").await;
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
    assert!(document["paths"]["/v1/instances/{instance}/start"]["post"].is_object());
}

#[tokio::test]
async fn garbage_gets_a_problem_and_strangers_get_nothing() {
    let node = Node::start(&["--simulated-hosts", "1"]).await;
    let door = Door::of(&node);
    for body in ["", "{", "[]", "null", "{\"nmae\":\"x\"}", "{\"name\":7}", "\u{0}\u{1}"] {
        let (status, problem) = door.post("/v1/instances", "k", body.to_owned()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body:?}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|d| !d.is_empty()), "{body:?}: {problem}");
    }
    let stranger = Door { token: "x".repeat(64), ..Door::of(&node) };
    for path in ["/v1/instances", "/v1/hosts", "/v1/events", "/v1/status"] {
        let (status, _) = stranger.get(path).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(door.get("/v1/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(door.get("/v1/instances").await.0, StatusCode::OK, "and the door still works");
}

#[tokio::test]
async fn health_readiness_and_metrics_of_every_service() {
    let node = Node::start(&["--simulated-hosts", "1"]).await;
    prepare(&node.cli()).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ops = |path: &str| format!("http://{}{path}", node.ops_address());
    let client = Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
    let text =
        async |path: &str| client.get(ops(path)).send().await.expect("an answer").text().await.expect("text");
    assert_eq!(text("/healthz").await, "ok\n");
    let ready: Value = serde_json::from_str(&text("/readyz").await).expect("json");
    assert_eq!(ready["healthy"], true, "{ready}");
    let names = ready["components"].as_array().expect("a list").iter().filter_map(|c| c["name"].as_str());
    let parts: BTreeSet<String> = names.map(str::to_owned).collect();
    // each service has the parts that it says it has, and no others
    let told: BTreeSet<String> = SERVICES.iter().flat_map(|service| service.parts()).collect();
    let own = ["broker", "broker.users", "nats"].map(str::to_owned);
    assert_eq!(parts, told.into_iter().chain(own).collect::<BTreeSet<_>>());
    let (_, diagnosis) = Door::of(&node).get("/v1/diagnosis").await;
    let streams = diagnosis["broker"]["streams"].as_array().expect("streams");
    let events = streams.iter().find(|stream| stream["name"] == "EVENTS").expect("the log");
    let consumers = events["consumers"].as_array().expect("consumers").iter();
    let consumers: BTreeSet<&str> = consumers.filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(consumers, readers().into_iter().collect(), "who says that it listens to events does");
    let metrics = text("/metrics").await;
    for service in readers() {
        let line = |l: &str| {
            l.starts_with("berth_bus_messages_total{") && l.contains(&format!("service=\"{service}\""))
        };
        assert!(metrics.lines().any(line), "messages of {service} are counted:\n{metrics}");
    }
}
