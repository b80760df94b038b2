//! Getting rows onto the streams: many at once in an atomic batch (one sync of the server's disk), few one by one.

use super::Relay;
use crate::fail::FailPoint;
use crate::outbox::Waiting;
use crate::wait::{Wait, flat};
use crate::{Trouble, topology};
use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use futures::StreamExt;
use kernel::MessageId;
use std::collections::BTreeMap;

/// Below this many rows for one stream a batch costs more than it saves.
pub(super) const SMALLEST_BATCH: usize = 50;
/// The server's limit (ADR-50).
pub(super) const LARGEST_BATCH: usize = 1_000;

/// The server's answer to the last message of a batch.
#[derive(serde::Deserialize)]
struct Commit {
    #[serde(default)]
    seq: i64,
    #[serde(default)]
    count: i64,
    error: Option<serde_json::Value>,
}

/// A row the server has taken.
pub(super) struct Acknowledged<'r> {
    pub row: &'r Waiting,
    /// Its place in the stream.
    pub sequence: i64,
}

/// A stream that takes no more.
pub(super) struct Full {
    pub stream: String,
    pub reason: String,
}

/// What became of rows.
#[derive(Default)]
pub(super) struct Published<'r> {
    pub acknowledged: Vec<Acknowledged<'r>>,
    pub full: Vec<Full>,
    /// Why others were not taken.
    pub failure: Option<String>,
}

impl<'r> Published<'r> {
    fn refused(&mut self, stream: &str, reason: String) {
        if Trouble::of_broker(&reason) == Trouble::BrokerFull {
            self.full.push(Full { stream: stream.to_owned(), reason });
        } else {
            self.failure.get_or_insert(reason);
        }
    }
}

/// The rows of each stream, and the events first: what a command leads to is never in the log before what led to it.
fn by_stream(rows: &[Waiting]) -> Vec<(&str, Vec<&Waiting>)> {
    let mut by_stream: BTreeMap<&str, Vec<&Waiting>> = BTreeMap::new();
    for row in rows {
        by_stream.entry(&row.stream).or_default().push(row);
    }
    let events = by_stream.remove_entry(topology::EVENTS);
    events.into_iter().chain(by_stream).collect()
}

