//! Messages that this process has taken and not answered yet, also those that wait here for their turn.
//!
//! The server gives a message to somebody else when it has heard nothing of it for the acknowledgement time. That time is
//! short, so that what a killed process had in hand does not lie still for long; a process that lives says of
//! everything that takes it longer that it is in good hands.

use crate::wait::ANSWER;
use async_nats::Subject;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

/// A message in hand, until it is dropped.
pub(super) struct Taken {
    message: Message,
    ticket: Option<u64>,
    held: Held,
}

impl std::ops::Deref for Taken {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Taken {
    /// The server is told what became of it: nothing more is said of it.
    pub fn is_answered(&self) {
        if let Some(ticket) = self.ticket {
            self.held.lock().replies.remove(&ticket);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.is_answered();
    }
}

/// Where each message in hand is answered, in the order in which they came.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Replies>>);

#[derive(Default)]
struct Replies {
    next: u64,
    replies: BTreeMap<u64, Subject>,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Replies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, message: Message) -> Taken {
        let mut all = self.lock();
        all.next += 1;
        let ticket = message.reply.clone().map(|reply| {
            let ticket = all.next;
            all.replies.insert(ticket, reply);
            ticket
        });
        drop(all);
        Taken { message, ticket, held: self.clone() }
    }

    /// Says of those that were here at the beat before that work goes on.
    async fn keep_alive(self, client: async_nats::Client, mut beat: Interval) {
        let progress: Bytes = AckKind::Progress.into();
        let mut before = 0;
        loop {
            beat.tick().await;
            let (old, next) = {
                let all = self.lock();
                (all.replies.range(..=before).map(|(_, reply)| reply.clone()).collect::<Vec<_>>(), all.next)
            };
            before = next;
            for reply in old {
                // a client that takes nothing more has lost its connection: the server will give them to others
                if timeout(ANSWER, client.publish(reply, progress.clone())).await.is_err() {
                    break;
                }
            }
        }
    }
}

/// What comes from the server, taken as long as there is room, and kept alive.
pub(super) struct Coming {
    messages: mpsc::Receiver<Result<Taken, String>>,
    reading: AbortOnDropHandle<()>,
    _alive: AbortOnDropHandle<()>,
}

impl Coming {
    /// Takes at most `room` messages beyond those that are worked on.
    pub fn of<E: std::fmt::Display + Send>(
        mut source: impl futures::Stream<Item = Result<Message, E>> + Send + Unpin + 'static,
        client: async_nats::Client,
        ack_wait: Duration,
        room: usize,
    ) -> Self {
        let held = Held::default();
        let (sender, messages) = mpsc::channel(room);
        let mut beat = interval(ack_wait / 3);
        // after a pause of the whole process one word for each is enough
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let alive = tokio::spawn(held.clone().keep_alive(client, beat));
        let reading = tokio::spawn(async move {
            while let Some(item) = source.next().await {
                let item = item.map(|message| held.take(message)).map_err(|error| error.to_string());
                if sender.send(item).await.is_err() {
                    break;
                }
            }
        });
        Self { messages, reading: AbortOnDropHandle::new(reading), _alive: AbortOnDropHandle::new(alive) }
    }

    /// Waits for the next and takes what is there already with it, at most so many. Nothing = there will be no more.
    pub async fn next(&mut self, most: usize) -> Vec<Result<Taken, String>> {
        let mut batch = Vec::new();
        self.messages.recv_many(&mut batch, most).await;
        batch
    }

    /// What is here and was not begun. Nothing more comes.
    pub fn left(mut self) -> Vec<Taken> {
        self.reading.abort();
        std::iter::from_fn(|| self.messages.try_recv().ok()).flatten().collect()
    }
}
