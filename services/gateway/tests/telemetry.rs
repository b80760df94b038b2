//! What a request leaves behind: a trace that begins with the caller's, a count and a duration.

mod harness;

use bus::watch::{Item, Query, watch};
use chassis::{Telemetry, TelemetrySettings};
use harness::Gateway;
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn a_request_is_counted_and_its_trace_goes_on() {
    let _telemetry = Telemetry::start("gateway", &TelemetrySettings::default()).expect("starts");
    let gateway = Gateway::start().await;
    let body = json!({"name": "tiny", "resources": {"vcpus_milli": 1, "memory_bytes": 16 << 20}});
    let request = gateway
        .rest("POST", "/v1/flavors")
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .header("content-type", "application/json")
        .body(body.to_string());
    assert_eq!(harness::answer(request).await.0, 200);
    assert_eq!(gateway.call("GET", "/v1/instances/nothing", Value::Null).await.0, 404);

    let query = Query {
        subjects: vec!["evt.gateway.*.FlavorCreated.*.tiny".into()],
        follow: true,
        ..Query::default()
    };
    let mut items = watch(gateway.chassis.bus.clone(), query);
    let item = tokio::time::timeout(harness::PATIENCE, items.recv()).await.expect("in time");
    let Some(Ok(Item::Event { envelope, .. })) = item else { panic!("an event, not {item:?}") };
    let carried = &envelope.cause.traceparent;
    assert!(carried.contains(TRACE), "{carried}");
    assert!(!carried.contains("b7ad6b7169203331"), "under a span of the gateway's own: {carried}");

    let metrics = gateway.http.get(gateway.ops_url("/metrics")).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    let line = |parts: &[&str]| metrics.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(
        line(&["berth_gateway_requests_total", "method=\"CreateFlavor\"", "code=\"OK\"", " 1"]),
        "{metrics}"
    );
    assert!(
        line(&["berth_gateway_requests_total", "method=\"GetInstance\"", "code=\"NOT_FOUND\""]),
        "{metrics}"
    );
    assert!(line(&["berth_gateway_request_duration_seconds_count", "method=\"CreateFlavor\""]), "{metrics}");
    gateway.stop().await;
}
