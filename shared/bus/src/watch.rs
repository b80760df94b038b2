//! Reading `EVENTS` from a cursor, with an explicit answer when the cursor does not fit the stream any more.

use crate::wait::{Wait, flat};
use crate::{Connection, Envelope, topology};
use async_nats::datetime::DateTime;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::DirectGetErrorKind;
use futures::StreamExt;
use kernel::{MessageId, Timestamp};
use std::time::Duration;
use tokio::sync::mpsc;

/// A place in the stream: which stream, and the last sequence that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    /// "" = whichever stream is there now.
    pub incarnation: String,
    /// 0 = from the first.
    pub after: u64,
}

/// Why a reader does not get what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The stream is another one: all of it comes, from its beginning.
    MadeAnew,
    /// The stream ends before the cursor: what comes next may have been read before, at another place.
    RolledBack,
    /// What the cursor asks for is not kept any more.
    NotKept,
    /// Events inside the stream were lost. Their publishers put them in again, at its end and under their old ids.
    Hole,
}

/// What a reader gets.
#[derive(Debug, Clone)]
pub enum Item {
    /// An event and its place.
    Event {
        /// Its place in the stream.
        sequence: u64,
        /// Which stream.
        incarnation: String,
        /// The event.
        envelope: Box<Envelope>,
    },
    /// What lies between the cursor and `resync.after` cannot be read. Reading goes on after it.
    Gap {
        /// What kind of gap.
        kind: Gap,
        /// For a person.
        reason: String,
        /// Where reading goes on.
        resync: Cursor,
    },
}

/// Which events, and whether to go on.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Where to begin.
    pub cursor: Cursor,
    /// Begin with the last so many events that match, instead; 0 = use the cursor.
    pub last: u64,
    /// Wait for events to come; otherwise end with the newest.
    pub follow: bool,
    /// Subjects with wildcards: "evt.scheduler.>". Empty = all events.
    pub subjects: Vec<String>,
}

/// The stream cannot be read now.
#[derive(Debug, thiserror::Error)]
#[error("reading events: {0}")]
pub struct WatchError(String);

/// What the stream is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// When it was made, in nanoseconds since the epoch.
    pub incarnation: String,
    /// The oldest event that is there.
    pub first: u64,
    /// The newest.
    pub last: u64,
}

/// Asks the server what the stream is now.
pub async fn extent(connection: &Connection) -> Result<Extent, WatchError> {
    let asked = connection.jetstream().get_stream(topology::EVENTS);
    let stream = flat(Wait::new(connection).answer(asked).await).map_err(WatchError)?;
    let info = stream.cached_info();
    Ok(Extent {
        incarnation: info.created.unix_timestamp_nanos().to_string(),
        first: info.state.first_sequence,
        last: info.state.last_sequence,
    })
}

/// The cursor behind everything that is in the stream now.
pub async fn present(connection: &Connection) -> Result<Cursor, WatchError> {
    let extent = extent(connection).await?;
    Ok(Cursor { incarnation: extent.incarnation, after: extent.last })
}

