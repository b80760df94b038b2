//! One record for each call that changes something or is denied, through every method and both doors.

mod harness;

use contracts::Method;
use contracts::gateway::v1::{
    AuditOutcome, AuditRecord, KeyedHash, RoleBinding, Tenant, TenantCreated, TenantState, Token,
    TokenCreated, TokenKind, TokenRecord, User, UserCreated, UserRecord,
};
use harness::{Gateway, PATIENCE, answer};
use hmac::{Hmac, KeyInit, Mac};
use prost::Message as _;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::BTreeMap;
use store::Store;

const INSTANCE: &str = "018f0000-0000-7000-8000-000000000001";
const IMAGE: &str = "018f0000-0000-7000-8000-0000000000bb";
/// Somebody without a role.
const ANN: &str = "ann@acme";

/// Whether a caller may not make this call at all, whatever is in it.
fn is_denied(method: &Method, who: &str) -> bool {
    match method.permission.as_str() {
        "session.open" => false,
        "session.own" | "catalogue.read" => who.is_empty(),
        _ => who != "admin",
    }
}

/// A request for each method; it may be refused, but it has to be a request. `None`: the method has no fixture.
fn fixture(method: &str, turn: usize) -> Option<Value> {
    Some(match method {
        "ListInstances" | "ListImages" | "ListFlavors" | "ListHosts" | "ListOperations" | "WatchEvents"
        | "GetStatus" | "GetDiagnosis" | "ListDeadLetters" | "ListAudit" | "ExportAudit" | "ListTenants"
        | "GetAsyncApi" | "ListEventTypes" | "ListUsers" | "ListWebhooks" | "ListQuotas" | "ListRoles"
        | "ListTokens" | "WhoAmI" | "Logout" | "EnrolTotp" | "RemoveTotp" => {
            json!({})
        }
        "GetEventSchema" => json!({"type": "scheduler.InstanceReady"}),
        "PublishEvents" => json!({
            "events": [{"specversion": "1.0", "id": format!("e-{turn}"), "source": "/tests", "type": "test"}],
        }),
        "PublishAlerts" => json!({
            "version": "4",
            "receiver": "berth",
            "external_url": "http://alerts:9093",
            "alerts": [{
                "status": "firing", "labels": {"alertname": "Test"}, "starts_at": "2026-01-31T12:00:00Z",
                "fingerprint": format!("f-{turn}"),
            }],
        }),
        "CreateTenant" => json!({"name": format!("tenant-{turn}")}),
        "GetTenant" | "DisableTenant" | "EnableTenant" | "DeleteTenant" | "GetQuota" => {
            json!({"tenant": "nobodys"})
        }
        "SetQuota" => json!({"tenant": "default", "limits": {"networks": 100 + turn}}),
        "CreateUser" => json!({"name": format!("user-{turn}"), "roles": ["developer"]}),
        "GetUser" | "DisableUser" | "EnableUser" | "ResetUserTotp" | "DeleteUser" => {
            json!({"user": "nobody"})
        }
        "SetUserPassword" => json!({"user": "nobody", "password": "correct horse battery"}),
        "BindRole" | "UnbindRole" => json!({"user": "nobody", "role": "developer"}),
        "CreateToken" => json!({"name": format!("token-{turn}")}),
        "RevokeToken" => json!({"token": "nothing"}),
        "Login" => json!({"user": format!("nobody-{turn}"), "password": "correct horse battery"}),
        "BeginOidcLogin" => json!({"redirect_uri": "http://127.0.0.1:1/"}),
        "LoginWithOidc" => json!({"ticket": "t", "code": "c", "state": "s"}),
        "ChangePassword" => json!({"current_password": "wrong", "new_password": "correct horse battery"}),
        "ConfirmTotp" => json!({"code": "123456"}),
        "CreateInstance" => json!({"name": format!("made-{turn}"), "image": "debian", "flavor": "small"}),
        "PreviewInstance" => json!({"instance": {"name": "web-9", "image": "debian", "flavor": "small"}}),
        "GetInstance" | "StartInstance" | "StopInstance" | "RebootInstance" | "PauseInstance"
        | "ExpectGuestAgent" | "ResumeInstance" | "DeleteInstance" | "RestoreInstance"
        | "ExplainInstance" | "AttachConsole" => {
            json!({"instance": "web-1"})
        }
        "DropInstanceDisks" => json!({"instance": "web-1", "quarantine_id": INSTANCE}),
        "DropQuarantined" => json!({"host": "node-1", "quarantine_id": INSTANCE}),
        "ExecInstance" => json!({"instance": "web-1", "argv": ["true"]}),
        "GetExecOutput" | "GetOperation" => json!({"operation": INSTANCE}),
        "WaitOperation" => json!({"operation": INSTANCE, "timeout_ms": 1}),
        "ImportImage" => json!({"name": format!("image-{turn}")}),
        "GetImage" | "DeleteImage" => json!({"image": "debian"}),
        "UploadFile" => json!({"size_bytes": 3, "chunk": "YWJj"}),
        "CreateWebhook" => json!({"name": format!("hook-{turn}"), "url": "https://hooks.example.com/x"}),
        "GetWebhook"
        | "UpdateWebhook"
        | "DeleteWebhook"
        | "RotateWebhookSecret"
        | "ProbeWebhook"
        | "ListDeliveries" => json!({"webhook": "nothing"}),
        "ResendDelivery" => json!({"webhook": "nothing", "delivery": INSTANCE}),
        "CreateFlavor" => json!({
            "name": format!("flavor-{turn}"),
            "resources": {"vcpus_milli": 1000, "memory_bytes": 1 << 30},
        }),
        "GetHost" | "UncordonHost" => json!({"host": "node-1"}),
        "CordonHost" => json!({"host": "node-1", "reason": "disk"}),
        "SetHostOvercommit" => {
            json!({"host": "node-1", "vcpus_percent": 100, "memory_percent": 100, "disk_percent": 100})
        }
        "GetDeadLetter" | "ReplayDeadLetter" | "DropDeadLetter" => json!({"sequence": 1}),
        _ => return None,
    })
}

