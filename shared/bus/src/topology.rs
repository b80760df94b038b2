//! The streams, declared here and brought about at start.

use crate::StreamLimits;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use contracts::QUEUES;
use std::time::Duration;

/// Everything that happened, in one order, without age limit.
pub const EVENTS: &str = "EVENTS";
/// Short-lived samples.
pub const TELEMETRY: &str = "TELEMETRY";
/// What other systems send, until it is taken: the payload is theirs, and the second token names the tenant.
pub const OUTSIDE: &str = "EXT";
/// Messages no service could take, for 30 days.
pub const DEAD: &str = "DEAD";

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The work queue of a service: "CMD_SCHEDULER".
pub fn command_stream(service: &str) -> String {
    format!("CMD_{}", service.to_uppercase())
}

/// A stream could not be brought about.
#[derive(Debug, thiserror::Error)]
#[error("stream {stream}: {reason}")]
pub struct TopologyError {
    /// Which stream.
    pub stream: String,
    /// What the server said, and what to do.
    pub reason: String,
}

/// Longest message of another system: an event at its limit, and what JSON and base64 add to it.
pub const OUTSIDE_MESSAGE_BYTES: i32 = 256 << 10;

/// All streams as they should be.
pub fn streams(replicas: usize, limits: &StreamLimits) -> Vec<Config> {
    let base = |name: &str, subject: String| Config {
        name: name.to_owned(),
        subjects: vec![subject],
        num_replicas: replicas,
        storage: StorageType::File,
        allow_direct: true,
        allow_atomic_publish: true,
        duplicate_window: Duration::from_secs(120),
        max_message_size: limits.message_bytes,
        ..Config::default()
    };
    let mut streams: Vec<Config> = QUEUES
        .iter()
        .map(|service| Config {
            // the runner removes what was obeyed, many at once (runner/sweep.rs)
            retention: RetentionPolicy::Limits,
            // a full queue says no to the relay, which keeps its rows and tries again
            discard: DiscardPolicy::New,
            max_messages: limits.queue_messages,
            max_bytes: limits.queue_bytes,
            ..base(&command_stream(service), format!("cmd.{service}.>"))
        })
        .collect();
    streams.push(Config {
        // the log never drops what it has taken to make room
        discard: DiscardPolicy::New,
        max_bytes: limits.events_bytes,
        ..base(EVENTS, "evt.>".to_owned())
    });
    streams.push(Config {
        // what was taken goes; a full stream says no to the sender, who alone can send again
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        max_bytes: limits.outside_bytes,
        max_message_size: OUTSIDE_MESSAGE_BYTES,
        allow_direct: false,
        allow_atomic_publish: false,
        // the shortest there is: one tenant's message ids must not make another's a duplicate. Events are told apart by
        // their source and id
        duplicate_window: Duration::from_millis(100),
        ..base(OUTSIDE, "ext.*.>".to_owned())
    });
    streams.push(Config {
        storage: StorageType::Memory,
        max_age: Duration::from_secs(600),
        max_bytes: limits.telemetry_bytes,
        allow_atomic_publish: false,
        ..base(TELEMETRY, "tel.>".to_owned())
    });
    streams.push(Config {
        max_age: 30 * DAY,
        max_bytes: limits.dead_bytes,
        ..base(DEAD, "dead.>".to_owned())
    });
    streams
}

/// Makes missing streams and updates those that differ.
pub async fn reconcile(
    context: &jetstream::Context,
    replicas: usize,
    limits: &StreamLimits,
) -> Result<(), TopologyError> {
    for config in streams(replicas, limits) {
        let stream = config.name.clone();
        bring_about(context, config).await.map_err(|reason| TopologyError { stream, reason })?;
    }
    Ok(())
}

async fn bring_about(context: &jetstream::Context, config: Config) -> Result<(), String> {
    let Err(refused) = context.create_or_update_stream(config.clone()).await else { return Ok(()) };
    let present = context.get_stream(&config.name).await.map_err(|_| refused.to_string())?;
    if config.name == EVENTS || present.cached_info().config.retention == config.retention {
        return Err(refused.to_string());
    }
    // the server does not change how a queue lets go of messages: it is made anew, and the relays that know what it
    // held fill it again
    tracing::warn!(stream = config.name, "queue with another retention; making it anew");
    context.delete_stream(&config.name).await.map_err(|e| e.to_string())?;
    context.create_stream(config).await.map_err(|e| e.to_string())?;
    Ok(())
}

/// The server has no such stream (any more).
pub(crate) fn is_missing(error: &async_nats::jetstream::context::GetStreamError) -> bool {
    use async_nats::jetstream::context::GetStreamErrorKind::JetStream;
    matches!(error.kind(), JetStream(ref e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
