//! What the broker holds, and how far each consumer is.

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, Info, pull};
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Streams that somebody consumes.
const STREAMS: [&str; 5] = ["CMD_GATEWAY", "CMD_SCHEDULER", "CMD_HOST_DRIVER", "CMD_STORAGE", "EVENTS"];
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a message is where it was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Here,
    Gone,
    /// The broker does not say.
    Unknown,
}

/// Ids of messages, and where they are.
type Places = BTreeMap<String, u64>;

/// What the broker said.
pub(super) struct Streams {
    context: Option<jetstream::Context>,
    consumers: Vec<Info>,
    trouble: Option<String>,
    contents: BTreeMap<&'static str, OnceCell<Option<Places>>>,
}

impl Streams {
    pub async fn look(broker: &str) -> Self {
        let contents = STREAMS.map(|stream| (stream, OnceCell::new())).into();
        let mut streams = Self { context: None, consumers: Vec::new(), trouble: None, contents };
        let outcome = tokio::time::timeout(3 * PATIENCE, streams.ask(broker)).await;
        streams.trouble = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason),
            Err(_) => Some("does not answer".to_owned()),
        };
        streams
    }

    async fn ask(&mut self, broker: &str) -> Result<(), String> {
        let client = async_nats::ConnectOptions::new().connection_timeout(PATIENCE).connect(broker).await;
        let mut context = jetstream::new(client.map_err(|e| e.to_string())?);
        context.set_timeout(PATIENCE);
        for name in STREAMS {
            let Ok(stream) = context.get_stream_no_info(name).await else { continue };
            let mut consumers = stream.consumers();
            while let Some(info) = consumers.try_next().await.map_err(|e| format!("{name}: {e}"))? {
                self.consumers.extend(info.config.durable_name.is_some().then_some(info));
            }
        }
        self.context = Some(context);
        Ok(())
    }

    /// Why the broker could not be asked.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// All durable consumers, and the streams that have none, a line each.
    pub fn describe(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.consumers.iter().map(describe).collect();
        if self.context.is_some() {
            let without = STREAMS.iter().filter(|s| self.consumers.iter().all(|c| c.stream_name != **s));
            lines.extend(without.map(|stream| format!("{stream}: nobody consumes it")));
        }
        lines
    }

    /// Those that want what is published on `subject`.
    pub fn who_want<'s>(&'s self, stream: &'s str, subject: &'s str) -> impl Iterator<Item = &'s Info> {
        self.consumers.iter().filter(move |info| {
            let filters = info.config.filter_subjects.iter().chain([&info.config.filter_subject]);
            info.stream_name == stream && filters.filter(|f| !f.is_empty()).any(|f| covers(f, subject))
        })
    }

    /// Whether the message `id` is at its place.
    pub async fn holds(&self, stream: &str, sequence: u64, id: &str) -> Held {
        match self.contents(stream).await {
            None => Held::Unknown,
            Some(places) if places.get(id) == Some(&sequence) => Held::Here,
            Some(_) => Held::Gone,
        }
    }

    /// Where a message is, also one that its sender did not mark: the acknowledgement, or the mark, may have been lost.
    pub async fn place_of(&self, stream: &str, id: &str) -> Option<u64> {
        self.contents(stream).await?.get(id).copied()
    }

    /// Everything in a stream; `None`: the broker does not say. Read once.
    async fn contents(&self, stream: &str) -> Option<&Places> {
        let (name, contents) = self.contents.get_key_value(stream)?;
        contents.get_or_init(|| self.read(name)).await.as_ref()
    }

    /// The ids of everything in a stream.
    async fn read(&self, name: &str) -> Option<Places> {
        let stream = self.context.as_ref()?.get_stream(name).await.ok()?;
        let mut places = Places::new();
        if stream.cached_info().state.messages == 0 {
            return Some(places);
        }
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::All,
            headers_only: true,
            ..pull::OrderedConfig::default()
        };
        let mut messages = stream.create_consumer(config).await.ok()?.messages().await.ok()?;
        loop {
            // half of a stream would make the other half lost
            let message = tokio::time::timeout(PATIENCE, messages.next()).await.ok()??.ok()?;
            let (sequence, left) = message.info().map(|info| (info.stream_sequence, info.pending)).ok()?;
            let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
            places.extend(id.map(|id| (id.as_str().to_owned(), sequence)));
            if left == 0 {
                return Some(places);
            }
        }
    }
}

/// One consumer in one line.
fn describe(info: &Info) -> String {
    format!(
        "{} of {}: delivered up to {}, acknowledged up to {}, {} delivered and not acknowledged, {} to come, {} delivered again, \
         {} open requests",
        info.name,
        info.stream_name,
        info.delivered.stream_sequence,
        info.ack_floor.stream_sequence,
        info.num_ack_pending,
        info.num_pending,
        info.num_redelivered,
        info.num_waiting
    )
}

/// Whether a filter with wildcards (`*`, `>`) covers a subject.
fn covers(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
    loop {
        match (filter.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(expected), Some(found)) if expected == found => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn filters_cover_what_the_broker_says_they_do() {
        let subject = "cmd.scheduler.v1.CreateInstance.i";
        for filter in ["cmd.scheduler.>", "cmd.*.v1.CreateInstance.*", subject, ">"] {
            assert!(covers(filter, subject), "{filter}");
        }
        for filter in
            ["cmd.scheduler", "cmd.scheduler.v1.CreateInstance.i.>", "cmd.*", "evt.>", "cmd.scheduler.v1.*"]
        {
            assert!(!covers(filter, subject), "{filter}");
        }
    }
}
