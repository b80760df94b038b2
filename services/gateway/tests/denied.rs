//! What the records of denied calls say they were about: the name that was sent, marked as no more than that.

mod harness;

use contracts::gateway::v1::flavor_service_client::FlavorServiceClient;
use contracts::gateway::v1::instance_service_client::InstanceServiceClient;
use contracts::gateway::v1::{AttachConsoleRequest, CreateFlavorRequest};
use harness::{Bearer, Gateway, answer};
use serde_json::{Value, json};

const INSTANCE: &str = "018f0000-0000-7000-8000-000000000001";

/// Records of an operation, oldest first: code, and each object as (name, id, only as it was sent).
async fn records(
    gateway: &Gateway,
    operation: &str,
    calls: u64,
) -> Vec<(String, Vec<(String, String, bool)>)> {
    let path = format!("/v1/audit?operation={operation}");
    let right = |page: &Value| {
        let all = page["records"].as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|record| record["count"].as_u64()).sum::<u64>() >= calls
    };
    let page = gateway.until("GET", &path, |(_, page)| right(page)).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |record: &Value| {
        assert!(record["outcome"] != "AUDIT_OUTCOME_DENIED" || record["request"] == "", "{record}");
        let objects = record["objects"].as_array().cloned().unwrap_or_default();
        let object = |it: &Value| (text(&it["name"]), text(&it["id"]), it["as_sent"] == true);
        (text(&record["code"]), objects.iter().map(object).collect())
    };
    page["records"].as_array().expect("records").iter().rev().map(one).collect()
}

fn sent(names: &[&str]) -> Vec<(String, String, bool)> {
    names.iter().map(|name| ((*name).to_owned(), String::new(), true)).collect()
}

fn is(code: &str, objects: Vec<(String, String, bool)>) -> (String, Vec<(String, String, bool)>) {
    (code.to_owned(), objects)
}

