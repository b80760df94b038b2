//! Dead letters: messages no service could take, kept for 30 days with their bytes, listable and replayable.

use crate::outbox::Outgoing;
use crate::wait::Wait;
use crate::{Connection, Work, topology};
use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use kernel::{Kind, MessageId, Subject, Timestamp};
use std::collections::BTreeMap;

const MESSAGE: &str = "Dead-Message-Id";
const SUBJECT: &str = "Dead-Subject";
const CONSUMER: &str = "Dead-Consumer";
const REASON: &str = "Dead-Reason";
const ATTEMPTS: &str = "Dead-Attempts";
const AT: &str = "Dead-At";
/// The subject a replayed message first had.
pub(crate) const REPLAY_SUBJECT: &str = "Replay-Subject";

/// A message no service could take.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its place in the stream of dead letters.
    pub sequence: u64,
    /// Id of the message, "" when it had none.
    pub message_id: String,
    /// Where it was sent.
    pub subject: String,
    /// Who could not take it: "scheduler", "host_driver-<agent>".
    pub consumer: String,
    /// Why.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub died_at: Timestamp,
    /// Correlation id, "" when it had none.
    pub correlation: String,
    /// The original bytes.
    pub payload: Bytes,
    headers: BTreeMap<String, String>,
}

/// Dead letters cannot be read or removed now.
#[derive(Debug, thiserror::Error)]
#[error("dead letters: {0}")]
pub struct DeadLetterError(String);

/// Queues a dead letter; it leaves with the transaction that gave the message up.
pub(crate) fn bury(
    work: &mut Work,
    consumer: &str,
    message: &async_nats::Message,
    reason: &str,
    attempts: i64,
) {
    let id = MessageId::new();
    let mut headers = plain(message.headers.as_ref());
    let original = headers.insert("Nats-Msg-Id".to_owned(), id.to_string()).unwrap_or_default();
    let subject = headers.remove(REPLAY_SUBJECT).unwrap_or_else(|| message.subject.to_string());
    let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect();
    headers.extend([
        (MESSAGE.to_owned(), original),
        (SUBJECT.to_owned(), subject),
        (CONSUMER.to_owned(), consumer.to_owned()),
        (REASON.to_owned(), reason),
        (ATTEMPTS.to_owned(), attempts.to_string()),
        (AT.to_owned(), work.now().micros().to_string()),
    ]);
    let service = consumer.split('-').next().unwrap_or(consumer);
    work.queue_raw(Outgoing {
        message_id: id.to_string(),
        stream: topology::DEAD.to_owned(),
        subject: format!("dead.{service}.{id}"),
        headers,
        payload: message.payload.to_vec(),
    });
}

/// What the relay adds to messages that the stream takes together.
const BATCH_HEADERS: &str = "Nats-Batch-";

fn plain(headers: Option<&HeaderMap>) -> BTreeMap<String, String> {
    headers
        .into_iter()
        .flat_map(HeaderMap::iter)
        .map(|(name, values)| (name.to_string(), values))
        // with these it would be taken for a part of the batch that it once came in
        .filter(|(name, _)| !name.starts_with(BATCH_HEADERS))
        .filter_map(|(name, values)| Some((name, values.first()?.as_str().to_owned())))
        .collect()
}

impl DeadLetter {
    fn read(message: StreamMessage) -> Self {
        let headers = plain(Some(&message.headers));
        let get = |name: &str| headers.get(name).cloned().unwrap_or_default();
        Self {
            sequence: message.sequence,
            message_id: get(MESSAGE),
            subject: get(SUBJECT),
            consumer: get(CONSUMER),
            reason: get(REASON),
            attempts: get(ATTEMPTS).parse().unwrap_or(0),
            died_at: Timestamp(get(AT).parse().unwrap_or(0)),
            correlation: get("Correlation-Id"),
            payload: message.payload,
            headers,
        }
    }

    /// The full protobuf name of the message, when its subject is one of ours.
    pub fn message_name(&self) -> Option<&'static str> {
        let subject: Subject = self.subject.parse().ok()?;
        Some(contracts::entry(&subject.service, &subject.version, &subject.name)?.full_name)
    }

    /// The message decoded.
    pub fn decode(&self) -> Option<serde_json::Value> {
        contracts::to_json(self.message_name()?, &self.payload).ok()
    }
}

