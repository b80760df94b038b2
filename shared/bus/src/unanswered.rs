//! Commands of which nobody speaks.
//!
//! A command that is not in its queue any more was taken or was lost: the queue cannot tell which. Who sent it knows by
//! the answer; when none comes, the command is sent again under its own id, and the inbox of whoever took it drops it.

use crate::wait::{Wait, flat};
use crate::{Connection, Desk, outbox, relay, topology};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use kernel::{MessageId, Timestamp};
use std::collections::BTreeMap;
use store::StoreError;

/// It could not be found out what became of a command.
#[derive(Debug, thiserror::Error)]
pub enum UnansweredError {
    /// The outbox cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue cannot be asked.
    #[error("asking {stream} for a command: {reason}")]
    Broker {
        /// Which queue.
        stream: String,
        /// What happened.
        reason: String,
    },
}

/// Sends those of the commands again that left their queues. What still waits to be published or to be taken is left
/// alone, and so is what is older than inboxes remember. Answers which are sent again; their order is that of the ids.
pub async fn send_again(
    desk: &Desk,
    connection: &Connection,
    ids: &[MessageId],
) -> Result<Vec<MessageId>, UnansweredError> {
    let oldest = Timestamp(desk.clock().now().micros() - relay::COMMANDS_KEEP.as_micros() as i64);
    let mut queues: BTreeMap<String, Stream<()>> = BTreeMap::new();
    let mut gone = Vec::new();
    for id in ids {
        let Some(sent) = outbox::published(desk.store(), *id, oldest).await? else { continue };
        if sent.stream == topology::EVENTS {
            continue;
        }
        let failed = |reason: String| UnansweredError::Broker { stream: sent.stream.clone(), reason };
        // the first that is not answered ends it all: nothing adds up
        let mut wait = Wait::new(connection);
        if !queues.contains_key(&sent.stream) {
            let queue = wait.answer(connection.jetstream().get_stream_no_info(&sent.stream)).await;
            queues.insert(sent.stream.clone(), flat(queue).map_err(failed)?);
        }
        let place = u64::try_from(sent.place).unwrap_or(0);
        match wait.answer(queues[&sent.stream].direct_get(place)).await.map_err(failed)? {
            Ok(found) if found.headers.get("Nats-Msg-Id").is_some_and(|it| it.as_str() == id.to_string()) => {
            }
            // another message in its place: the queue was made anew
            Ok(_) => gone.push((*id, sent.place)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => gone.push((*id, sent.place)),
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = desk.store().begin().await?;
    let mut again = Vec::with_capacity(gone.len());
    for (id, place) in gone {
        // another process may have been faster
        if outbox::unpublish_one(&mut tx, id, place).await? {
            again.push(id);
        }
    }
    desk.handoff().distrust();
    tx.commit().await.map_err(StoreError::from)?;
    // only the table knows of these rows: the relay reads it, now
    desk.handoff().distrust();
    desk.handoff().committed(None);
    Ok(again)
}
