//! Quotas at the public door: set, shown, and what the gateway refuses because of them by itself.

mod harness;

use bus::watch::{Item, Query, watch};
use chassis::{Telemetry, TelemetrySettings};
use contracts::gateway::v1::TenantQuotaSet;
use contracts::scheduler::v1 as scheduler;
use gateway::NewTenantQuota;
use harness::{Gateway, PATIENCE};
use kernel::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const IMAGE: &str = "018f0000-0000-7000-8000-0000000000b1";
const QUOTA: &str = "/v1/tenants/acme/quota";
const GIB: u64 = 1 << 30;

async fn set(gateway: &Gateway, path: &str, limits: Value) -> Value {
    let (status, answer) = gateway.call("PUT", path, json!({"limits": limits})).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Used, limit and whether it is enforced, by name.
fn uses(answer: &Value) -> BTreeMap<String, (u64, Option<u64>, bool)> {
    let one = |one: &Value| {
        let name = one["name"].as_str().expect("a name").to_owned();
        let enforced = one["enforced"].as_bool().expect("a bool");
        (name, (one["used"].as_u64().expect("a number"), one["limit"].as_u64(), enforced))
    };
    answer["uses"].as_array().expect("uses").iter().map(one).collect()
}

fn instance(id: u32, tenant: &str, phase: scheduler::InstancePhase, revision: u64) -> scheduler::Instance {
    let resources =
        contracts::common::v1::Resources { vcpus_milli: 1000, memory_bytes: GIB, disk_bytes: 5 * GIB };
    scheduler::Instance {
        id: format!("018f0000-0000-7000-8000-{id:012}"),
        tenant: tenant.into(),
        name: format!("web-{id}"),
        revision,
        phase: phase as i32,
        spec: Some(scheduler::InstanceSpec { resources: Some(resources), ..Default::default() }),
        ..scheduler::Instance::default()
    }
}

async fn say_in<M: Message>(gateway: &Gateway, tenant: &str, event: &M) {
    let cause = bus::Cause::own("scheduler").for_tenant(tenant);
    let mut work = gateway.others.begin(cause).await.expect("begins");
    work.say(event);
    work.commit().await.expect("commits");
}

async fn until_used(gateway: &Gateway, instances: u64) {
    let what = format!("{instances} instances in use");
    testkit::eventually(PATIENCE, &what, async || {
        let (_, answer) = gateway.call("GET", QUOTA, Value::Null).await;
        (uses(&answer)["instances"].0 == instances).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_quota_is_set_as_a_whole_and_seen_by_its_tenant_alone() {
    let gateway = Gateway::start().await;
    for name in ["acme", "bravo"] {
        gateway.tenant(name).await;
    }
    let (_, fresh) = gateway.call("GET", QUOTA, Value::Null).await;
    assert_eq!((&fresh["quota"]["tenant"], &fresh["quota"]["revision"]), (&json!("acme"), &json!(0)));
    assert!(uses(&fresh).values().all(|(used, limit, _)| (*used, *limit) == (0, None)));

    let first = set(&gateway, QUOTA, json!({"instances": 2, "networks": 3, "memory_bytes": 8 * GIB})).await;
    assert_eq!(first["quota"]["revision"], 1);
    let shown = uses(&first);
    assert_eq!(shown["instances"], (0, Some(2), true));
    assert_eq!(shown["networks"], (0, Some(3), false), "said honestly: nobody counts networks");
    // the same again is no change, and what is left out is no limit
    assert_eq!(
        set(&gateway, QUOTA, json!({"instances": 2, "networks": 3, "memory_bytes": 8 * GIB})).await["quota"]
            ["revision"],
        1
    );
    let second = set(&gateway, QUOTA, json!({"instances": 0})).await;
    assert_eq!(second["quota"]["revision"], 2);
    assert_eq!((uses(&second)["instances"].1, uses(&second)["memory"].1), (Some(0), None));

    // who read an older one does not undo what was set meanwhile
    let stale = json!({"limits": {"instances": 9}, "if_revision": 1});
    let (status, refused) = gateway.call("PUT", QUOTA, stale).await;
    assert_eq!((status, &refused["code"]), (409, &json!("QUOTA_CHANGED")), "{refused}");
    let (status, _) = gateway.call("PUT", QUOTA, json!({"limits": {"instances": 9}, "if_revision": 2})).await;
    assert_eq!(status, 200);

    // wrong values are named, and so is a tenant that is not there
    for (body, field) in [
        (json!({"limits": {"requests_per_second": 0}}), "limits.requests_per_second"),
        (json!({"limits": {"disk_bytes": "9223372036854775808"}}), "limits.disk_bytes"),
        (json!({"limits": {"cpus": 1}}), "limits.cpus"),
    ] {
        let (status, refused) = gateway.call("PUT", QUOTA, body).await;
        assert_eq!(status, 400, "{refused}");
        assert!(refused.to_string().contains(field), "{refused}");
    }
    for method in ["GET", "PUT"] {
        let (status, _) = gateway.call(method, "/v1/tenants/nobodys/quota", json!({})).await;
        assert_eq!(status, 404);
    }

    // members see their own and change none
    for role in ["admin", "auditor"] {
        let token = gateway.member("acme", role).await;
        let (status, own) = gateway.ask(&token, "", "GET", QUOTA, Value::Null).await;
        assert_eq!((status, uses(&own)["instances"].1), (200, Some(9)), "{own}");
        let other = gateway.ask(&token, "", "GET", "/v1/tenants/bravo/quota", Value::Null).await;
        let none = gateway.ask(&token, "", "GET", "/v1/tenants/nobodys/quota", Value::Null).await;
        assert_eq!((other.0, none.0), (404, 404));
        assert_eq!(gateway.ask(&token, "", "PUT", QUOTA, json!({})).await.0, 403);
        assert_eq!(gateway.ask(&token, "", "GET", "/v1/quotas", Value::Null).await.0, 403);
    }
    let (_, all) = gateway.call("GET", "/v1/quotas?page_size=2", Value::Null).await;
    let names: Vec<&Value> =
        all["quotas"].as_array().expect("a list").iter().map(|q| &q["quota"]["tenant"]).collect();
    assert_eq!(names, ["acme", "bravo"]);
    assert_ne!(all["next_page_token"], "");

    // a record says what was before and after
    let (_, records) = gateway.call("GET", "/v1/audit?operation=SetQuota&outcome=ok", Value::Null).await;
    let newest = &records["records"][0];
    assert_eq!((&newest["revision_before"], &newest["revision_after"]), (&json!(2), &json!(3)), "{newest}");
    assert_eq!(newest["objects"][0]["name"], "acme");
    gateway.stop().await;
}

#[tokio::test]
async fn what_certainly_does_not_fit_is_refused_at_once() {
    let _telemetry = Telemetry::start("gateway", &TelemetrySettings::default()).expect("starts");
    let gateway = Gateway::start().await;
    gateway.tenant("acme").await;
    let token = gateway.member("acme", "developer").await;
    let image = contracts::storage::v1::Image {
        id: IMAGE.into(),
        tenant: "acme".into(),
        name: "debian".into(),
        revision: 1,
        phase: contracts::storage::v1::ImagePhase::Ready as i32,
        artifacts: vec![contracts::common::v1::Artifact { size_bytes: 700, ..Default::default() }],
        ..Default::default()
    };
    let event = contracts::storage::v1::ImageImported { image: Some(image), operations: vec![] };
    say_in(&gateway, "acme", &event).await;
    for id in [1, 2] {
        let ready = Some(instance(id, "acme", scheduler::InstancePhase::Ready, 1));
        say_in(&gateway, "acme", &scheduler::InstanceReady { instance: ready, operations: vec![] }).await;
    }
    // another tenant's are nobody else's
    let theirs = Some(instance(9, "bravo", scheduler::InstancePhase::Ready, 1));
    say_in(&gateway, "bravo", &scheduler::InstanceReady { instance: theirs, operations: vec![] }).await;
    until_used(&gateway, 2).await;
    let shown = uses(&set(&gateway, QUOTA, json!({"instances": 2, "disk_bytes": 9 * GIB})).await);
    assert_eq!(shown["disk"], (10 * GIB, Some(9 * GIB), true), "lowered below what is used");
    assert_eq!((shown["vcpus"].0, shown["memory"].0), (2000, 2 * GIB));
    testkit::eventually(PATIENCE, "the image", async || {
        let (_, answer) = gateway.call("GET", QUOTA, Value::Null).await;
        ((uses(&answer)["images"].0, uses(&answer)["image_bytes"].0) == (1, 700)).then_some(())
    })
    .await;

    let create = async |key: &str, disk: u64| {
        let body = json!({"name": format!("new-{key}"), "image": "debian",
            "resources": {"vcpus_milli": 1000, "memory_bytes": GIB, "disk_bytes": disk}});
        let request = gateway.request(&token, "", "POST", "/v1/instances").header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        harness::answer(request).await
    };
    let (status, refused) = create("a", 5 * GIB).await;
    assert_eq!((status, &refused["code"]), (409, &json!("QUOTA_EXCEEDED")), "{refused}");
    let reasons =
        json!(["instances: 2 of 2 used, 1 asked for", "disk: 10 GiB of 9 GiB used, 5 GiB asked for"]);
    assert_eq!(refused["reasons"], reasons, "{refused}");
    let metrics = gateway.metrics().await;
    let line =
        metrics.lines().find(|l| l.starts_with("berth_gateway_quota_refusals_total{") && l.contains("disk"));
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{metrics}");
    // nothing is left of it: the key may be used again when there is room
    set(&gateway, QUOTA, json!({"instances": 3})).await;
    assert_eq!(create("a", 5 * GIB).await.0, 202);

    // one that is about to go may be gone already where it counts: the scheduler judges
    set(&gateway, QUOTA, json!({"instances": 2})).await;
    assert_eq!(create("b", 5 * GIB).await.0, 409);
    let (status, _) = gateway.ask(&token, "", "DELETE", "/v1/instances/web-1", Value::Null).await;
    assert_eq!(status, 202);
    assert_eq!(create("b", 5 * GIB).await.0, 202);
    let deleting = Some(instance(2, "acme", scheduler::InstancePhase::Deleting, 2));
    say_in(&gateway, "acme", &scheduler::InstanceChanged { instance: deleting, operations: vec![] }).await;
    set(&gateway, QUOTA, json!({"instances": 1})).await;
    testkit::eventually(PATIENCE, "web-2 to be on its way out", async || {
        (create("c", 5 * GIB).await.0 == 202).then_some(())
    })
    .await;
    until_used(&gateway, 2).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_tenant_is_paced_as_a_whole_from_the_moment_it_is_set() {
    let gateway = Gateway::start().await;
    for name in ["acme", "bravo"] {
        gateway.tenant(name).await;
    }
    let tokens = [gateway.member("acme", "developer").await, gateway.member("acme", "auditor").await];
    let other = gateway.member("bravo", "developer").await;
    let burst = async |tokens: &[String]| {
        let mut refused = Vec::new();
        for turn in 0..40 {
            let token = &tokens[turn % tokens.len()];
            let answer = gateway.request(token, "", "GET", "/v1/flavors").send().await.expect("an answer");
            if answer.status() != 200 {
                refused.push(answer);
            }
        }
        refused
    };
    assert!(burst(&tokens).await.is_empty(), "no quota, no limit");
    set(&gateway, QUOTA, json!({"requests_per_second": 3})).await;
    let mut refused = burst(&tokens).await;
    assert!(refused.len() > 20, "{}", refused.len());
    let refused = refused.remove(0);
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().ok()), (429, Some("1")));
    let body: Value = refused.json().await.expect("a problem");
    assert_eq!(body["code"], "QUOTA_EXCEEDED");
    assert_eq!(body["reasons"], json!(["requests_per_second: 3 allowed in a second"]));
    assert!(burst(std::slice::from_ref(&other)).await.is_empty(), "another tenant is not slowed");
    // who sets quotas is not shut out by one
    for _ in 0..10 {
        assert_eq!(gateway.ask(&gateway.token, "acme", "GET", "/v1/flavors", Value::Null).await.0, 200);
    }
    set(&gateway, QUOTA, json!({})).await;
    assert!(burst(&tokens).await.is_empty(), "taken away again");
    gateway.stop().await;
}

#[tokio::test]
async fn new_tenants_begin_with_the_quota_of_the_settings() {
    let limits = NewTenantQuota { instances: Some(5), floating_ips: Some(1), ..NewTenantQuota::default() };
    let gateway = Gateway::start_with(|settings, _| settings.new_tenant_quota = limits).await;
    gateway.tenant("acme").await;
    let (_, found) = gateway.call("GET", QUOTA, Value::Null).await;
    assert_eq!(found["quota"]["revision"], 1);
    assert_eq!((uses(&found)["instances"].1, uses(&found)["floating_ips"].1), (Some(5), Some(1)));
    let (_, default) = gateway.call("GET", "/v1/tenants/default/quota", Value::Null).await;
    assert_eq!(default["quota"]["revision"], 0, "it was there before");
    // said to the tenant it is about
    let subjects = vec!["evt.gateway.v1.TenantQuotaSet.acme.acme".to_owned()];
    let mut events = watch(gateway.chassis.bus.clone(), Query { subjects, follow: true, ..Query::default() });
    let Some(Ok(Item::Event { envelope, .. })) = events.recv().await else { panic!("an event") };
    let event = TenantQuotaSet::from_bytes(&envelope.payload).expect("an event");
    assert_eq!(event.quota.map(|quota| quota.revision), Some(1));
    drop(events);
    gateway.stop().await;
}