impl Relay {
    /// Publishes rows, events first and in order within each stream. Tells what the server has taken, and why the rest was not.
    pub(super) async fn publish_all<'r>(&self, rows: &'r [Waiting]) -> Published<'r> {
        let mut published = Published::default();
        // one deadline for all rows and all streams: what was not answered then is looked for in the streams, and
        // published again under the same ids
        let mut wait = Wait::new(&self.connection);
        for (stream, rows) in by_stream(rows) {
            if let Some(reason) = wait.over() {
                published.failure.get_or_insert_with(|| format!("{stream}: {reason}"));
                break;
            }
            if rows.len() >= SMALLEST_BATCH {
                match self.together(&rows, &mut wait).await {
                    Ok(taken) => {
                        published.acknowledged.extend(taken);
                        continue;
                    }
                    // the last places are given away in small numbers, when it is tried again
                    Err(reason) if Trouble::of_broker(&reason) == Trouble::BrokerFull => {
                        published.refused(stream, reason);
                        continue;
                    }
                    // no answer came, and no time is left to ask for each
                    Err(reason) if wait.over().is_some() => {
                        published.refused(stream, format!("{stream}: {reason}"));
                        continue;
                    }
                    // one of them is there already: alone, each finds out for itself
                    Err(reason) => tracing::debug!(reason, rows = rows.len(), "batch not taken; one by one"),
                }
            }
            let (taken, reason) = self.one_by_one(&rows, &mut wait).await;
            published.acknowledged.extend(taken);
            if let Some(reason) = reason {
                published.refused(stream, reason);
            }
        }
        published
    }

    /// All rows or none, in consecutive places of the stream.
    async fn together<'r>(
        &self,
        rows: &[&'r Waiting],
        wait: &mut Wait,
    ) -> Result<Vec<Acknowledged<'r>>, String> {
        let client = self.connection.client();
        let failed = |e: &dyn std::fmt::Display| e.to_string();
        let inbox = client.new_inbox();
        let mut answers = wait.answer(client.subscribe(inbox.clone())).await?.map_err(|e| failed(&e))?;
        let batch = MessageId::new().to_string();
        for (index, row) in rows.iter().enumerate() {
            let (first, last) = (index == 0, index + 1 == rows.len());
            let mut headers = headers(row);
            headers.insert("Nats-Batch-Id", batch.as_str());
            headers.insert("Nats-Batch-Sequence", (index + 1).to_string());
            if last {
                headers.insert("Nats-Batch-Commit", "1");
            }
            let (subject, payload) = (row.subject.clone(), row.payload.clone().into());
            let sent = if first || last {
                let sending = client.publish_with_reply_and_headers(subject, inbox.clone(), headers, payload);
                wait.answer(sending).await
            } else {
                wait.answer(client.publish_with_headers(subject, headers, payload)).await
            };
            sent?.map_err(|e| failed(&e))?;
        }
        FailPoint::BatchSent.reached().await;
        // the first message is answered as soon as the batch is open, the last when it is on disk
        for expected in 0..2 {
            let answer = wait.answer(answers.next()).await?.ok_or("the connection closed")?;
            if answer.status.is_some() {
                return Err("nobody keeps this subject".to_owned());
            }
            if expected == 0 && answer.payload.is_empty() {
                continue;
            }
            let commit: Commit = serde_json::from_slice(&answer.payload).map_err(|e| failed(&e))?;
            if let Some(error) = commit.error {
                return Err(error.to_string());
            }
            if commit.count != rows.len() as i64 {
                return Err(format!("{} of {} messages taken", commit.count, rows.len()));
            }
            let before = commit.seq - commit.count;
            let place = |(index, row): (usize, &&'r Waiting)| Acknowledged {
                row,
                sequence: before + 1 + index as i64,
            };
            return Ok(rows.iter().enumerate().map(place).collect());
        }
        Err("the batch was not committed".to_owned())
    }

    /// Sends all rows without waiting in between, then collects the acknowledgements.
    async fn one_by_one<'r>(
        &self,
        rows: &[&'r Waiting],
        wait: &mut Wait,
    ) -> (Vec<Acknowledged<'r>>, Option<String>) {
        let mut failure = None;
        let mut flying = Vec::with_capacity(rows.len());
        for row in rows {
            let message = PublishMessage::build().payload(row.payload.clone().into()).headers(headers(row));
            let sending = self.connection.jetstream().send_publish(row.subject.clone(), message);
            match flat(wait.answer(sending).await) {
                Ok(future) => flying.push((*row, future)),
                Err(reason) => {
                    failure = Some(format!("{}: {reason}", row.subject));
                    break;
                }
            }
        }
        FailPoint::Sent.reached().await;
        let mut acknowledged = Vec::with_capacity(flying.len());
        for (row, future) in flying {
            match flat(wait.answer_or_now(future.into_future()).await) {
                Ok(ack) => acknowledged.push(Acknowledged { row, sequence: ack.sequence as i64 }),
                Err(reason) => {
                    failure.get_or_insert_with(|| format!("{}: {reason}", row.subject));
                }
            }
        }
        (acknowledged, failure)
    }
}

fn headers(row: &Waiting) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &row.headers {
        headers.insert(name.as_str(), value.as_str());
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_leave_before_the_commands_of_the_same_work() {
        let row = |seq: i64, stream: &str| Waiting {
            seq,
            stream: stream.to_owned(),
            subject: String::new(),
            headers: BTreeMap::new(),
            payload: Vec::new(),
        };
        let rows = [row(1, "CMD_STORAGE"), row(2, "EVENTS"), row(3, "CMD_HOST_DRIVER"), row(4, "EVENTS")];
        let order: Vec<(&str, Vec<i64>)> = by_stream(&rows)
            .into_iter()
            .map(|(stream, rows)| (stream, rows.iter().map(|row| row.seq).collect()))
            .collect();
        assert_eq!(order, [("EVENTS", vec![2, 4]), ("CMD_HOST_DRIVER", vec![3]), ("CMD_STORAGE", vec![1])]);
    }
}
