//! No tenant learns anything of another: every method of the public interface, with every role, with the names and ids
//! of another tenant's objects. A method that this test does not know fails it.

mod harness;

use bus::Cause;
use contracts::gateway::v1::AttachConsoleRequest;
use contracts::gateway::v1::instance_service_client::InstanceServiceClient;
use contracts::scheduler::v1 as scheduler;
use contracts::storage::v1 as storage;
use harness::{Bearer, Gateway, declared};
use kernel::Message;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const INSTANCE: &str = "018f0000-0000-7000-8000-0000000000a1";
const IMAGE: &str = "018f0000-0000-7000-8000-0000000000b1";
const HOST: &str = "018f0000-0000-7000-8000-0000000000c1";
/// Nothing anywhere has this id or this name.
const NO_ID: &str = "018f0000-0000-7000-8000-0000000000ff";
const NO_NAME: &str = "nowhere-1";
/// Stands in the name of everything that is the other tenant's.
const MARK: &str = "bravo";

/// What a call is made of, with `OBJECT` where the name or id of an object goes.
struct Case {
    /// What kind of object it names; "" = none: then the answer must not hold anything of the other tenant.
    names: &'static str,
    /// Added to the path, for what stands in the query.
    query: &'static str,
    body: Value,
}

fn case(names: &'static str, query: &'static str, body: Value) -> Case {
    Case { names, query, body }
}

/// The call that would reach furthest: everything about it is right but the object.
fn fixture(method: &contracts::Method) -> Case {
    if let Some(op) = method.op {
        let creates = op.does == contracts::Does::List || op.creates();
        let mut body = declared::request(method, "made-1").expect("declared");
        if let Some(fields) = body.as_object_mut().filter(|_| !creates) {
            // it stands in the path
            fields.remove("name");
        }
        let empty =
            op.does == contracts::Does::List || body.as_object().is_none_or(serde_json::Map::is_empty);
        return case(if creates { "" } else { op.kind.name }, "", if empty { Value::Null } else { body });
    }
    match method.descriptor.name() {
        "GetInstance" | "StartInstance" | "RebootInstance" | "PauseInstance" | "ResumeInstance"
        | "DeleteInstance" | "RestoreInstance" | "DropInstanceDisks" | "ExplainInstance"
        | "AttachConsole" => case("instance", "", Value::Null),
        "ExpectGuestAgent" => case("instance", "", json!({"expected": false})),
        "StopInstance" => case("instance", "", json!({"grace_s": 5})),
        "ExecInstance" => case("instance", "", json!({"argv": ["true"]})),
        "GetExecOutput" | "GetOperation" | "WaitOperation" => case("operation", "", Value::Null),
        "ListOperations" => case("instance id", "?object_id=OBJECT", Value::Null),
        "WatchEvents" => case("instance id", "?object_id=OBJECT", Value::Null),
        "GetImage" | "DeleteImage" => case("image", "", Value::Null),
        "CreateInstance" => case("image", "", json!({"name": "web-1", "image": "OBJECT", "flavor": "micro"})),
        "PreviewInstance" => {
            let instance = json!({"name": "web-1", "image": "OBJECT", "flavor": "micro"});
            case("image", "", json!({"instance": instance}))
        }
        "ImportImage" => {
            let source = json!({"role": "ARTIFACT_ROLE_DISK", "upload_id": "OBJECT"});
            case("upload", "", json!({"name": "stolen", "sources": [source]}))
        }
        "GetTenant" | "DisableTenant" | "EnableTenant" | "DeleteTenant" | "GetQuota" => {
            case("tenant", "", Value::Null)
        }
        "SetQuota" => case("tenant", "", json!({"limits": {"instances": 1}})),
        "GetUser" | "DisableUser" | "EnableUser" | "ResetUserTotp" | "DeleteUser" => {
            case("user", "", Value::Null)
        }
        "SetUserPassword" => case("user", "", json!({"password": "correct horse battery"})),
        "BindRole" => case("user", "", json!({"role": "developer"})),
        "UnbindRole" => case("user", "", Value::Null),
        "CreateToken" => case("user", "", json!({"name": "mine", "user": "OBJECT"})),
        "ListTokens" => case("user", "?user=OBJECT", Value::Null),
        "RevokeToken" => case("token", "", Value::Null),
        "GetWebhook"
        | "UpdateWebhook"
        | "DeleteWebhook"
        | "RotateWebhookSecret"
        | "ProbeWebhook"
        | "ListDeliveries" => case("webhook", "", Value::Null),
        "ResendDelivery" => case("webhook", "", Value::Null),
        "CreateWebhook" => case(
            "",
            "",
            json!({"name": "mine", "url": "https://hooks.example.com/", "filter": {"object_id": INSTANCE}}),
        ),
        "GetHost" | "CordonHost" | "UncordonHost" | "DropQuarantined" => case("host", "", Value::Null),
        "SetHostOvercommit" => case("host", "", json!({"vcpus_percent": 100})),
        "GetAsyncApi" | "ListEventTypes" | "GetEventSchema" | "ListWebhooks" | "ListInstances"
        | "ListImages" | "UploadFile" | "ListFlavors" | "ListHosts" | "ListTenants" | "ListQuotas"
        | "ListUsers" | "ListRoles" | "GetStatus" | "GetDiagnosis" | "ListDeadLetters" | "GetDeadLetter"
        | "ReplayDeadLetter" | "DropDeadLetter" | "WhoAmI" | "Logout" | "ListAudit" | "ExportAudit" => {
            case("", "", Value::Null)
        }
        "PublishEvents" => {
            let event = json!({"specversion": "1.0", "id": "1", "source": "/tests", "type": "test"});
            case("", "", event)
        }
        "PublishAlerts" => {
            let alert = json!({
                "status": "firing", "labels": {"alertname": "Test"}, "startsAt": "2026-01-31T12:00:00Z",
                "fingerprint": "f",
            });
            case("", "", json!({"version": "4", "externalURL": "http://alerts:9093", "alerts": [alert]}))
        }
        "CreateFlavor" => case("", "", json!({"name": "tiny"})),
        "CreateTenant" => case("", "", json!({"name": "charlie"})),
        "CreateUser" => case("", "", json!({"name": "eve", "roles": ["developer"]})),
        "ChangePassword" | "EnrolTotp" | "ConfirmTotp" | "RemoveTotp" => case("", "", json!({})),
        "BeginOidcLogin" => case("", "", json!({"redirect_uri": "http://127.0.0.1:1/"})),
        "LoginWithOidc" => case("", "", json!({"ticket": "t", "code": "c", "state": "s"})),
        "Login" => case("", "", json!({"user": "bravo-bob@bravo", "password": "wrong password"})),
        other => panic!("{other} has no fixture: say here how it would reach another tenant's objects"),
    }
}