fn request(method: &Method, turn: usize) -> Value {
    let name = method.descriptor.name();
    harness::declared::request(method, &format!("made-{turn}"))
        .or_else(|| fixture(name, turn))
        .unwrap_or_else(|| {
            panic!("{name} has no request in this file: add one, so that its records are proven as well")
        })
}

/// The same message as a gRPC body.
fn framed(method: &Method, json: &Value) -> Vec<u8> {
    let message = DynamicMessage::deserialize(method.descriptor.input(), json).expect("a request");
    let bytes = message.encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(bytes.len()).expect("short").to_be_bytes());
    body.extend(bytes);
    body
}

async fn by_grpc(client: &reqwest::Client, gateway: &Gateway, method: &Method, json: &Value, token: &str) {
    let path = format!("/{}/{}", method.descriptor.parent_service().full_name(), method.descriptor.name());
    let mut call =
        client.post(gateway.url(&path)).header("content-type", "application/grpc").header("te", "trailers");
    if !token.is_empty() {
        call = call.bearer_auth(token);
    }
    let response = call.body(framed(method, json)).send().await.expect("an answer");
    let _ = response.bytes().await;
}

async fn by_rest(gateway: &Gateway, method: &Method, json: &Value, token: &str) {
    let mut path = method.path.clone();
    let mut body = json.clone();
    for (name, value) in json.as_object().expect("fields") {
        let place = format!("{{{name}}}");
        if path.contains(&place) {
            path = path.replace(&place, value.to_string().trim_matches('"'));
            body.as_object_mut().expect("fields").remove(name);
        }
    }
    let fields = body.as_object().expect("fields");
    let in_query = matches!(method.http_method.as_str(), "GET" | "DELETE") && !fields.is_empty();
    if in_query {
        let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        path = format!("{path}?{}", pairs.join("&"));
    }
    let verb = reqwest::Method::from_bytes(method.http_method.as_bytes()).expect("a method");
    let mut call = gateway.http.request(verb, gateway.url(&path));
    if !token.is_empty() {
        call = call.bearer_auth(token);
    }
    call = match method.http_method.as_str() {
        "GET" | "DELETE" => call,
        "PUT" if method.descriptor.name() == "UploadFile" => call.body("abc"),
        _ if method.descriptor.name() == "PublishEvents" => {
            call.header("content-type", "application/cloudevents-batch+json").body(body["events"].to_string())
        }
        _ => call.header("content-type", "application/json").body(body.to_string()),
    };
    let _ = answer(call).await;
}

/// Somebody in a tenant with these roles there. Events make them: no call, no record.
async fn somebody(gateway: &Gateway, tenant: &str, roles: &[&str]) -> User {
    let binding = |role: &&str| RoleBinding { role: (*role).to_owned(), tenant: tenant.into() };
    let user = User {
        id: kernel::UserId::new().to_string(),
        name: "ann".into(),
        tenant: tenant.into(),
        roles: roles.iter().map(binding).collect(),
        revision: 1,
        ..User::default()
    };
    let row =
        Tenant { name: tenant.into(), state: TenantState::Active as i32, revision: 1, ..Tenant::default() };
    let cause = bus::Cause::own("gateway").for_tenant(tenant);
    let mut work = gateway.others.begin(cause).await.expect("begins");
    work.say(&TenantCreated { tenant: Some(row) });
    work.say(&UserCreated { record: Some(UserRecord { user: Some(user.clone()), ..UserRecord::default() }) });
    work.commit().await.expect("commits");
    user
}

