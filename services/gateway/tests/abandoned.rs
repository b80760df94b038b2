//! Callers that go away, or wait no longer: what they asked for is done and recorded all the same, and takes no place
//! from others.

mod harness;

use contracts::gateway::v1::tenant_service_client::TenantServiceClient;
use contracts::gateway::v1::{AuditOutcome, AuditRecord, CreateTenantRequest};
use harness::{Gateway, PATIENCE, answer};
use serde_json::json;
use sqlx::Connection as _;
use std::time::Duration;
use tonic::{Code, Request};

#[tokio::test]
async fn a_call_is_recorded_as_it_ended_whether_its_caller_waited_or_not() {
    let gateway = Gateway::start().await;
    // as long as somebody else writes nothing is decided
    let url = format!("sqlite://{}", gateway.folder.path().join("gateway/gateway.db").display());
    let mut other = sqlx::AnyConnection::connect(&url).await.expect("the gateway's database");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locked");
    let wish = gateway.rest("POST", "/v1/tenants").json(&json!({ "name": "late" }));
    let gone = wish.timeout(Duration::from_millis(300)).send().await;
    assert!(gone.expect_err("nobody answers").is_timeout());
    let (channel, bearer) = gateway.signed_in().await;
    let mut wish = Request::new(CreateTenantRequest { name: "later".into(), ..Default::default() });
    wish.set_timeout(Duration::from_millis(300));
    let slow = TenantServiceClient::with_interceptor(channel, bearer).create_tenant(wish).await;
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&slow.expect_err("too slow").code()));
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("free");
    gateway.until("GET", "/v1/tenants/late", |(status, _)| *status == 200).await;
    gateway.until("GET", "/v1/tenants/later", |(status, _)| *status == 200).await;
    let found = testkit::eventually(PATIENCE, "both records", async || {
        let all = gateway.records().await;
        let created: Vec<AuditRecord> =
            all.into_iter().filter(|record| record.method.ends_with("CreateTenant")).collect();
        (created.len() == 2).then_some(created)
    })
    .await;
    for record in found {
        assert_eq!((record.outcome(), record.code.as_str()), (AuditOutcome::Ok, "OK"), "{record:?}");
        assert!(record.duration_us > 50_000, "it waited: {record:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn who_left_waits_for_nothing() {
    let gateway = Gateway::start_with(|settings, _| settings.requests_in_flight = 4).await;
    gateway.image("018f0000-0000-7000-8000-0000000000bb", "debian").await;
    // nobody answers for the scheduler here: these would wait for their whole time
    for number in 0..4 {
        let wish = json!({ "name": format!("web-{number}"), "image": "debian", "flavor": "micro" });
        let waits = gateway.rest("POST", "/v1/instances").header("prefer", "wait=30").json(&wish);
        let left = waits.timeout(Duration::from_millis(500)).send().await;
        assert!(left.expect_err("it waits").is_timeout());
    }
    testkit::eventually(Duration::from_secs(10), "their places to be free", async || {
        let (status, _) = answer(gateway.rest("GET", "/v1/images")).await;
        (status == 200).then_some(())
    })
    .await;
    gateway.stop().await;
}
