//! What the broker still holds for somebody: work that waits, and work that is under way.

use crate::wait::{Wait, flat};
use crate::{Connection, StreamLimits, topology};
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
    let streams = topology::streams(1, &StreamLimits::default()).into_iter();
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
    let mut streams = work_queues();
    streams.push(topology::EVENTS.to_owned());
    let all = streams.iter().map(|name| backlog_of(connection, name));
    let all = futures::future::try_join_all(all).await?;
    Ok(all.into_iter().fold(Backlog::default(), |sum, one| Backlog {
        messages: sum.messages + one.messages,
        published: sum.published + one.published,
    }))
}

async fn backlog_of(connection: &Connection, name: &str) -> Result<Backlog, QueueError> {
    let mut wait = Wait::new(connection);
    let stream = flat(wait.answer(connection.jetstream().get_stream(name)).await);
    let stream = stream.map_err(|e| failed(name, e))?;
    let consumers = flat(wait.answer(stream.consumers().try_collect()).await);
    let consumers: Vec<_> = consumers.map_err(|e| failed(name, e))?;
    let durable: Vec<_> = consumers.iter().filter(|c| c.config.durable_name.is_some()).collect();
    let state = &stream.cached_info().state;
    let messages = if durable.is_empty() && name != topology::EVENTS {
        // nobody has ever come for these commands
        state.messages
    } else {
        durable.iter().map(|c| c.num_pending + c.num_ack_pending as u64).sum()
    };
    Ok(Backlog { messages, published: state.last_sequence })
}

/// Ids of the commands that wait in the work queues, are under way, or were obeyed a moment ago.
pub async fn waiting(connection: &Connection) -> Result<Vec<String>, QueueError> {
    let mut ids = Vec::new();
    for name in work_queues() {
        let asked = connection.jetstream().get_stream_no_info(&name);
        let stream = flat(Wait::new(connection).answer(asked).await).map_err(|e| failed(&name, e))?;
        let mut next = 1;
        loop {
            let asked = stream.direct_get_next_for_subject("cmd.>", Some(next));
            let answer = Wait::new(connection).answer(asked).await;
            match answer.map_err(|e| failed(&name, e))? {
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
