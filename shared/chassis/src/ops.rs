//! The endpoint for operators and machines that watch: health, readiness, metrics. Not for tenants.

use crate::health::Health;
use crate::telemetry;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves `/healthz` (the process lives), `/readyz` (every part is well, else 503 with what is not) and `/metrics`.
pub(crate) async fn serve(listener: TcpListener, health: Health, stop: CancellationToken) {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || std::future::ready(ready(&health))))
        .route("/metrics", get(metrics));
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%error, "health endpoint ended");
    }
}

fn ready(health: &Health) -> impl IntoResponse + use<> {
    let components: Vec<_> = health
        .all()
        .into_iter()
        .map(|c| {
            let reason = c.trouble.map(bus::Trouble::code).unwrap_or_default();
            serde_json::json!({ "name": c.name, "healthy": c.healthy, "detail": c.detail, "reason": reason })
        })
        .collect();
    let healthy = health.is_healthy();
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "healthy": healthy, "components": components })))
}

async fn metrics() -> impl IntoResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&telemetry::registry().gather(), &mut text) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            error.to_string().into_bytes(),
        ),
    }
}
