//! The messages of an operation, from its command on, and how far each came.

use super::Sought;
use super::books::{Books, Written, seconds};
use super::place::Place;
use super::streams::{Held, Streams};
use async_nats::jetstream::consumer::Info;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A message and how far it came.
pub(super) struct Traced {
    /// "command CreateInstance <id> of gateway".
    pub message: String,
    /// Where it is held up; `None`: whoever wants it has taken it.
    pub place: Option<Place>,
    /// How far it came, when it is not held up.
    done: String,
}

impl Traced {
    /// In one line.
    pub fn told(&self) -> String {
        match &self.place {
            Some(place) => format!("{} {place}", self.message),
            None => format!("{} {}", self.message, self.done),
        }
    }
}

/// All messages about something, in the order in which they were written; those that others wait for come first.
pub(super) async fn trace(books: &Books, streams: &Streams, sought: &Sought, now_us: i64) -> Vec<Traced> {
    let mut written = BTreeMap::new();
    for id in [&sought.operation, &sought.instance].into_iter().filter(|id| !id.is_empty()) {
        for message in books.messages_about(id) {
            let order = (!message.is_for_others(), message.created_at, message.service, message.row);
            written.insert(order, message);
        }
    }
    let mut traced = Vec::with_capacity(written.len());
    for message in written.values() {
        traced.push(follow(books, streams, message, now_us).await);
    }
    traced
}

async fn follow(books: &Books, streams: &Streams, message: &Written, now_us: i64) -> Traced {
    let kind = if message.stream.starts_with("CMD_") { "command" } else { "event" };
    let name = format!("{kind} {} {} of {}", message.name(), message.id, message.service);
    let held_up = |place| Traced { message: name.clone(), place: Some(place), done: String::new() };
    let waiting = Duration::from_micros(u64::try_from(now_us - message.created_at).unwrap_or(0));
    if message.stream == "DEAD" {
        let headers: Value = serde_json::from_str(&message.headers).unwrap_or_default();
        let header = |name: &str| headers[name].as_str().unwrap_or_default().to_owned();
        let place = Place::Dead { consumer: header("Dead-Consumer"), reason: header("Dead-Reason") };
        let letter = format!("message {} on {}", header("Dead-Message-Id"), header("Dead-Subject"));
        return Traced { message: letter, place: Some(place), done: String::new() };
    }
    let unmarked = match message.sequence {
        0 => streams.place_of(&message.stream, &message.id).await,
        _ => None,
    };
    let Some(sequence) = Some(message.sequence).filter(|s| *s > 0).or(unmarked) else {
        let (service, row) = (message.service.to_owned(), message.row);
        return held_up(Place::Outbox { service, row, waiting });
    };
    let mut done = format!("was published at {} {sequence}", message.stream);
    // without a consumer, or without a broker that names it, a command still has the service that it was sent to
    if let Some(service) = message.stream.strip_prefix("CMD_").map(str::to_lowercase)
        && streams.who_want(&message.stream, &message.subject).next().is_none()
        && !books.is_taken_by_service(&service, &message.id)
    {
        let stream = message.stream.clone();
        return held_up(Place::Stream { stream, sequence, consumer: service, asking: 0 });
    }
    for info in streams.who_want(&message.stream, &message.subject) {
        match at_consumer(books, streams, message, sequence, info).await {
            Ok(taken) => {
                done += &format!(", taken by {} {:.1} s ago", info.name, seconds(now_us - taken));
            }
            Err(place) => return held_up(place),
        }
    }
    Traced { message: name, place: None, done }
}

/// When the consumer took the message, or where it is instead.
async fn at_consumer(
    books: &Books,
    streams: &Streams,
    message: &Written,
    sequence: u64,
    info: &Info,
) -> Result<i64, Place> {
    let (stream, consumer) = (message.stream.clone(), info.name.clone());
    if let Some(taken) = books.taken(&consumer, &message.id) {
        return Ok(taken);
    }
    let gone = streams.holds(&stream, sequence, &message.id).await == Held::Gone;
    let acknowledged = sequence <= info.ack_floor.stream_sequence;
    if gone || acknowledged {
        if let Some(taken) = books.taken_by_now(&consumer, &message.id).await {
            return Ok(taken);
        }
        let how = if gone { "the stream does not hold it any more" } else { "it was acknowledged" };
        let why = format!("{how}, and the inbox does not know it");
        return Err(Place::Lost { stream, sequence, consumer, why });
    }
    if sequence > info.delivered.stream_sequence {
        return Err(Place::Stream { stream, sequence, consumer, asking: info.num_waiting });
    }
    let (attempts, error) = books.attempts(&consumer, &message.id).cloned().unwrap_or_default();
    Err(Place::Delivered { stream, sequence, consumer, attempts, error })
}