/// The other tenant's objects by kind, and what stands for them where there is nothing.
fn objects(found: &BTreeMap<&str, String>) -> BTreeMap<&'static str, Vec<(String, &'static str)>> {
    let of = |key: &str| found[key].clone();
    let mut objects = BTreeMap::from([
        ("instance", vec![(INSTANCE.to_owned(), NO_ID), ("bravo-web".to_owned(), NO_NAME)]),
        ("instance id", vec![(INSTANCE.to_owned(), NO_ID)]),
        ("image", vec![(IMAGE.to_owned(), NO_ID), ("bravo-image".to_owned(), NO_NAME)]),
        ("operation", vec![(of("operation"), NO_ID)]),
        ("upload", vec![(of("upload"), NO_ID)]),
        ("tenant", vec![("bravo".to_owned(), NO_NAME)]),
        ("user", vec![(of("user"), NO_ID), ("bravo-bob".to_owned(), NO_NAME)]),
        ("token", vec![(of("token"), NO_ID), ("bravo-token".to_owned(), NO_NAME)]),
        ("webhook", vec![(of("webhook"), NO_ID), ("bravo-hook".to_owned(), NO_NAME)]),
        ("host", vec![(HOST.to_owned(), NO_ID), ("bravo-host".to_owned(), NO_NAME)]),
    ]);
    objects.extend(
        declared::kinds().map(|kind| (kind.name, vec![(of(kind.name), NO_ID), (bravos(kind), NO_NAME)])),
    );
    objects
}

/// What the other tenant's object of a declared kind is called.
fn bravos(kind: &contracts::ObjectKind) -> String {
    format!("bravo-{}", kind.name.replace('_', "-"))
}

