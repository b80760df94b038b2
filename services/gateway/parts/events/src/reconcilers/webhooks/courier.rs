//! One receiver: takes its events out of the stream into the table, and sends what waits there.

use super::Dispatch;
use super::post::{Answered, Post};
use crate::domain::event_filter::EventFilter;
use crate::domain::webhook_queue::Queue;
use crate::store::deliveries::{self, New};
use crate::store::webhooks::{self, Cursor};
use crate::translate::webhooks as translate;
use ::store::Tx;
use anyhow::{Context, bail};
use bus::Pulse;
use bus::watch::{self, Item, Query, WatchError};
use contracts::gateway::v1::{Webhook, WebhookRecord};
use kernel::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Deliveries that may wait for one receiver: beyond it its events stay in the stream.
const WAITING: usize = 1_000;
/// Requests under way to one receiver, each about another object.
pub(super) const UNDER_WAY: usize = 8;
/// Events taken out of the stream in one transaction.
const BATCH: usize = 128;
/// How often the log is cut.
const TRIMMED: Duration = Duration::from_secs(60);

type Events = mpsc::Receiver<Result<Item, WatchError>>;

/// What a courier knows; all of it is in the tables as well.
pub(super) struct Courier<'a> {
    pub(super) dispatch: &'a Dispatch,
    pub(super) webhook: Webhook,
    pub(super) record: WebhookRecord,
    pub(super) cursor: Cursor,
    pub(super) queue: Queue,
    filter: EventFilter,
    renewed: Instant,
    trimmed: Option<Instant>,
}

/// Sends to one receiver until told to stop, until it is disabled, or until somebody else sends to it.
pub(super) async fn run(
    dispatch: &Dispatch,
    id: &str,
    stop: &CancellationToken,
    wake: &Arc<Notify>,
    pulse: &Pulse,
) -> anyhow::Result<()> {
    let at = |what: &'static str| {
        let id = id.to_owned();
        pulse.works(move |_| format!("webhook {id}: {what}"));
    };
    at("beginning");
    let Some(mut courier) = Courier::begin(dispatch, id).await? else {
        // another process sends; one that died is found out when its lease is over
        pulse.rests();
        tokio::select! { () = stop.cancelled() => {} () = tokio::time::sleep(dispatch.renewed()) => {} }
        return Ok(());
    };
    let mut events = courier.events();
    let mut under_way: JoinSet<Answered> = JoinSet::new();
    while !stop.is_cancelled() {
        at("sending what is due");
        courier.send(&mut under_way).await?;
        pulse.rests();
        let room = courier.queue.len() < WAITING;
        let pause = courier.pause(under_way.len());
        tokio::select! {
            () = stop.cancelled() => {}
            Some(answered) = under_way.join_next() => {
                let mut answers = vec![answered.context("a request died")?];
                while let Some(answered) = under_way.try_join_next() {
                    answers.push(answered.context("a request died")?);
                }
                at("writing down answers");
                if courier.record(answers).await? {
                    break;
                }
            }
            item = events.recv(), if room => {
                let first = item.context("the reader of events ended")??;
                at("taking events");
                courier.take(first, &mut events).await?;
            }
            () = wake.notified() => {
                at("looking for deliveries");
                courier.look_again().await?;
            }
            () = tokio::time::sleep(pause) => {
                at("keeping the right to send");
                courier.keep().await?;
            }
        }
    }
    // what is under way is answered soon, or not at all
    pulse.rests();
    while let Some(answered) = under_way.join_next().await {
        courier.record(vec![answered.context("a request died")?]).await?;
    }
    courier.end().await
}

impl<'a> Courier<'a> {
    /// `None`: another process sends to this receiver, or nobody may.
    async fn begin(dispatch: &'a Dispatch, id: &str) -> anyhow::Result<Option<Self>> {
        let store = dispatch.desk.store();
        let extent = watch::extent(&dispatch.bus).await?;
        let mut tx = store.begin().await?;
        let now = dispatch.desk.clock().now();
        let until = now.after(dispatch.lease).micros();
        if !webhooks::hold(&mut tx, id, &dispatch.owner, now.micros(), until).await? {
            return Ok(None);
        }
        // read behind the lease: whoever changes it from now on stops this courier
        let record = webhooks::by_id(&mut *tx, id).await?.context("the webhook is not there")?;
        let webhook = record.webhook.clone().context("a record without a webhook")?;
        let cursor = match webhooks::cursor(&mut *tx, id).await? {
            Some(cursor) => cursor,
            None => {
                let end = watch::Cursor { incarnation: extent.incarnation, after: extent.last };
                let reason = "the database was lost: what was delivered before is not known";
                let new = translate::gap(reason, &end, now.micros());
                deliveries::add(&mut tx, id, 1, &new).await?;
                let cursor = Cursor {
                    incarnation: end.incarnation,
                    after: end.after,
                    position: 1,
                    ..Cursor::default()
                };
                webhooks::move_to(&mut tx, id, &cursor).await?;
                cursor
            }
        };
        let mut queue = Queue::default();
        for waiting in deliveries::waiting(&mut *tx, id).await? {
            queue.put(waiting.position, &waiting.object_key, waiting.next_at_us);
        }
        tx.commit().await?;
        let filter = translate::filter(&webhook.filter.clone().unwrap_or_default());
        let filter = filter.map_err(|wrong| anyhow::anyhow!("its filter: {wrong}"))?;
        let (renewed, trimmed) = (Instant::now(), None);
        Ok(Some(Self { dispatch, webhook, record, cursor, queue, filter, renewed, trimmed }))
    }

    fn events(&self) -> Events {
        let cursor = watch::Cursor { incarnation: self.cursor.incarnation.clone(), after: self.cursor.after };
        let subjects = self.filter.subjects(translate::reads(&self.webhook));
        watch::watch(self.dispatch.bus.clone(), Query { cursor, last: 0, follow: true, subjects })
    }