/// A new token of a user that is there.
async fn token_of(gateway: &Gateway, user: &User) -> String {
    let key = std::fs::read_to_string(gateway.folder.path().join("gateway/token.key")).expect("a key");
    let token = hex::encode(rand::random::<[u8; 32]>());
    let mut mac = Hmac::<Sha256>::new_from_slice(&hex::decode(key.trim()).expect("hex")).expect("any length");
    mac.update(token.as_bytes());
    let hash = KeyedHash { hex: hex::encode(mac.finalize().into_bytes()) };
    let id = kernel::TokenId::new().to_string();
    let kept = Token {
        name: format!("t-{id}"),
        id: id.clone(),
        kind: TokenKind::Api as i32,
        user_id: user.id.clone(),
        user: user.name.clone(),
        tenant: user.tenant.clone(),
        revision: 1,
        ..Token::default()
    };
    let cause = bus::Cause::own("gateway").for_tenant(&user.tenant);
    let mut work = gateway.others.begin(cause).await.expect("begins");
    work.say(&TokenCreated { record: Some(TokenRecord { token: Some(kept), hash: Some(hash) }) });
    work.commit().await.expect("commits");
    let url = format!("sqlite://{}/gateway/gateway.db", gateway.folder.path().display());
    let store = Store::open(&url, &[bus::MIGRATIONS, gateway::MIGRATIONS].concat()).await.expect("opens");
    testkit::eventually(PATIENCE, "the token", async || {
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE id = $1")
            .bind(&id)
            .fetch_one(store.reader())
            .await
            .expect("a count");
        (rows == 1).then_some(())
    })
    .await;
    store.close().await;
    token
}

/// The user behind the administrator's token.
async fn administrator(gateway: &Gateway) -> User {
    let (_, answer) = gateway.call("GET", "/v1/whoami", Value::Null).await;
    let text = |field: &str| answer["user"][field].as_str().expect("a user").to_owned();
    User { id: text("id"), name: text("name"), tenant: text("tenant"), ..User::default() }
}

/// Waits until the records stand for so many calls.
async fn settled(gateway: &Gateway, calls: u64) -> Vec<AuditRecord> {
    testkit::eventually(PATIENCE, "all records", async || {
        let all = gateway.records().await;
        (all.iter().map(|record| record.count).sum::<u64>() >= calls).then_some(all)
    })
    .await
}

async fn furnished() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.image(IMAGE, "debian").await;
    gateway.host("h1", "node-1", "agent-1").await;
    gateway.ready(INSTANCE, "web-1", "h1").await;
    gateway
}