/// The cursor before the first message that the server stored at this time or later.
///
/// A message is stored after what it says happened, never before, but for the difference of two clocks.
pub async fn position_at(connection: &Connection, time: Timestamp) -> Result<Cursor, WatchError> {
    let mut wait = Wait::new(connection);
    let stream = wait.answer(connection.jetstream().get_stream(topology::EVENTS)).await;
    let stream = flat(stream).map_err(WatchError)?;
    let incarnation = stream.cached_info().created.unix_timestamp_nanos().to_string();
    let start_time = DateTime::from_unix_timestamp_nanos(i128::from(time.micros().max(0)) * 1_000)
        .map_err(|e| WatchError(e.to_string()))?;
    // the server looks the time up when the consumer is made; nothing is ever read with it
    let config = pull::Config {
        name: Some(reader()),
        deliver_policy: DeliverPolicy::ByStartTime { start_time },
        ack_policy: AckPolicy::None,
        headers_only: true,
        inactive_threshold: Duration::from_secs(1),
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let consumer = flat(wait.answer(stream.create_consumer(config)).await).map_err(WatchError)?;
    Ok(Cursor { incarnation, after: consumer.cached_info().delivered.stream_sequence })
}

/// A name for a consumer that goes with who reads. A name has to be in the subject that asks for it: who may ask without one
/// may write any name into the request, that of a consumer of somebody else too, which the server then changes.
pub(crate) fn reader() -> String {
    format!("reader-{}", MessageId::new())
}

/// The newest message of these subjects; no subjects = of the whole stream.
///
/// What a consumer says is still to come is no proof that it comes: a message that cannot be read any more is counted
/// and skipped.
pub(crate) async fn newest(
    wait: &mut Wait,
    stream: &jetstream::stream::Stream<()>,
    subjects: &[String],
    last: u64,
) -> Result<u64, WatchError> {
    if subjects.is_empty() {
        return Ok(last);
    }
    let mut newest = 0;
    for subject in subjects {
        let asked = wait.answer(stream.direct_get_last_for_subject(subject)).await;
        match asked.map_err(WatchError)? {
            Ok(message) => newest = newest.max(message.sequence),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
            Err(error) => return Err(WatchError(error.to_string())),
        }
    }
    Ok(newest)
}

/// Where reading really begins, and the gap that has to be told first.
fn begin(query: &Query, extent: &Extent) -> (u64, Option<(Gap, String)>) {
    let cursor = &query.cursor;
    if query.last > 0 {
        // with filters the server knows best how many there are: `read` skips all but the last
        let all = query.subjects.is_empty();
        return (if all { extent.last.saturating_sub(query.last) } else { 0 }, None);
    }
    if !cursor.incarnation.is_empty() && cursor.incarnation != extent.incarnation {
        let reason = format!(
            "the stream was made anew: the cursor is of incarnation {}, this is {}",
            cursor.incarnation, extent.incarnation
        );
        return (extent.first.saturating_sub(1), Some((Gap::MadeAnew, reason)));
    }
    if cursor.after > extent.last {
        let reason = format!(
            "the stream was rolled back: the cursor stands at {}, the stream ends at {}",
            cursor.after, extent.last
        );
        return (extent.last, Some((Gap::RolledBack, reason)));
    }
    if cursor.after > 0 && cursor.after + 1 < extent.first {
        let reason = format!("events {} to {} are not kept any more", cursor.after + 1, extent.first - 1);
        return (extent.first - 1, Some((Gap::NotKept, reason)));
    }
    (cursor.after, None)
}

/// A reader that hears nothing for so long asks whether there is something to hear.
const SILENCE: Duration = Duration::from_secs(15);

/// Events that are read ahead of whoever takes them.
const AHEAD: usize = 1_024;

/// Reads events in order. The channel ends with the newest event, or never when following; it ends early when the
/// reader goes away. A reader that is slow holds up only itself.
pub fn watch(connection: Connection, query: Query) -> mpsc::Receiver<Result<Item, WatchError>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut query = query;
        loop {
            match read(&connection, &mut query, &sender).await {
                Ok(()) => return,
                Err(error) if query.follow && !sender.is_closed() => {
                    tracing::debug!(%error, "reading events again from the cursor");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            }
        }
    });
    receiver
}