#[tokio::test]
async fn a_denied_call_names_what_it_was_about() {
    let gateway = Gateway::start().await;
    gateway.tenant("acme").await;
    let ann = gateway.member("acme", "developer").await;

    // in the path, of a caller who is known and of one who is not
    assert_eq!(gateway.ask(&ann, "", "DELETE", "/v1/tenants/default", Value::Null).await.0, 403);
    let stranger = gateway.http.delete(gateway.url("/v1/tenants/secret%20plans"));
    assert_eq!(answer(stranger).await.0, 401);
    let found = records(&gateway, "DeleteTenant", 2).await;
    assert!(found.contains(&is("PERMISSION_DENIED", sent(&["default"]))), "{found:?}");
    assert!(found.contains(&is("UNAUTHENTICATED", sent(&["secret plans"]))), "{found:?}");

    // in the body, through both doors; of a stranger nothing is read
    let body = json!({"name": "huge", "resources": {"vcpus_milli": 1, "memory_bytes": 16 << 20}});
    assert_eq!(gateway.ask(&ann, "", "POST", "/v1/flavors", body.clone()).await.0, 403);
    let mut flavors = FlavorServiceClient::with_interceptor(gateway.channel().await, Bearer::of(&ann));
    let request = CreateFlavorRequest { name: "wide".into(), ..CreateFlavorRequest::default() };
    let refused = flavors.create_flavor(request).await.expect_err("not hers to make");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let stranger = gateway.http.post(gateway.url("/v1/flavors")).header("content-type", "application/json");
    assert_eq!(answer(stranger.body(body.to_string())).await.0, 401);
    let found = records(&gateway, "CreateFlavor", 3).await;
    assert!(found.contains(&is("PERMISSION_DENIED", sent(&["huge"]))), "{found:?}");
    assert!(found.contains(&is("PERMISSION_DENIED", sent(&["wide"]))), "{found:?}");
    let nothing = is("UNAUTHENTICATED", vec![(String::new(), String::new(), false)]);
    assert!(found.contains(&nothing), "{found:?}");

    // a body that never ends keeps nobody waiting, and is no request
    let endless = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let call = gateway.request(&ann, "", "POST", "/v1/flavors").header("content-type", "application/json");
    let denied = answer(call.body(reqwest::Body::wrap_stream(endless)));
    let denied = tokio::time::timeout(harness::PATIENCE, denied).await.expect("answered");
    assert_eq!(denied.0, 403);
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_looked_up_is_told_from_what_was_only_sent() {
    let gateway = Gateway::start().await;
    gateway.host("h1", "node-1", "agent-1").await;
    gateway.ready(INSTANCE, "web-1", "h1").await;
    for (name, status) in [("nothing", 404), ("web-1", 202)] {
        let path = format!("/v1/instances/{name}/stop");
        assert_eq!(gateway.call("POST", &path, json!({})).await.0, status);
    }
    let found = records(&gateway, "StopInstance", 2).await;
    let web = vec![("web-1".to_owned(), INSTANCE.to_owned(), false)];
    assert_eq!(found, [is("NOT_FOUND", sent(&["nothing"])), is("OK", web.clone())]);

    // a console is a change, whoever answers it
    let (channel, bearer) = gateway.signed_in().await;
    let mut client = InstanceServiceClient::with_interceptor(channel, bearer);
    for name in ["nothing", "web-1"] {
        let first = AttachConsoleRequest { instance: name.into(), input: vec![] };
        client.attach_console(tokio_stream::iter([first])).await.expect_err("no host answers");
    }
    let found = records(&gateway, "AttachConsole", 2).await;
    assert_eq!(found, [is("NOT_FOUND", sent(&["nothing"])), is("UNAVAILABLE", web)]);
    gateway.stop().await;
}

/// What no table takes is a 400, on both doors and in reads too; and whoever sends it leaves a record like anybody else.
#[tokio::test]
async fn what_no_table_takes_is_refused_and_recorded() {
    let gateway = Gateway::start().await;
    let (nul, shown) = ("a\0b", "a\u{fffd}b");
    let refused = |(status, problem): (u16, Value)| {
        (
            status,
            problem["code"] == "INVALID_ARGUMENT",
            problem["field"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let bad = |field: &str| (400, true, field.to_owned());

    // a stranger who logs in, and one who is turned away at the door
    let login = gateway.http.post(gateway.url("/v1/login")).header("content-type", "application/json");
    let body = json!({"user": nul, "password": "guess"}).to_string();
    assert_eq!(refused(answer(login.body(body)).await), bad("user"));
    assert_eq!(records(&gateway, "Login", 1).await[0].0, "INVALID_ARGUMENT");
    let stranger = gateway.http.delete(gateway.url("/v1/instances/a%00b"));
    assert_eq!(answer(stranger).await.0, 401);
    assert_eq!(records(&gateway, "DeleteInstance", 1).await, [is("UNAUTHENTICATED", sent(&[shown]))]);

    // who may: in the path, in the query, in the body, in a map
    assert_eq!(refused(gateway.call("POST", "/v1/instances/a%00b/stop", json!({})).await), bad("instance"));
    assert_eq!(records(&gateway, "StopInstance", 1).await, [is("INVALID_ARGUMENT", sent(&[shown]))]);
    assert_eq!(refused(gateway.call("GET", "/v1/instances/a%00b", Value::Null).await), bad("instance"));
    let read = gateway.call("GET", "/v1/audit?user=a%00b", Value::Null).await;
    assert_eq!(refused(read), bad("user"));
    let create = json!({"name": "web", "image": "i", "flavor": "f", "labels": {"team": nul}});
    assert_eq!(refused(gateway.call("POST", "/v1/instances", create).await), bad("labels.team"));
    let key = json!({"name": "k", "public_key": nul});
    assert_eq!(refused(gateway.call("POST", "/v1/ssh-keys", key).await), bad("public_key"));

    // the other door, and the first message of a stream
    let mut flavors =
        FlavorServiceClient::with_interceptor(gateway.channel().await, Bearer::of(&gateway.token));
    let request = CreateFlavorRequest { name: nul.into(), ..CreateFlavorRequest::default() };
    let status = flavors.create_flavor(request).await.expect_err("no name");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let (channel, bearer) = gateway.signed_in().await;
    let mut client = InstanceServiceClient::with_interceptor(channel, bearer);
    let first = AttachConsoleRequest { instance: nul.into(), input: vec![] };
    let status = client.attach_console(tokio_stream::iter([first])).await.expect_err("no name");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert_eq!(records(&gateway, "AttachConsole", 1).await, [is("INVALID_ARGUMENT", sent(&[shown]))]);
    assert!(
        !gateway
            .metrics()
            .await
            .lines()
            .any(|l| l.starts_with("berth_gateway_audit_lost") && !l.ends_with(" 0"))
    );
    gateway.stop().await;
}