#[tokio::test]
async fn every_mutating_or_denied_call_leaves_one_record_and_an_allowed_read_none() {
    let gateway = furnished().await;
    let (admin, ann) = (administrator(&gateway).await, somebody(&gateway, "acme", &[]).await);
    let token = token_of(&gateway, &ann).await;
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let mut expected: BTreeMap<(String, String, &str), u64> = BTreeMap::new();
    for (turn, method) in contracts::methods().iter().enumerate() {
        let name = method.descriptor.name().to_owned();
        for door in ["grpc", "rest"] {
            let json = request(method, 2 * turn + usize::from(door == "rest"));
            for (who, token) in [("admin", gateway.token.as_str()), ("", ""), (ANN, token.as_str())] {
                // who logs in is nobody yet, whatever token comes along
                if method.permission == "session.open" && !who.is_empty() {
                    continue;
                }
                // the token of who leaves opens nothing any more
                let last = match (name.as_str(), who) {
                    ("Logout", "admin") => token_of(&gateway, &admin).await,
                    ("Logout", ANN) => token_of(&gateway, &ann).await,
                    _ => token.to_owned(),
                };
                let token = last.as_str();
                // a console is an upgrade, which this client does not speak; what it is refused counts as well
                match door {
                    "grpc" => by_grpc(&http2, &gateway, method, &json, token).await,
                    _ => by_rest(&gateway, method, &json, token).await,
                }
                if method.mutating || is_denied(method, who) {
                    *expected.entry((name.clone(), door.to_owned(), who)).or_default() += 1;
                }
            }
        }
    }
    let all = settled(&gateway, expected.values().sum()).await;
    let mut found: BTreeMap<(String, String, &str), u64> = BTreeMap::new();
    for record in &all {
        let operation = record.method.rsplit('/').next().unwrap_or_default().to_owned();
        let who = ["admin", "", ANN].into_iter().find(|who| *who == record.actor).expect("one of them");
        let method =
            contracts::methods().iter().find(|m| m.descriptor.name() == operation).expect("a method");
        *found.entry((operation, record.door.clone(), who)).or_default() += record.count;
        let denied = record.outcome() == AuditOutcome::Denied;
        let wrong_password = method.permission.starts_with("session.")
            && ["LOGIN_FAILED", "OIDC_OFF"].contains(&record.refusal.as_str());
        assert_eq!(denied, wrong_password || is_denied(method, who), "{record:?}");
        assert_eq!(record.address, "127.0.0.1", "{record:?}");
        // what is only noted when a call is let go of would say so
        assert_ne!(record.code, "CANCELLED", "every answer was waited for: {record:?}");
        assert!(!record.correlation_id.is_empty() && !record.code.is_empty() && record.duration_us >= 0);
        match who {
            "admin" => assert_eq!(record.tenant, "default"),
            "" => assert_eq!((record.tenant.as_str(), record.code.as_str()), ("platform", "UNAUTHENTICATED")),
            _ if denied => {
                let code = if wrong_password { "UNAUTHENTICATED" } else { "PERMISSION_DENIED" };
                assert_eq!((record.tenant.as_str(), record.code.as_str()), ("acme", code));
            }
            _ => {
                assert_eq!(record.tenant, "acme");
                assert!(record.token.starts_with("t-"), "{record:?}");
            }
        }
    }
    assert_eq!(found, expected);

    // what was taken on says what it led to, and what it was about
    let begun = all.iter().find(|r| r.method.ends_with("/CreateInstance") && r.outcome() == AuditOutcome::Ok);
    let begun = begun.expect("an instance was made");
    assert_eq!(begun.correlation_id, begun.operation_id);
    let object = begun.objects.first().expect("an object");
    assert!(
        object.kind == "instance" && object.name.starts_with("made-") && object.id.len() == 36,
        "{object:?}"
    );
    let stopped = all.iter().find(|r| r.method.ends_with("/StopInstance") && r.outcome() == AuditOutcome::Ok);
    let stopped = stopped.expect("an instance was stopped");
    assert_eq!((stopped.objects[0].id.as_str(), stopped.revision_before), (INSTANCE, 1));
    let flavor = all.iter().find(|r| r.method.ends_with("/CreateFlavor") && r.outcome() == AuditOutcome::Ok);
    assert_eq!(flavor.expect("a flavor was made").revision_after, 1);
    let upload = all.iter().find(|r| r.method.ends_with("/UploadFile") && r.outcome() == AuditOutcome::Ok);
    assert_eq!(upload.expect("a file was sent").objects[0].id.len(), 36);
    gateway.stop().await;
}

#[tokio::test]
async fn repeats_of_a_denied_call_are_one_record() {
    let gateway = furnished().await;
    for _ in 0..50 {
        let (status, _) =
            answer(gateway.http.get(gateway.url("/v1/instances")).bearer_auth("f".repeat(64))).await;
        assert_eq!(status, 401);
    }
    let all = settled(&gateway, 1).await;
    assert_eq!(all.len(), 1, "{all:?}");
    let folder = gateway.folder.path().to_owned();
    // what was counted is written when the gateway stops
    gateway.chassis.tasks.stop().await;
    let url = format!("sqlite://{}/gateway/gateway.db", folder.display());
    let store = Store::open(&url, &[bus::MIGRATIONS, gateway::MIGRATIONS].concat()).await.expect("opens");
    let payloads: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT payload FROM outbox WHERE subject LIKE 'evt.gateway.v1.AuditRecorded.%' ORDER BY seq",
    )
    .fetch_all(store.reader())
    .await
    .expect("rows");
    let counts: Vec<u64> = payloads
        .iter()
        .filter_map(|bytes| contracts::gateway::v1::AuditRecorded::decode(&**bytes).expect("decodes").record)
        .map(|record| record.count)
        .collect();
    assert_eq!(counts, [1, 50]);
}

