//! The broker is transport and log, never the only copy: what a stream lost is published again from the outbox, and an
//! event says so.

use super::memory::{self, KnownStream};
use super::prune::INBOX_KEEP;
use super::{Relay, RelayError};
use crate::{Cause, outbox, topology};
use contracts::bus::v1::{RefillReason, StreamRefilled};
use kernel::{PLATFORM, Timestamp};
use opentelemetry::KeyValue;
use std::collections::BTreeSet;
use std::time::Duration;

/// Commands younger than this are sent again; a day less than the inboxes remember.
pub(crate) const COMMANDS_KEEP: Duration = Duration::from_secs(INBOX_KEEP.as_secs() - 24 * 3600);

/// What a stream lacks of what it has acknowledged.
pub(super) struct Loss {
    /// Everything after this place.
    pub after: i64,
    /// And these.
    pub single: BTreeSet<i64>,
    pub reason: RefillReason,
}

impl Relay {
    /// Lost rows wait again, behind them the event that says so; both or neither.
    pub(super) async fn refill(
        &self,
        known: &KnownStream,
        present: &str,
        loss: Loss,
    ) -> Result<(), RelayError> {
        let stream = known.stream.as_str();
        let now = self.desk.clock().now();
        let oldest = if stream == topology::EVENTS {
            Timestamp(0)
        } else {
            Timestamp(now.micros() - COMMANDS_KEEP.as_micros() as i64)
        };
        let mut work = self.desk.begin(Cause::own(self.desk.service())).await?;
        let first = match loss.single.first() {
            Some(place) => Some(*place),
            None => outbox::first_place_after(work.tx(), stream, loss.after, oldest).await?,
        };
        let mut rows = 0;
        if loss.after < known.last {
            rows += outbox::unpublish_after(work.tx(), stream, loss.after, oldest).await?;
        }
        let single: Vec<i64> = loss.single.iter().copied().collect();
        rows += outbox::unpublish(work.tx(), stream, &single).await?;
        // rows too old to be sent again keep their places, of which the stream knows nothing any more
        let last = outbox::last_place(work.tx(), stream).await?.min(loss.after);
        memory::keep(work.tx(), &KnownStream { incarnation: present.to_owned(), last, ..known.clone() })
            .await?;
        if rows > 0 {
            tracing::error!(
                service = self.desk.service(),
                stream,
                rows,
                reason = loss.reason.as_str_name(),
                first,
                "the broker lost messages; publishing them again"
            );
            work.say_for(
                PLATFORM,
                &StreamRefilled {
                    service: self.desk.service().to_owned(),
                    stream: stream.to_owned(),
                    old_incarnation: known.incarnation.clone(),
                    new_incarnation: present.to_owned(),
                    lost_from_sequence: u64::try_from(first.unwrap_or(0)).unwrap_or(0),
                    refilled_messages: rows,
                    reason: loss.reason as i32,
                    noticed_at_us: now.micros(),
                },
            );
        }
        // before, so that what was just said waits for what is older; after, so that the relay reads what is older
        self.desk.handoff().distrust();
        work.commit().await?;
        self.desk.handoff().distrust();
        if rows > 0 {
            let labels = [
                KeyValue::new("service", self.desk.service()),
                KeyValue::new("stream", stream.to_owned()),
                KeyValue::new("reason", reason_word(loss.reason)),
            ];
            self.refilled.add(rows, &labels);
        }
        Ok(())
    }
}

fn reason_word(reason: RefillReason) -> &'static str {
    match reason {
        RefillReason::Unspecified => "unknown",
        RefillReason::Wiped => "wiped",
        RefillReason::Deleted => "deleted",
        RefillReason::RolledBack => "rolled_back",
        RefillReason::Corrupted => "corrupted",
    }
}