async fn say_in<M: Message>(gateway: &Gateway, tenant: &str, event: &M) {
    let cause = Cause::own("scheduler").for_tenant(tenant);
    let mut work = gateway.others.begin(cause).await.expect("begins");
    work.say(event);
    work.commit().await.expect("commits");
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} in {value}"))
        .to_owned()
}

/// Both tenants, and in the other one of everything.
async fn prepare(gateway: &Gateway) -> BTreeMap<&'static str, String> {
    for name in ["alpha", "bravo"] {
        let (status, answer) = gateway.call("POST", "/v1/tenants", json!({"name": name})).await;
        assert_eq!(status, 200, "{answer}");
    }
    let mut found = BTreeMap::new();
    let admin = &gateway.token;
    let (status, user) = gateway
        .ask(admin, "bravo", "POST", "/v1/users", json!({"name": "bravo-bob", "roles": ["admin"]}))
        .await;
    assert_eq!(status, 200, "{user}");
    found.insert("user", text(&user, "/user/id"));
    let body = json!({"name": "bravo-token", "user": "bravo-bob"});
    let (status, token) = gateway.ask(admin, "bravo", "POST", "/v1/tokens", body).await;
    assert_eq!(status, 200, "{token}");
    found.insert("token", text(&token, "/token/id"));
    let bob = text(&token, "/secret");

    let host = scheduler::Host {
        id: HOST.into(),
        name: "bravo-host".into(),
        agent_id: "bravo-agent".into(),
        revision: 1,
        ..scheduler::Host::default()
    };
    say_in(gateway, "platform", &scheduler::HostRegistered { host: Some(host), operations: vec![] }).await;
    let image = storage::Image {
        id: IMAGE.into(),
        tenant: "bravo".into(),
        name: "bravo-image".into(),
        revision: 1,
        phase: storage::ImagePhase::Ready as i32,
        ..storage::Image::default()
    };
    say_in(gateway, "bravo", &storage::ImageImported { image: Some(image), operations: vec![] }).await;
    let instance = scheduler::Instance {
        id: INSTANCE.into(),
        tenant: "bravo".into(),
        name: "bravo-web".into(),
        revision: 1,
        phase: scheduler::InstancePhase::Ready as i32,
        host_id: HOST.into(),
        host_name: "bravo-host".into(),
        ..scheduler::Instance::default()
    };
    say_in(gateway, "bravo", &scheduler::InstanceReady { instance: Some(instance), operations: vec![] })
        .await;
    testkit::eventually(harness::PATIENCE, "bravo's instance", async || {
        let (status, _) = gateway.ask(&bob, "", "GET", "/v1/instances/bravo-web", Value::Null).await;
        (status == 200).then_some(())
    })
    .await;
    let (status, begun) =
        gateway.ask(&bob, "", "POST", "/v1/instances/bravo-web/exec", json!({"argv": ["true"]})).await;
    assert_eq!(status, 202, "{begun}");
    found.insert("operation", text(&begun, "/operation_id"));
    let upload = gateway.http.put(gateway.url("/v1/uploads")).bearer_auth(&bob).body("bytes");
    let (status, upload) = harness::answer(upload).await;
    assert_eq!(status, 200, "{upload}");
    found.insert("upload", text(&upload, "/upload_id"));

    let body = json!({"name": "bravo-hook", "url": "https://hooks.example.com/bravo"});
    let (status, hook) = gateway.ask(&bob, "", "POST", "/v1/webhooks", body).await;
    assert_eq!(status, 200, "{hook}");
    found.insert("webhook", text(&hook, "/webhook/id"));

    for kind in declared::kinds() {
        let id = kernel::ObjectId::new().to_string();
        testkit::publish(&gateway.chassis.bus, &declared::created(kind, "bravo", &id, &bravos(kind))).await;
        let path = format!("/v1/{}/{}", kind.plural.replace('_', "-"), bravos(kind));
        testkit::eventually(harness::PATIENCE, "bravo's object", async || {
            (gateway.ask(&bob, "", "GET", &path, Value::Null).await.0 == 200).then_some(())
        })
        .await;
        found.insert(kind.name, id);
    }

    // it is there for its own tenant, and its members are not shown the hosts of the platform
    let (_, own) = gateway.ask(&bob, "", "GET", "/v1/instances/bravo-web", Value::Null).await;
    assert_eq!((&own["instance"]["id"], &own["instance"]["host_name"]), (&json!(INSTANCE), &json!("")));
    found
}