/// Dead letters after `after`, oldest first.
pub async fn list(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<DeadLetter>, DeadLetterError> {
    let asked = connection.jetstream().get_stream_no_info(topology::DEAD);
    let stream = answer(connection, asked).await?.map_err(|e| DeadLetterError(e.to_string()))?;
    let mut letters = Vec::new();
    let mut next = after + 1;
    while letters.len() < limit {
        let asked = stream.direct_get_next_for_subject("dead.>", Some(next));
        match answer(connection, asked).await? {
            Ok(message) => {
                next = message.sequence + 1;
                letters.push(DeadLetter::read(message));
            }
            Err(error) if is_not_found(&error) => break,
            Err(error) => return Err(DeadLetterError(error.to_string())),
        }
    }
    Ok(letters)
}

/// One dead letter, if it is there.
pub async fn get(connection: &Connection, sequence: u64) -> Result<Option<DeadLetter>, DeadLetterError> {
    let found = list(connection, sequence.saturating_sub(1), 1).await?;
    Ok(found.into_iter().find(|letter| letter.sequence == sequence))
}

/// Throws a dead letter away. False: it was not there.
pub async fn remove(connection: &Connection, sequence: u64) -> Result<bool, DeadLetterError> {
    let asked = connection.jetstream().get_stream_no_info(topology::DEAD);
    let stream = answer(connection, asked).await?.map_err(|e| DeadLetterError(e.to_string()))?;
    match answer(connection, stream.delete_message(sequence)).await? {
        Ok(gone) => Ok(gone),
        Err(error) if get(connection, sequence).await?.is_none() => {
            tracing::debug!(%error, sequence, "dead letter was gone already");
            Ok(false)
        }
        Err(error) => Err(DeadLetterError(error.to_string())),
    }
}

/// Sends a dead letter again, to the consumer that could not take it, within `work`. Returns its new id: the same each
/// time for the same letter, so that doing this twice sends it once. The error says why it cannot be sent.
pub fn replay(work: &mut Work, letter: &DeadLetter) -> Result<MessageId, String> {
    let original: MessageId =
        letter.message_id.parse().map_err(|_| "the message has no id: it can only be dropped".to_owned())?;
    let subject: Subject = letter.subject.parse().map_err(|e: kernel::InvalidSubject| e.to_string())?;
    let id = MessageId::from_u128(original.as_u128().rotate_left(1) ^ u128::from(letter.sequence));
    let mut headers: BTreeMap<String, String> = letter
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with("Dead-"))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    headers.insert("Nats-Msg-Id".to_owned(), id.to_string());
    let (service, key) = letter.consumer.split_once('-').unwrap_or((letter.consumer.as_str(), "_"));
    let to = if subject.kind == Kind::Command {
        letter.subject.clone()
    } else {
        // an event is not said twice: it goes through the work queue of the one consumer that missed it
        headers.insert(REPLAY_SUBJECT.to_owned(), letter.subject.clone());
        format!("cmd.{service}.v1.Replay.{key}")
    };
    work.queue_raw(Outgoing {
        message_id: id.to_string(),
        stream: topology::command_stream(service),
        subject: to,
        headers,
        payload: letter.payload.to_vec(),
    });
    Ok(id)
}

async fn answer<T>(connection: &Connection, asked: impl Future<Output = T>) -> Result<T, DeadLetterError> {
    Wait::new(connection).answer(asked).await.map_err(DeadLetterError)
}

fn is_not_found(error: &async_nats::jetstream::stream::DirectGetError) -> bool {
    error.kind() == async_nats::jetstream::stream::DirectGetErrorKind::NotFound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_no_part_of_the_batch_that_its_message_came_in() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("Nats-Msg-Id", "1"),
            ("Nats-Batch-Id", "b"),
            ("Nats-Batch-Sequence", "3"),
            ("Nats-Batch-Commit", "1"),
        ] {
            headers.insert(name, value);
        }
        assert_eq!(plain(Some(&headers)), BTreeMap::from([("Nats-Msg-Id".to_owned(), "1".to_owned())]));
    }
}
