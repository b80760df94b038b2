//! What every request leaves behind: a span that is the root of its trace, a count and a duration.

use crate::api::admit::method_of;
use crate::domain::traces;
use crate::translate::status::code_name;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::{Code, Status};
use tracing::Instrument;

/// How long a unary method may take, whatever the caller allows: the longest wait for an operation, and some.
const LONGEST: Duration = Duration::from_secs(70);

/// The gateway's own metrics.
pub struct Observer {
    requests: Counter<u64>,
    duration: Histogram<f64>,
}

impl Observer {
    /// Registers the metrics.
    pub fn new(meter: &Meter) -> Self {
        Self {
            requests: meter
                .u64_counter("berth_gateway_requests")
                .with_description("Requests by method and gRPC code, whatever door they came in by.")
                .build(),
            duration: meter
                .f64_histogram("berth_gateway_request_duration_seconds")
                .with_description("Time to the answer, or to the first part of a stream.")
                .with_boundaries(vec![
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
                ])
                .build(),
        }
    }
}

/// Measures a request and puts it into a span.
pub async fn observe(State(observer): State<Arc<Observer>>, request: Request, next: Next) -> Response {
    let name = method_of(request.uri().path()).map_or("other", |method| method.descriptor.name());
    let span = tracing::info_span!("request", otel.name = name, otel.kind = "server", rpc.method = name);
    bus::trace::continue_from(&span, traceparent(request.headers()));
    let began = Instant::now();
    let response = next.run(request).instrument(span).await;
    // a status in the headers is the whole answer; a stream that breaks later counts as begun
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
    let labels = [KeyValue::new("method", name), KeyValue::new("code", code_name(code))];
    observer.requests.add(1, &labels);
    observer.duration.record(began.elapsed().as_secs_f64(), &labels[..1]);
    response
}

/// The caller's trace, when it is well formed.
fn traceparent(headers: &HeaderMap) -> &str {
    traces::well_formed(headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default())
}

/// Ends unary methods that take longer than the caller waits (`grpc-timeout`) or than we allow.
pub async fn limit_time(request: Request, next: Next) -> Response {
    let streams = method_of(request.uri().path())
        .is_none_or(|m| m.descriptor.is_client_streaming() || m.descriptor.is_server_streaming());
    if streams {
        return next.run(request).await;
    }
    let limit = grpc_timeout(request.headers()).unwrap_or(LONGEST).min(LONGEST);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Status::deadline_exceeded("the answer took too long").into_http(),
    }
}

/// "TimeoutValue TimeoutUnit" of gRPC over HTTP/2: at most eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn time_limits_are_read() {
        for (text, expected) in [
            ("5S", Some(Duration::from_secs(5))),
            ("250m", Some(Duration::from_millis(250))),
            ("1H", Some(Duration::from_secs(3600))),
            ("", None),
            ("S", None),
            ("123456789S", None),
            ("5x", None),
        ] {
            assert_eq!(grpc_timeout(&with("grpc-timeout", text)), expected, "{text}");
        }
    }

    #[test]
    fn only_a_well_formed_trace_is_continued() {
        let right = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent(&with("traceparent", right)), right);
        assert_eq!(traceparent(&with("traceparent", "00-xyz")), "");
        assert_eq!(traceparent(&HeaderMap::new()), "");
    }
}