/// A token of somebody with a role in alpha.
async fn member(gateway: &Gateway, role: &str, suffix: &str) -> String {
    let name = format!("alpha-{role}{suffix}");
    let body = json!({"name": name, "roles": [role]});
    let (status, user) = gateway.ask(&gateway.token, "alpha", "POST", "/v1/users", body).await;
    assert_eq!(status, 200, "{user}");
    let body = json!({"name": "test", "user": name});
    let (status, token) = gateway.ask(&gateway.token, "alpha", "POST", "/v1/tokens", body).await;
    assert_eq!(status, 200, "{token}");
    text(&token, "/secret")
}

/// The path of a method with an object in its first place.
fn path(method: &contracts::Method, object: &str, query: &str) -> String {
    let mut path = method.path.clone();
    let first = path.split('{').nth(1).and_then(|rest| rest.split('}').next()).map(str::to_owned);
    if let Some(first) = first {
        path = path.replace(&format!("{{{first}}}"), object);
    }
    path.replace("{role}", "developer").replace("{delivery}", NO_ID) + &query.replace("OBJECT", object)
}

/// Status, headers that mean something, and body, with the object's name out of the way.
async fn reply(
    gateway: &Gateway,
    token: &str,
    tenant: &str,
    method: &contracts::Method,
    case: &Case,
    object: &str,
) -> (u16, String) {
    if method.descriptor.name() == "AttachConsole" {
        return console(gateway, token, tenant, object).await;
    }
    let body = case.body.to_string().replace("OBJECT", object);
    let request = gateway.request(token, tenant, &method.http_method, &path(method, object, case.query));
    let request = match (&case.body, method.descriptor.name()) {
        (_, "UploadFile") => request.body("bytes"),
        (_, "PublishEvents") => request.header("content-type", "application/cloudevents+json").body(body),
        (Value::Null, _) => request,
        _ => request.header("content-type", "application/json").body(body),
    };
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), said(answer.headers()));
    let body = answer.text().await.expect("a body").replace(object, "OBJECT");
    (status, format!("{headers}\n{body}"))
}

/// Audit records without what their tenant typed itself: the names it tried are its own words, and all else has to be about it.
fn without_own_words(reply: &str) -> String {
    let body = reply.replace("OBJECT", "1");
    let body = body.split_once("\n\n").expect("headers and a body").1;
    let mut records = Vec::new();
    for line in body.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        match line["records"].as_array() {
            Some(page) => records.extend(page.clone()),
            None => records.push(line),
        }
    }
    assert!(!records.is_empty(), "alpha did something: {reply}");
    for record in &mut records {
        assert_eq!(record["tenant"], "alpha", "{record}");
        let record = record.as_object_mut().expect("a record");
        for typed in ["request", "objects"] {
            record.remove(typed).unwrap_or_else(|| panic!("{typed} of {record:?}"));
        }
    }
    Value::from(records).to_string().to_lowercase()
}

fn said(headers: &HeaderMap) -> String {
    let kept = headers.iter().filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()));
    kept.map(|(name, value)| format!("{name}: {value:?}\n")).collect()
}

async fn console(gateway: &Gateway, token: &str, tenant: &str, object: &str) -> (u16, String) {
    let mut client =
        InstanceServiceClient::with_interceptor(gateway.channel().await, Bearer::of(token).acting_in(tenant));
    let first = AttachConsoleRequest { instance: object.to_owned(), input: vec![] };
    match client.attach_console(tokio_stream::iter([first])).await {
        Ok(_) => (200, String::new()),
        Err(refused) => {
            let status = match refused.code() {
                tonic::Code::NotFound => 404,
                tonic::Code::PermissionDenied => 403,
                _ => 500,
            };
            (status, format!("{} {}", refused.code(), refused.message().replace(object, "OBJECT")))
        }
    }
}