#[tokio::test]
async fn bad_requests_and_repeats_leave_their_records_too() {
    let gateway = furnished().await;
    let garbage =
        gateway.rest("POST", "/v1/flavors").header("content-type", "application/json").body("{garbage");
    assert_eq!(answer(garbage).await.0, 400);
    let body = json!({"name": "tiny", "resources": {"vcpus_milli": 1, "memory_bytes": 16 << 20}});
    for _ in 0..2 {
        assert_eq!(gateway.keyed("POST", "/v1/flavors", "key-1", body.clone()).await.0, 200);
    }
    let (status, _) = gateway.call("POST", "/v1/flavors", body).await;
    assert_eq!(status, 409);
    let all = settled(&gateway, 4).await;
    let codes: Vec<(&str, &str)> = all.iter().map(|r| (r.code.as_str(), r.refusal.as_str())).collect();
    let wanted = [
        ("INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("OK", ""),
        ("OK", ""),
        ("ALREADY_EXISTS", "FLAVOR_EXISTS"),
    ];
    assert_eq!(codes, wanted);
    assert!(all.iter().all(|record| record.actor == "admin"), "also of what is no request: {all:?}");
    assert_eq!(all[1].operation_id, all[2].operation_id, "the repeat says what the first one began");
    assert_eq!((all[1].idempotency_key.as_str(), all[1].actor.as_str()), ("key-1", "admin"));
    let request: Value = serde_json::from_str(&all[3].request).expect("json");
    assert_eq!(request["name"], "tiny");
    gateway.stop().await;
}

#[tokio::test]
async fn records_are_filtered_paged_exported_and_shown_to_their_tenant_only() {
    let gateway = furnished().await;
    for n in 0..3 {
        let body =
            json!({"name": format!("f{n}"), "resources": {"vcpus_milli": 1, "memory_bytes": 16 << 20}});
        assert_eq!(gateway.call("POST", "/v1/flavors", body).await.0, 200);
    }
    let token = token_of(&gateway, &somebody(&gateway, "acme", &["auditor"]).await).await;
    let denied = gateway.http.delete(gateway.url("/v1/instances/web-1")).bearer_auth(&token);
    assert_eq!(answer(denied).await.0, 403);
    settled(&gateway, 4).await;

    let names = |page: &Value| -> Vec<String> {
        let records = page["records"].as_array().cloned().unwrap_or_default();
        records.iter().map(|r| r["objects"][0]["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let (_, first) = gateway.call("GET", "/v1/audit?page_size=2&outcome=ok", Value::Null).await;
    assert_eq!(names(&first), ["f2", "f1"]);
    let next = first["next_page_token"].as_str().expect("a token");
    let (_, second) = gateway
        .call("GET", &format!("/v1/audit?page_size=2&outcome=ok&page_token={next}"), Value::Null)
        .await;
    assert_eq!((names(&second), &second["next_page_token"]), (vec!["f0".to_owned()], &json!("")));
    for (query, count) in [
        ("object=f1", 1),
        ("user=admin", 3),
        ("operation=CreateFlavor", 3),
        ("operation=DeleteInstance&outcome=denied", 1),
        ("tenant=acme", 1),
        ("tenant=nobody", 0),
        ("until_us=1", 0),
        ("since_us=1", 4),
    ] {
        let (status, page) = gateway.call("GET", &format!("/v1/audit?{query}"), Value::Null).await;
        assert_eq!((status, page["records"].as_array().map(Vec::len)), (200, Some(count)), "{query}: {page}");
    }
    let (status, problem) = gateway.call("GET", "/v1/audit?operation=Nothing", Value::Null).await;
    assert_eq!((status, &problem["field"]), (400, &json!("operation")));

    // an auditor of a tenant sees that tenant, whatever they ask for
    for query in ["", "?tenant=default", "?tenant=platform"] {
        let call = gateway.http.get(gateway.url(&format!("/v1/audit{query}"))).bearer_auth(&token);
        let (_, page) = answer(call).await;
        let tenants: Vec<&str> = page["records"]
            .as_array()
            .expect("records")
            .iter()
            .filter_map(|r| r["tenant"].as_str())
            .collect();
        assert_eq!(tenants, ["acme"], "{query}");
    }

    let lines = gateway.rest("GET", "/v1/audit/export").send().await.expect("an answer");
    assert_eq!(lines.headers()["content-type"], "application/x-ndjson");
    let text = lines.text().await.expect("a body");
    assert_eq!(text.lines().count(), 4);
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|r| r["id"].is_string())));
    let table = gateway
        .rest("GET", "/v1/audit/export?outcome=ok")
        .header("accept", "text/csv")
        .send()
        .await
        .expect("an answer");
    assert!(table.headers()["content-type"].to_str().expect("ascii").starts_with("text/csv"));
    let text = table.text().await.expect("a body");
    assert!(text.starts_with("id,at_us,tenant,actor,"), "{text}");
    assert_eq!(text.lines().count(), 4);
    gateway.stop().await;
}