/// Reads until the end, the reader's end, or an error after which reading may be begun again from `query.cursor`.
async fn read(
    connection: &Connection,
    query: &mut Query,
    sender: &mpsc::Sender<Result<Item, WatchError>>,
) -> Result<(), WatchError> {
    let extent = extent(connection).await?;
    let (after, gap) = begin(query, &extent);
    query.cursor = Cursor { incarnation: extent.incarnation.clone(), after };
    let last = std::mem::take(&mut query.last);
    if let Some((kind, reason)) = gap
        && sender.send(Ok(Item::Gap { kind, reason, resync: query.cursor.clone() })).await.is_err()
    {
        return Ok(());
    }
    let failed = |e: &dyn std::fmt::Display| WatchError(e.to_string());
    let mut wait = Wait::new(connection);
    let stream = wait.answer(connection.jetstream().get_stream_no_info(topology::EVENTS)).await;
    let stream = flat(stream).map_err(WatchError)?;
    let config = pull::OrderedConfig {
        name: Some(reader()),
        filter_subjects: query.subjects.clone(),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
        ..pull::OrderedConfig::default()
    };
    let mut consumer = flat(wait.answer(stream.create_consumer(config)).await).map_err(WatchError)?;
    let waiting = flat(wait.answer(consumer.info()).await).map_err(WatchError)?.num_pending;
    let newest = self::newest(&mut wait, &stream, &query.subjects, extent.last).await?;
    if !query.follow && (waiting == 0 || newest <= after) {
        return Ok(());
    }
    let mut skip = if last > 0 { waiting.saturating_sub(last) } else { 0 };
    let mut messages = flat(wait.answer(consumer.messages()).await).map_err(WatchError)?;
    let mut heard = tokio::time::Instant::now();
    let mut check = tokio::time::interval(Duration::from_secs(5));
    check.tick().await;
    loop {
        let message = tokio::select! {
            () = sender.closed() => return Ok(()),
            message = messages.next() => message.ok_or_else(|| WatchError("the subscription ended".into()))?.map_err(|e| failed(&e))?,
            _ = check.tick() => {
                // an ordered consumer re-creates itself quietly, also on a stream that is another one now
                let now = self::extent(connection).await?;
                if now.incarnation != query.cursor.incarnation || now.last < query.cursor.after {
                    return Err(WatchError("the stream changed".into()));
                }
                if heard.elapsed() >= SILENCE {
                    let mut wait = Wait::new(connection);
                    let newest = self::newest(&mut wait, &stream, &query.subjects, now.last).await?;
                    if newest > query.cursor.after {
                        return Err(WatchError(format!("events after {} do not come", query.cursor.after)));
                    }
                }
                continue;
            }
        };
        heard = tokio::time::Instant::now();
        let (sequence, pending) = {
            let info = message.info().map_err(|e| failed(&e))?;
            (info.stream_sequence, info.pending)
        };
        // without subjects every place has to come; the log never deletes
        if query.subjects.is_empty()
            && query.cursor.after > 0
            && sequence > query.cursor.after + 1
            && skip == 0
        {
            let reason = format!(
                "events {} to {} were lost; their publishers put them in again at the end of the stream",
                query.cursor.after + 1,
                sequence - 1
            );
            let resync = Cursor { after: sequence - 1, ..query.cursor.clone() };
            if sender.send(Ok(Item::Gap { kind: Gap::Hole, reason, resync })).await.is_err() {
                return Ok(());
            }
        }
        query.cursor.after = sequence;
        let ended = !query.follow && (pending == 0 || sequence >= newest);
        if skip > 0 && !ended {
            skip -= 1;
            continue;
        }
        match Envelope::read(message.subject.as_str(), message.headers.as_ref(), message.payload.clone()) {
            Ok(envelope) => {
                let item = Item::Event {
                    sequence,
                    incarnation: query.cursor.incarnation.clone(),
                    envelope: Box::new(envelope),
                };
                if sender.send(Ok(item)).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => tracing::warn!(%error, sequence, "skipping an event that cannot be read"),
        }
        // a reader that took its time did not keep anything from coming
        heard = tokio::time::Instant::now();
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(incarnation: &str, after: u64) -> Query {
        Query { cursor: Cursor { incarnation: incarnation.into(), after }, ..Query::default() }
    }

    #[test]
    fn a_cursor_that_fits_begins_where_it_stands() {
        let extent = Extent { incarnation: "7".into(), first: 5, last: 9 };
        assert_eq!(begin(&at("7", 6), &extent), (6, None));
        assert_eq!(begin(&at("", 4), &extent), (4, None));
        assert_eq!(begin(&at("7", 9), &extent), (9, None));
        assert_eq!(begin(&Query { last: 2, ..Query::default() }, &extent), (7, None));
    }

    #[test]
    fn a_cursor_that_does_not_fit_is_answered_with_the_gap() {
        let extent = Extent { incarnation: "7".into(), first: 5, last: 9 };
        for (query, resync, kind) in
            [(at("6", 8), 4, Gap::MadeAnew), (at("7", 12), 9, Gap::RolledBack), (at("7", 2), 4, Gap::NotKept)]
        {
            let (after, gap) = begin(&query, &extent);
            assert_eq!((after, gap.map(|(kind, _)| kind)), (resync, Some(kind)));
        }
    }
}