#[tokio::test]
async fn no_role_of_one_tenant_learns_of_another_through_any_method() {
    let gateway = Gateway::start().await;
    let found = prepare(&gateway).await;
    let objects = objects(&found);
    let (_, known) = gateway.call("GET", "/v1/roles", Value::Null).await;
    let mut walked = BTreeSet::new();
    for role in known["roles"].as_array().expect("roles") {
        let name = role["name"].as_str().expect("a name");
        let held: BTreeSet<&str> =
            role["tenant_permissions"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let token = member(&gateway, name, "").await;
        for method in contracts::methods() {
            let what = format!("{name}: {}", method.descriptor.name());
            walked.insert(method.descriptor.name().to_owned());
            let case = fixture(method);
            let everybodys = ["session.open", "session.own", "catalogue.read"];
            let may =
                held.contains(method.permission.as_str()) || everybodys.contains(&method.permission.as_str());
            let pairs = match case.names {
                "" => vec![("1".to_owned(), "1")],
                kind => objects[kind].clone(),
            };
            // a token of its own: it is gone afterwards
            let once;
            let token = match method.descriptor.name() {
                "Logout" => {
                    once = member(&gateway, name, "-leaving").await;
                    &once
                }
                _ => &token,
            };
            for (object, nowhere) in pairs {
                let there = reply(&gateway, token, "", method, &case, &object).await;
                let hidden = match method.permission.as_str() {
                    "audit.read" if may => without_own_words(&there.1),
                    _ => there.1.to_lowercase(),
                };
                assert!(
                    !hidden.contains(MARK) || method.permission == "session.open",
                    "{what} {object}: {there:?}"
                );
                if !may {
                    assert_eq!(there.0, 403, "{what}: {there:?}");
                    assert!(
                        there.1.contains("PERMISSION_DENIED") || there.1.contains("permission"),
                        "{what}"
                    );
                }
                if case.names.is_empty() {
                    assert!(may || there.0 == 403, "{what}: {there:?}");
                    continue;
                }
                let nothing = reply(&gateway, token, "", method, &case, nowhere).await;
                assert_eq!(there, nothing, "{what}: {object} is answered otherwise than {nowhere}");
                let lists = case.query.contains("object_id");
                assert!(!may || there.0 == 404 || (lists && there.0 == 200), "{what} {object}: {there:?}");
            }
            // naming the other tenant is like naming none, whatever is asked
            if method.permission != "session.open" && method.descriptor.name() != "Logout" {
                let there = reply(&gateway, token, "bravo", method, &case, NO_ID).await;
                let nowhere = reply(&gateway, token, "nowhere", method, &case, NO_ID).await;
                assert_eq!(there.0, 404, "{what}: {there:?}");
                assert_eq!(
                    (there.0, there.1.replace("bravo", "x")),
                    (404, nowhere.1.replace("nowhere", "x")),
                    "{what}"
                );
            }
        }
    }
    assert_eq!(walked.len(), contracts::methods().len());
    // nothing of the above changed anything there
    let path = "/v1/instances/bravo-web";
    let (status, web) = gateway.ask(&gateway.token, "bravo", "GET", path, Value::Null).await;
    assert_eq!((status, &web["instance"]["revision"]), (200, &json!(1)));
    let (_, user) = gateway.ask(&gateway.token, "bravo", "GET", "/v1/users/bravo-bob", Value::Null).await;
    assert_eq!((&user["user"]["revision"], &user["user"]["disabled"]), (&json!(1), &json!(false)));
    // whoever may act in both is shown where things are
    assert_eq!(web["instance"]["host_name"], "bravo-host");
    gateway.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_its_tenant() {
    let gateway = Gateway::start().await;
    prepare(&gateway).await;
    let token = member(&gateway, "admin", "").await;
    let body = json!({"name": "robot"});
    let mut ids = BTreeSet::new();
    for (token, tenant) in [(&gateway.token, "bravo"), (&token, "alpha")] {
        let request =
            gateway.request(token, tenant, "POST", "/v1/users").header("idempotency-key", "the-same");
        let request = request.header("content-type", "application/json").body(body.to_string());
        let (status, made) = harness::answer(request).await;
        assert_eq!((status, &made["user"]["tenant"]), (200, &json!(tenant)), "{made}");
        ids.insert(text(&made, "/user/id"));
    }
    assert_eq!(ids.len(), 2);
    gateway.stop().await;
}
