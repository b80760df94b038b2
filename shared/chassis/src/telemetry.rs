//! Logs, traces and metrics of a process.

use crate::Service;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::Deserialize;
use std::sync::OnceLock;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What to log, and where traces go.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// `info`, or directives such as `info,scheduler=debug`.
    pub log: String,
    /// `text` or `json`.
    pub log_format: LogFormat,
    /// `http://host:4317`: where spans are sent (OTLP over gRPC); "" = nowhere.
    pub otlp_endpoint: String,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { log: "info".into(), log_format: LogFormat::Text, otlp_endpoint: String::new() }
    }
}

/// Keeps telemetry going; ask it to flush before the process ends.
#[derive(Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// The metrics of this process, in Prometheus' registry.
pub(crate) fn registry() -> &'static prometheus::Registry {
    static REGISTRY: OnceLock<prometheus::Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .build();
        match exporter {
            Ok(reader) => {
                opentelemetry::global::set_meter_provider(
                    SdkMeterProvider::builder().with_reader(reader).build(),
                );
            }
            Err(error) => tracing::error!(%error, "no metrics"),
        }
        registry
    })
}

impl Telemetry {
    /// Starts logs, traces and metrics for `process`. A second call in one process (tests) keeps the first.
    pub fn start(process: &'static str, settings: &TelemetrySettings) -> anyhow::Result<Self> {
        Self::start_for(process, settings, &[])
    }

    /// The same for a process that runs these services: their spans are its own as well.
    pub fn start_for(
        process: &'static str,
        settings: &TelemetrySettings,
        services: &[&Service],
    ) -> anyhow::Result<Self> {
        registry();
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let filter = EnvFilter::try_new(&settings.log).map_err(|e| {
            anyhow::anyhow!("telemetry.log is {:?}: {e}; write info or info,scheduler=debug", settings.log)
        })?;
        let lines = match settings.log_format {
            LogFormat::Text => {
                tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).boxed()
            }
            LogFormat::Json => tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .json()
                .flatten_event(true)
                .boxed(),
        };
        let traces = if settings.otlp_endpoint.is_empty() {
            None
        } else {
            Some(tracer(process, &settings.otlp_endpoint)?)
        };
        // the layer is there even without an exporter: trace contexts of others are passed on
        let provider = traces.clone().unwrap_or_default();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer(process));
        let started = tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(spans.with_filter(ours(process, services)))
            .try_init();
        if started.is_err() {
            tracing::debug!("telemetry was started before");
        }
        Ok(Self { traces })
    }

    /// Sends what was not sent yet.
    pub fn flush(&self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.force_flush()
        {
            tracing::warn!(%error, "spans were lost");
        }
    }
}

/// Spans of our own crates only: those of the transport below would trace the exporter itself.
fn ours(process: &str, services: &[&Service]) -> tracing_subscriber::filter::Targets {
    let services = services.iter().map(|service| service.krate);
    let crates = ["bus", "chassis", process].into_iter().chain(services);
    tracing_subscriber::filter::Targets::new().with_targets(crates.map(|name| (name, tracing::Level::INFO)))
}

fn tracer(process: &'static str, endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = Resource::builder().with_service_name(process).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
