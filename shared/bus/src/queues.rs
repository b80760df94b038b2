//! What the broker still holds for somebody: work that waits, and work that is under way.

use crate::{Connection, Limits, topology};
use async_nats::jetstream::stream::DirectGetErrorKind;
use futures::TryStreamExt;

/// The broker could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("asking the broker about {stream}: {reason}")]
pub struct QueueError {
    /// Which stream.
    pub stream: String,
    /// What happened.
    pub reason: String,
}

fn failed(stream: &str, error: impl std::fmt::Display) -> QueueError {
    QueueError { stream: stream.to_owned(), reason: error.to_string() }
}

/// The work queues, by name.
fn work_queues() -> Vec<String> {
    let streams = topology::streams(1, &Limits::default()).into_iter();
    streams.map(|s| s.name).filter(|name| name.starts_with("CMD_")).collect()
}

/// What the broker still holds for somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that wait or are under way.
    pub messages: u64,
    /// Messages that were ever published to work queues and the log: a number that only grows.
    pub published: u64,
}

/// Messages that are not handled and acknowledged yet: commands that wait or are under way, and events that a durable
/// consumer has not taken. 0 = everybody is done with everything.
pub async fn backlog(connection: &Connection) -> Result<Backlog, QueueError> {
    let context = connection.jetstream();
    let commands = futures::future::try_join_all(work_queues().into_iter().map(|name| async move {
        let stream = context.get_stream(&name).await.map_err(|e| failed(&name, e))?;
        let state = &stream.cached_info().state;
        Ok::<_, QueueError>(Backlog { messages: state.messages, published: state.last_sequence })
    }));
    let events = async {
        let name = topology::EVENTS;
        let stream = context.get_stream(name).await.map_err(|e| failed(name, e))?;
        let consumers: Vec<_> = stream.consumers().try_collect().await.map_err(|e| failed(name, e))?;
        let durable = consumers.iter().filter(|c| c.config.durable_name.is_some());
        let messages = durable.map(|c| c.num_pending + c.num_ack_pending as u64).sum::<u64>();
        Ok(Backlog { messages, published: stream.cached_info().state.last_sequence })
    };
    let (commands, events) = futures::future::try_join(commands, events).await?;
    Ok(commands.into_iter().fold(events, |sum, one| Backlog {
        messages: sum.messages + one.messages,
        published: sum.published + one.published,
    }))
}

/// Ids of the commands that wait in the work queues or are under way.
pub async fn waiting(connection: &Connection) -> Result<Vec<String>, QueueError> {
    let mut ids = Vec::new();
    for name in work_queues() {
        let stream = connection.jetstream().get_stream_no_info(&name).await.map_err(|e| failed(&name, e))?;
        let mut next = 1;
        loop {
            match stream.direct_get_next_for_subject("cmd.>", Some(next)).await {
                Ok(message) => {
                    next = message.sequence + 1;
                    ids.extend(message.headers.get("Nats-Msg-Id").map(|id| id.as_str().to_owned()));
                }
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
                Err(error) => return Err(failed(&name, error)),
            }
        }
    }
    Ok(ids)
}
