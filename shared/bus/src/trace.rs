//! Carrying the trace from one service to the next in a header.

use opentelemetry::propagation::{Extractor, Injector};
use tracing_opentelemetry::OpenTelemetrySpanExt;

struct One(String);

impl Injector for One {
    fn set(&mut self, key: &str, value: String) {
        if key == "traceparent" {
            self.0 = value;
        }
    }
}

impl Extractor for One {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent" && !self.0.is_empty()).then_some(self.0.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// The present span as a W3C traceparent; "" when nobody traces.
pub(crate) fn current() -> String {
    let mut carrier = One(String::new());
    let context = tracing::Span::current().context();
    opentelemetry::global::get_text_map_propagator(|p| p.inject_context(&context, &mut carrier));
    carrier.0
}

/// Makes `span` a child of the trace that `traceparent` names.
pub fn continue_from(span: &tracing::Span, traceparent: &str) {
    if traceparent.is_empty() {
        return;
    }
    let carrier = One(traceparent.to_owned());
    let context = opentelemetry::global::get_text_map_propagator(|p| p.extract(&carrier));
    // fails only without a subscriber that knows OpenTelemetry: then there is no trace to continue
    let _ = span.set_parent(context);
}
