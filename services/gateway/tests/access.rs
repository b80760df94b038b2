//! Tenants, users, roles, tokens and logins through the public door.

mod harness;

use bus::watch::{Item, Query, watch};
use chassis::{Telemetry, TelemetrySettings};
use harness::{Gateway, answer};
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

const PASSWORD: &str = "correct horse battery";

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} in {value}"))
        .to_owned()
}

/// What the administrator asks for in a tenant, and gets.
async fn as_admin(gateway: &Gateway, tenant: &str, method: &str, path: &str, body: Value) -> Value {
    let (status, answer) = gateway.ask(&gateway.token, tenant, method, path, body).await;
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

/// A tenant with a user who has a password.
async fn tenant_with(gateway: &Gateway, tenant: &str, user: &str, role: &str) {
    as_admin(gateway, "", "POST", "/v1/tenants", json!({"name": tenant})).await;
    let body = json!({"name": user, "password": PASSWORD, "roles": [role]});
    as_admin(gateway, tenant, "POST", "/v1/users", body).await;
}

async fn login(gateway: &Gateway, user: &str, password: &str, totp: &str) -> (u16, Value) {
    let body = json!({"user": user, "password": password, "totp": totp}).to_string();
    let request = gateway.http.post(gateway.url("/v1/login"));
    answer(request.header("content-type", "application/json").body(body)).await
}

async fn session(gateway: &Gateway, user: &str) -> String {
    let (status, session) = login(gateway, user, PASSWORD, "").await;
    assert_eq!(status, 200, "{session}");
    text(&session, "/secret")
}

async fn code(gateway: &Gateway, token: &str, method: &str, path: &str, body: Value) -> (u16, String) {
    let (status, answer) = gateway.ask(token, "", method, path, body).await;
    (status, answer["code"].as_str().unwrap_or_default().to_owned())
}

/// Passwords compared with a hash so far. All of them cost the same.
async fn comparisons(gateway: &Gateway) -> u64 {
    let metrics = gateway.metrics().await;
    let of_each_cost: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("berth_gateway_password_checks_total{")).collect();
    match of_each_cost.as_slice() {
        [] => 0,
        [line] => {
            assert!(line.contains("m=19456,t=2,p=1"), "{line}");
            line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count")
        }
        several => panic!("comparisons of different cost: {several:?}"),
    }
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_member_logs_in_works_at_home_and_logs_out() {
    let gateway = Gateway::start().await;
    tenant_with(&gateway, "acme", "ann", "developer").await;
    let ann = session(&gateway, "ann@acme").await;
    assert!(ann.starts_with("berth_") && ann.len() == 70, "{ann}");
    let (_, me) = gateway.ask(&ann, "", "GET", "/v1/whoami", Value::Null).await;
    assert_eq!((&me["tenant"], &me["user"]["name"]), (&json!("acme"), &json!("ann")));
    let permissions = me["permissions"].as_array().expect("a list");
    assert!(permissions.contains(&json!("instance.create")) && !permissions.contains(&json!("host.read")));
    assert_eq!(code(&gateway, &ann, "GET", "/v1/instances", Value::Null).await, is(200, ""));
    assert_eq!(code(&gateway, &ann, "GET", "/v1/hosts", Value::Null).await, is(403, "PERMISSION_DENIED"));
    assert_eq!(code(&gateway, &ann, "GET", "/v1/users", Value::Null).await, is(403, "PERMISSION_DENIED"));
    // the administrator of the platform works in the tenant it names
    let (_, me) = gateway.ask(&gateway.token, "acme", "GET", "/v1/whoami", Value::Null).await;
    assert_eq!((&me["tenant"], &me["user"]["name"]), (&json!("acme"), &json!("admin")));
    let (_, me) = gateway.call("GET", "/v1/whoami", Value::Null).await;
    assert_eq!((&me["tenant"], &me["token"]), (&json!("default"), &json!("bootstrap")));

    assert_eq!(code(&gateway, &ann, "POST", "/v1/logout", Value::Null).await, is(200, ""));
    assert_eq!(code(&gateway, &ann, "GET", "/v1/whoami", Value::Null).await, is(401, "UNAUTHENTICATED"));
    gateway.stop().await;
}

#[tokio::test]
async fn whatever_is_wrong_at_login_is_answered_alike_after_the_same_work() {
    let _telemetry = Telemetry::start("gateway", &TelemetrySettings::default()).expect("starts");
    let gateway = Gateway::start().await;
    tenant_with(&gateway, "acme", "ann", "developer").await;
    as_admin(&gateway, "acme", "POST", "/v1/users", json!({"name": "robot", "roles": ["developer"]})).await;
    as_admin(&gateway, "acme", "POST", "/v1/users", json!({"name": "gone", "password": PASSWORD})).await;
    as_admin(&gateway, "acme", "POST", "/v1/users/gone/disable", Value::Null).await;
    let mut answers = Vec::new();
    let mut before = comparisons(&gateway).await;
    for (user, password) in [
        ("ann@acme", "wrong password"),
        ("nobody@acme", PASSWORD),
        ("ann@nowhere", PASSWORD),
        ("ann", PASSWORD),
        ("robot@acme", PASSWORD),
        ("gone@acme", PASSWORD),
        ("", ""),
        ("ann@acme", &"x".repeat(1000)),
    ] {
        let (status, problem) = login(&gateway, user, password, "").await;
        assert_eq!((status, &problem["code"]), (401, &json!("LOGIN_FAILED")), "{user}: {problem}");
        answers.push(problem);
        let after = comparisons(&gateway).await;
        assert_eq!(after, before + 1, "{user}: one comparison, whatever is wrong");
        before = after;
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn guessing_passwords_takes_longer_and_longer_and_is_said() {
    let gateway = Gateway::start().await;
    tenant_with(&gateway, "acme", "ann", "developer").await;
    let mut refused = None;
    for _ in 0..12 {
        let body = json!({"user": "ann@acme", "password": "wrong password"}).to_string();
        let request = gateway.http.post(gateway.url("/v1/login")).header("content-type", "application/json");
        let response = request.body(body).send().await.expect("an answer");
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
        assert_eq!(response.status(), 401);
    }
    let refused = refused.expect("a pause after five wrong logins");
    let seconds: u64 = refused.headers()["retry-after"].to_str().expect("ascii").parse().expect("seconds");
    assert!((1..=61).contains(&seconds), "{seconds}");
    // also with the right password: whoever guesses must not learn that this one was right
    assert_eq!(login(&gateway, "ann@acme", PASSWORD, "").await.1["code"], "TOO_MANY_LOGINS");
    let query = Query {
        subjects: vec!["evt.gateway.*.LoginBlocked.platform.>".into()],
        follow: true,
        ..Query::default()
    };
    let mut items = watch(gateway.chassis.bus.clone(), query);
    let item = tokio::time::timeout(harness::PATIENCE, items.recv()).await.expect("in time");
    assert!(matches!(item, Some(Ok(Item::Event { .. }))), "{item:?}");
    testkit::eventually(harness::PATIENCE, "the pause to end", async || {
        (login(&gateway, "ann@acme", PASSWORD, "").await.0 == 200).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_is_shown_once_narrowed_and_taken_away_at_once() {
    let gateway = Gateway::start().await;
    tenant_with(&gateway, "acme", "ann", "developer").await;
    let ann = session(&gateway, "ann@acme").await;
    let body = json!({"name": "ci", "permissions": ["instance.read"], "lifetime_s": 3600});
    let keyed = |key: &str| {
        gateway
            .request(&ann, "", "POST", "/v1/tokens")
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .body(body.to_string())
    };
    let (status, made) = answer(keyed("one")).await;
    assert_eq!(status, 200, "{made}");
    let ci = text(&made, "/secret");
    let (_, again) = answer(keyed("one")).await;
    assert_eq!((&again["token"]["id"], &again["secret"]), (&made["token"]["id"], &json!("")), "shown once");
    let note = text(&again, "/note");
    assert!(note.contains("first answer") && note.contains("revoke this token"), "{note}");
    assert_eq!(made["note"], "", "nothing to add to a secret");
    assert_eq!(answer(keyed("two")).await.1["code"], "TOKEN_EXISTS");
    assert_eq!(code(&gateway, &ci, "GET", "/v1/instances", Value::Null).await, is(200, ""));
    assert_eq!(code(&gateway, &ci, "GET", "/v1/images", Value::Null).await, is(403, "PERMISSION_DENIED"));
    assert_eq!(
        code(&gateway, &ann, "POST", "/v1/tokens", json!({"name": "x", "permissions": ["host.read"]})).await,
        is(400, "INVALID_ARGUMENT")
    );
    testkit::eventually(harness::PATIENCE, "the use to be noted", async || {
        let (_, list) = gateway.ask(&ann, "", "GET", "/v1/tokens", Value::Null).await;
        let ci = list["tokens"].as_array().expect("a list").iter().find(|t| t["name"] == "ci").cloned()?;
        (ci["last_used_from"] == "127.0.0.1" && ci["last_used_at_us"] != 0).then_some(())
    })
    .await;
    assert_eq!(code(&gateway, &ann, "DELETE", "/v1/tokens/ci", Value::Null).await, is(200, ""));
    assert_eq!(code(&gateway, &ci, "GET", "/v1/instances", Value::Null).await, is(401, "UNAUTHENTICATED"));
    assert_eq!(
        code(&gateway, &ann, "DELETE", "/v1/tokens/ci", Value::Null).await,
        is(404, "TOKEN_NOT_FOUND")
    );
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_user_may_follows_its_roles_at_once() {
    let gateway = Gateway::start().await;
    tenant_with(&gateway, "acme", "ann", "auditor").await;
    as_admin(&gateway, "", "POST", "/v1/tenants", json!({"name": "other"})).await;
    let ann = session(&gateway, "ann@acme").await;
    let create = json!({"name": "bob"});
    let denied = is(403, "PERMISSION_DENIED");
    assert_eq!(code(&gateway, &ann, "POST", "/v1/users", create.clone()).await, denied);
    let bound = as_admin(&gateway, "acme", "POST", "/v1/users/ann/roles", json!({"role": "admin"})).await;
    assert_eq!(bound["user"]["roles"].as_array().map(Vec::len), Some(2));
    assert_eq!(code(&gateway, &ann, "POST", "/v1/users", create).await, is(200, ""));
    // nobody gives roles elsewhere, and nobody locks themselves out
    let elsewhere = json!({"role": "admin", "tenant": "other"});
    assert_eq!(
        code(&gateway, &ann, "POST", "/v1/users/bob/roles", elsewhere).await,
        is(404, "TENANT_NOT_FOUND")
    );
    for (method, path) in [
        ("DELETE", "/v1/users/ann/roles/admin"),
        ("POST", "/v1/users/ann/disable"),
        ("DELETE", "/v1/users/ann"),
    ] {
        assert_eq!(
            code(&gateway, &ann, method, path, Value::Null).await,
            is(409, "USER_IS_YOURSELF"),
            "{path}"
        );
    }
    as_admin(&gateway, "acme", "DELETE", "/v1/users/ann/roles/admin", Value::Null).await;
    assert_eq!(
        code(&gateway, &ann, "GET", "/v1/users/bob", Value::Null).await,
        is(200, ""),
        "still an auditor"
    );
    assert_eq!(code(&gateway, &ann, "DELETE", "/v1/users/bob", Value::Null).await, denied);
    // a user of the platform may have a role in one tenant
    let body = json!({"name": "carl", "password": PASSWORD});
    as_admin(&gateway, "platform", "POST", "/v1/users", body).await;
    let body = json!({"role": "developer", "tenant": "other"});
    as_admin(&gateway, "platform", "POST", "/v1/users/carl/roles", body).await;
    let carl = session(&gateway, "carl").await;
    let (_, me) = gateway.ask(&carl, "", "GET", "/v1/whoami", Value::Null).await;
    assert_eq!(me["tenant"], "other");
    assert_eq!(gateway.ask(&carl, "acme", "GET", "/v1/whoami", Value::Null).await.0, 404);
    // a disabled user is out, with whatever token; another password ends sessions
    as_admin(&gateway, "platform", "POST", "/v1/users/carl/disable", Value::Null).await;
    assert_eq!(code(&gateway, &carl, "GET", "/v1/whoami", Value::Null).await, is(401, "UNAUTHENTICATED"));
    let body = json!({"current_password": PASSWORD, "new_password": "another long password"});
    assert_eq!(code(&gateway, &ann, "POST", "/v1/whoami/password", body).await, is(200, ""));
    assert_eq!(code(&gateway, &ann, "GET", "/v1/whoami", Value::Null).await, is(401, "UNAUTHENTICATED"));
    assert_eq!(login(&gateway, "ann@acme", "another long password", "").await.0, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn a_tenant_is_disabled_emptied_and_deleted_for_good() {
    let gateway = Gateway::start().await;
    tenant_with(&gateway, "acme", "ann", "admin").await;
    let ann = session(&gateway, "ann@acme").await;
    let token = gateway.token.clone();
    for name in ["platform", "Acme", "a.b"] {
        let body = json!({"name": name});
        assert_eq!(
            code(&gateway, &token, "POST", "/v1/tenants", body).await,
            is(400, "INVALID_ARGUMENT"),
            "{name}"
        );
    }
    let exists = is(409, "TENANT_EXISTS");
    assert_eq!(code(&gateway, &token, "POST", "/v1/tenants", json!({"name": "acme"})).await, exists);
    let path = "/v1/tenants/acme";
    assert_eq!(code(&gateway, &token, "DELETE", path, Value::Null).await, is(409, "TENANT_NOT_DISABLED"));
    as_admin(&gateway, "", "POST", "/v1/tenants/acme/disable", Value::Null).await;
    let disabled = is(409, "TENANT_DISABLED");
    assert_eq!(code(&gateway, &ann, "POST", "/v1/users", json!({"name": "bob"})).await, disabled);
    assert_eq!(code(&gateway, &ann, "GET", "/v1/users", Value::Null).await, is(200, ""), "reading goes on");
    let (status, problem) = gateway.call("DELETE", path, Value::Null).await;
    assert_eq!(
        (status, &problem["code"], &problem["reasons"]),
        (409, &json!("TENANT_NOT_EMPTY"), &json!(["1 user"]))
    );
    as_admin(&gateway, "", "POST", "/v1/tenants/acme/enable", Value::Null).await;
    as_admin(&gateway, "acme", "DELETE", "/v1/users/ann", Value::Null).await;
    assert_eq!(code(&gateway, &ann, "GET", "/v1/whoami", Value::Null).await, is(401, "UNAUTHENTICATED"));
    as_admin(&gateway, "", "POST", "/v1/tenants/acme/disable", Value::Null).await;
    let gone = as_admin(&gateway, "", "DELETE", path, Value::Null).await;
    assert_eq!(gone["tenant"]["state"], "TENANT_STATE_DELETED");
    assert_eq!(code(&gateway, &token, "GET", path, Value::Null).await, is(404, "TENANT_NOT_FOUND"));
    assert_eq!(gateway.ask(&token, "acme", "GET", "/v1/users", Value::Null).await.0, 404);
    assert_eq!(code(&gateway, &token, "POST", "/v1/tenants", json!({"name": "acme"})).await, exists);
    let path = "/v1/tenants/default";
    assert_eq!(code(&gateway, &token, "DELETE", path, Value::Null).await, is(409, "TENANT_IS_DEFAULT"));
    gateway.stop().await;
}

#[tokio::test]
async fn one_time_codes_are_needed_once_they_are_confirmed_and_taken_once() {
    let _telemetry = Telemetry::start("gateway", &TelemetrySettings::default()).expect("starts");
    let gateway = Gateway::start().await;
    tenant_with(&gateway, "acme", "ann", "developer").await;
    let ann = session(&gateway, "ann@acme").await;
    let (_, wrong) =
        gateway.ask(&ann, "", "POST", "/v1/whoami/totp", json!({"password": "not mine at all"})).await;
    assert_eq!(wrong["code"], "LOGIN_FAILED");
    let (status, enrolled) =
        gateway.ask(&ann, "", "POST", "/v1/whoami/totp", json!({"password": PASSWORD})).await;
    assert_eq!(status, 200, "{enrolled}");
    assert!(text(&enrolled, "/uri").starts_with("otpauth://totp/Berth:ann%40acme?secret="));
    let secret = Secret::try_from_base32(text(&enrolled, "/secret")).expect("base32");
    let device = Builder::new().with_secret(secret).build().expect("a device");
    let now =
        || u64::try_from(kernel::Clock::now(&kernel::SystemClock).micros() / 1_000_000).expect("positive");
    let shown = |at: u64| device.generate(at).to_string();

    assert_eq!(login(&gateway, "ann@acme", PASSWORD, "").await.0, 200, "not confirmed yet");
    let confirm = "/v1/whoami/totp/confirm";
    assert_eq!(code(&gateway, &ann, "POST", confirm, json!({"code": "000000"})).await, is(409, "TOTP_WRONG"));
    assert_eq!(code(&gateway, &ann, "POST", confirm, json!({"code": shown(now())})).await, is(200, ""));
    for wrong in ["", "000000", "12345"] {
        let (status, problem) = login(&gateway, "ann@acme", PASSWORD, wrong).await;
        assert_eq!((status, &problem["code"]), (401, &json!("LOGIN_FAILED")), "{wrong:?}");
    }
    let used = shown(now());
    assert_eq!(login(&gateway, "ann@acme", PASSWORD, &used).await.0, 200);
    let before = comparisons(&gateway).await;
    assert_eq!(login(&gateway, "ann@acme", PASSWORD, &used).await.0, 401, "a code counts once");
    assert_eq!(comparisons(&gateway).await, before + 1, "and takes no longer than a wrong password");
    as_admin(&gateway, "acme", "POST", "/v1/users/ann/totp/reset", Value::Null).await;
    assert_eq!(login(&gateway, "ann@acme", PASSWORD, "").await.0, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn secrets_stand_nowhere_in_the_open() {
    let gateway = Gateway::start().await;
    tenant_with(&gateway, "acme", "ann", "developer").await;
    let ann = session(&gateway, "ann@acme").await;
    let (_, enrolled) = gateway.ask(&ann, "", "POST", "/v1/whoami/totp", json!({"password": PASSWORD})).await;
    let totp = text(&enrolled, "/secret");
    let seed = Secret::try_from_base32(&totp).expect("base32");
    let needles: Vec<Vec<u8>> = vec![
        PASSWORD.into(),
        ann.trim_start_matches("berth_").into(),
        totp.clone().into(),
        seed.as_ref().to_vec(),
        b"$argon2id$".to_vec(),
    ];
    let holds = |bytes: &[u8]| {
        needles.iter().position(|needle| bytes.windows(needle.len()).any(|part| part == needle.as_slice()))
    };
    // what is said
    testkit::eventually(harness::PATIENCE, "the last change to be said", async || {
        let (_, shown) = gateway.call("GET", "/v1/events?types=gateway.UserChanged", Value::Null).await;
        shown.as_str()?.contains("gateway.UserChanged").then_some(())
    })
    .await;
    let mut items = watch(gateway.chassis.bus.clone(), Query::default());
    let mut seen = 0;
    while let Some(item) = items.recv().await {
        let Item::Event { envelope, .. } = item.expect("readable") else { panic!("a gap") };
        assert_eq!(holds(&envelope.payload), None, "{}", envelope.subject);
        seen += 1;
    }
    assert!(seen > 8, "{seen} events");
    // what is shown of it: no sealed part and no hash of a token
    let (_, shown) = gateway.call("GET", "/v1/events?types=gateway", Value::Null).await;
    let shown = shown.as_str().expect("a stream of events");
    assert!(shown.contains("gateway.TokenCreated") && shown.contains("gateway.UserChanged"), "{shown}");
    for hidden in ["ciphertext", "\"hash\"", "\"hex\""] {
        assert!(!shown.contains(hidden), "{hidden} is shown: {shown}");
    }
    // what is kept
    let folder = gateway.folder.path().to_owned();
    gateway.chassis.tasks.stop().await;
    for entry in std::fs::read_dir(folder.join("gateway")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        assert_eq!(holds(&bytes), None, "{}", path.display());
    }
}

#[tokio::test]
async fn a_token_that_sends_too_much_is_told_when_to_come_again() {
    let gateway = Gateway::start_with(|settings, _| settings.token_requests_per_second = 3).await;
    let mut slowed = None;
    for _ in 0..200 {
        let response = gateway.rest("GET", "/v1/whoami").send().await.expect("an answer");
        if response.status() == 429 {
            slowed = Some(response);
            break;
        }
    }
    let slowed = slowed.expect("200 requests take less than a minute");
    assert_eq!(slowed.headers()["retry-after"], "1");
    gateway.stop().await;
}
