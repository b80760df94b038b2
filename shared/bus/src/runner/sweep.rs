//! Clearing a command queue of what was obeyed.
//!
//! The queue is not a stream with work-queue retention, which would remove each message with its acknowledgement: the
//! server writes a mark for each removal, and with `sync_interval: always` syncs each of those, which costs more than
//! publishing did. So acknowledging only moves the consumer on, and now and then everything up to the place where the
//! consumer has no gap is removed at once.

use super::Source;
use crate::Connection;
use crate::fail::FailPoint;
use crate::wait::{Wait, flat};
use std::time::Duration;
use tokio::time::Instant;

/// Removed at the latest this long after they were obeyed.
const EVERY: Duration = Duration::from_secs(1);
/// Or as soon as there are so many.
const AT_ONCE: usize = 20_000;

/// What was obeyed of one source and is still in the queue.
pub(super) struct Sweep<'s> {
    source: &'s Source,
    /// Acknowledged since the last look.
    done: usize,
    due: Instant,
}

impl<'s> Sweep<'s> {
    /// Messages from before may lie there as well, so the first look comes soon.
    pub fn of(source: &'s Source) -> Self {
        Self { source, done: 1, due: Instant::now() + EVERY }
    }

    /// More were acknowledged.
    pub fn note(&mut self, messages: usize) {
        if self.done == 0 {
            self.due = Instant::now() + EVERY;
        }
        self.done += messages;
        if self.done >= AT_ONCE {
            self.due = Instant::now();
        }
    }

    /// Returns when there is something to remove.
    pub async fn due(&self) {
        if self.source.is_queue() && self.done > 0 {
            tokio::time::sleep_until(self.due).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Removes what the consumer is done with. A failure is no trouble: it is tried again.
    pub async fn run(&mut self, connection: &Connection) {
        self.due = Instant::now() + EVERY;
        match self.remove(connection).await {
            Ok(complete) => self.done = usize::from(!complete),
            Err(reason) => {
                tracing::debug!(stream = self.source.stream, reason, "obeyed commands not removed yet")
            }
        }
    }

    /// Answers whether nothing of what was delivered is left.
    async fn remove(&self, connection: &Connection) -> Result<bool, String> {
        FailPoint::Swept.reached().await;
        let mut wait = Wait::new(connection);
        let stream = connection.jetstream().get_stream_no_info(&self.source.stream);
        let stream = flat(wait.answer(stream).await)?;
        let info = flat(wait.answer(stream.consumer_info(&self.source.consumer)).await)?;
        let floor = info.ack_floor.stream_sequence;
        if floor > 0 {
            // the filter keeps the commands of other consumers: those of other hosts
            let purge = stream.purge().filter(&self.source.filters[0]).sequence(floor + 1);
            flat(wait.answer(purge.into_future()).await)?;
        }
        Ok(info.num_ack_pending == 0)
    }
}