    /// A transaction of whoever may send; it fails when somebody else may by now.
    async fn transaction(&mut self) -> anyhow::Result<Tx> {
        let mut tx = self.dispatch.desk.store().begin().await?;
        self.hold(&mut tx).await?;
        Ok(tx)
    }

    /// Keeps the right to send, in the transaction that uses it.
    pub(super) async fn hold(&mut self, db: &mut sqlx::AnyConnection) -> anyhow::Result<()> {
        let now = self.dispatch.desk.clock().now();
        let until = now.after(self.dispatch.lease).micros();
        if !webhooks::hold(&mut *db, &self.webhook.id, &self.dispatch.owner, now.micros(), until).await? {
            bail!("another process sends by now");
        }
        if webhooks::is_deleted(db, &self.webhook.id).await? {
            bail!("it was deleted");
        }
        self.renewed = Instant::now();
        Ok(())
    }

    /// How long to wait when nothing happens, with so many requests under way.
    fn pause(&self, under_way: usize) -> Duration {
        let soon = Duration::from_millis(5);
        let keep = self.dispatch.renewed().saturating_sub(self.renewed.elapsed()).max(soon);
        match self.queue.next_at_us() {
            // while no more may be sent, only answers are waited for
            Some(next) if under_way < UNDER_WAY => {
                Timestamp(next).since(self.dispatch.desk.clock().now()).clamp(soon, keep)
            }
            _ => keep,
        }
    }

    /// Takes events out of the stream: they and the cursor behind them are written together.
    async fn take(&mut self, first: Item, events: &mut Events) -> anyhow::Result<()> {
        let mut items = vec![first];
        let room = WAITING.saturating_sub(self.queue.len()).min(BATCH);
        while items.len() < room
            && let Ok(item) = events.try_recv()
        {
            items.push(item?);
        }
        let mut cursor = self.cursor.clone();
        let mut fresh: Vec<New> = Vec::new();
        for item in items {
            match item {
                Item::Event { sequence, incarnation, envelope } => {
                    let new =
                        translate::delivery(&self.webhook, &self.filter, &envelope, sequence, &incarnation);
                    fresh.extend(new);
                    (cursor.incarnation, cursor.after) = (incarnation, sequence);
                }
                Item::Gap { reason, resync, .. } => {
                    tracing::warn!(webhook = self.webhook.id, reason, "events that were not sent are gone");
                    fresh.push(translate::gap(&reason, &resync, self.dispatch.desk.clock().now().micros()));
                    (cursor.incarnation, cursor.after) = (resync.incarnation, resync.after);
                }
            }
        }
        let mut tx = self.transaction().await?;
        let mut added = Vec::new();
        for new in &fresh {
            // an event that was put into the stream again is known already
            if deliveries::add(&mut tx, &self.webhook.id, cursor.position + 1, new).await? {
                cursor.position += 1;
                added.push((cursor.position, &new.object_key));
            }
        }
        webhooks::move_to(&mut tx, &self.webhook.id, &cursor).await?;
        tx.commit().await?;
        for (position, object) in added {
            self.queue.put(position, object, 0);
        }
        self.cursor = cursor;
        Ok(())
    }

    /// Sends what is due.
    async fn send(&mut self, under_way: &mut JoinSet<Answered>) -> anyhow::Result<()> {
        let now = self.dispatch.desk.clock().now();
        let due = self.queue.due(now.micros(), UNDER_WAY);
        if due.is_empty() {
            return Ok(());
        }
        // before anything is counted: with a key that opens nothing, nothing is sent
        let post = Post::new(self.dispatch, &self.record, now)?;
        let mut tx = self.transaction().await?;
        let mut begun = Vec::new();
        for position in due {
            match deliveries::begin(&mut tx, &self.webhook.id, position, now.micros()).await? {
                Some(delivery) => begun.push(delivery),
                None => self.queue.end(position),
            }
        }
        tx.commit().await?;
        for delivery in begun {
            self.queue.begin(delivery.position);
            if delivery.attempts == 1 {
                self.dispatch.measures.delayed(now.since(Timestamp(delivery.occurred_at_us)));
            }
            under_way.spawn(post.clone().send(delivery));
        }
        Ok(())
    }

    /// Somebody may have put deliveries into the table, or hurried one.
    async fn look_again(&mut self) -> anyhow::Result<()> {
        for waiting in deliveries::waiting(self.dispatch.desk.store().reader(), &self.webhook.id).await? {
            self.queue.put(waiting.position, &waiting.object_key, waiting.next_at_us);
        }
        Ok(())
    }

    /// What has to be done from time to time.
    async fn keep(&mut self) -> anyhow::Result<()> {
        if self.renewed.elapsed() >= self.dispatch.renewed() {
            if self.dispatch.shares {
                self.transaction().await?.commit().await?;
            }
            self.renewed = Instant::now();
            self.look_again().await?;
        }
        if self.trimmed.is_none_or(|at| at.elapsed() >= TRIMMED) {
            self.trimmed = Some(Instant::now());
            let oldest = self.dispatch.desk.clock().now().micros()
                - i64::try_from(self.dispatch.log_age.as_micros()).unwrap_or(i64::MAX);
            let mut tx = self.transaction().await?;
            deliveries::trim(&mut tx, &self.webhook.id, oldest, self.dispatch.log_entries).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Lets another process send at once.
    async fn end(self) -> anyhow::Result<()> {
        let mut tx = self.dispatch.desk.store().begin().await?;
        webhooks::release(&mut tx, &self.webhook.id, &self.dispatch.owner).await?;
        Ok(tx.commit().await?)
    }
}
