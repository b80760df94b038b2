//! A unit of work: one transaction and the messages that leave with it.

use crate::ending::{End, Hooks};
use crate::fail::FailPoint;
use crate::handoff::Handoff;
use crate::late::{Late, LateRows};
use crate::memory::Memory;
use crate::{Cause, Envelope, outbox, topology, trace};
use bytes::Bytes;
use contracts::Entry;
use kernel::{Kind, Message, MessageId, Subject, Timestamp};
use sqlx::AnyConnection;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{StoreError, Tx};

static WORKS: AtomicU64 = AtomicU64::new(0);

/// One transaction, what it says and tells, and what should happen once it is committed.
pub struct Work {
    id: u64,
    tx: Tx,
    cause: Cause,
    now: Timestamp,
    occurred_at: Timestamp,
    key: String,
    outgoing: Vec<outbox::Outgoing>,
    hooks: Hooks,
    late: Late,
    memory: Memory,
    handoff: Arc<Handoff>,
    tells: Option<&'static [&'static str]>,
    /// The command that may not be sent.
    denied: Option<String>,
}

/// How much a unit of work held at some moment, to go back there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    outgoing: usize,
    hooks: usize,
}

impl Work {
    pub(crate) fn new(
        tx: Tx,
        cause: Cause,
        now: Timestamp,
        handoff: Arc<Handoff>,
        tells: Option<&'static [&'static str]>,
    ) -> Self {
        let id = WORKS.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            tx,
            cause,
            now,
            occurred_at: now,
            key: String::new(),
            outgoing: Vec::new(),
            hooks: Hooks::default(),
            late: Late::default(),
            memory: Memory::default(),
            handoff,
            tells,
            denied: None,
        }
    }

    /// Tells this unit of work from all others of this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where statements run.
    pub fn tx(&mut self) -> &mut AnyConnection {
        &mut self.tx
    }

    /// When this work was begun.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When the message that is being handled was decided; when this work was begun if there is none. What goes into
    /// tables from it is the same after a replay.
    pub fn occurred_at(&self) -> Timestamp {
        self.occurred_at
    }

    /// The last token of the subject of the message that is being handled: the id of what it is about; "" = there is none.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// From here on the work is done because of this message.
    pub(crate) fn takes(&mut self, envelope: &Envelope) {
        self.set_cause(Cause { causation: Some(envelope.id), ..envelope.cause.clone() });
        self.occurred_at = envelope.occurred_at;
        self.key.clone_from(&envelope.subject.key);
    }

    /// Why this work is done.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// From here on the work is done for this cause: a reconciler that looks after many objects says each time whose.
    pub fn set_cause(&mut self, cause: Cause) {
        self.cause = cause;
    }

    /// Says that something happened to what the cause's tenant owns.
    pub fn say<M: Message>(&mut self, event: &M) {
        let tenant = self.cause.tenant.clone();
        self.say_for(&tenant, event);
    }

    /// Says that something happened to what `tenant` owns.
    pub fn say_for<M: Message>(&mut self, tenant: &str, event: &M) {
        debug_assert_eq!(M::KIND, Kind::Event, "{} is not an event", M::NAME);
        self.queue(MessageId::new(), topology::EVENTS.to_owned(), tenant, event);
    }

    /// Sends a command to its owner.
    ///
    /// # Panics
    /// In a debug build, when the owner is none of those that the service declares to tell something. In a release build
    /// the commit refuses the work.
    pub fn tell<M: Message>(&mut self, command: &M) {
        self.tell_under(MessageId::new(), command);
    }

    /// The same under an id that the sender can tell later, to ask what became of it: [`crate::unanswered`].
    pub fn tell_under<M: Message>(&mut self, id: MessageId, command: &M) {
        debug_assert_eq!(M::KIND, Kind::Command, "{} is not a command", M::NAME);
        if !self.may_tell(M::SERVICE, M::NAME) {
            return;
        }
        let tenant = self.cause.tenant.clone();
        self.queue(id, topology::command_stream(M::SERVICE), &tenant, command);
    }

    /// Whether the service of this work says of itself that it commands that one. If not, nothing of it is committed.
    fn may_tell(&mut self, service: &str, name: &str) -> bool {
        if self.tells.is_none_or(|tells| tells.contains(&service)) {
            return true;
        }
        let denied = format!("{name} is sent to {service}, which is not declared in `tells`");
        tracing::error!(denied, "a command that may not be sent");
        debug_assert!(false, "{denied}");
        self.denied = Some(denied);
        false
    }

    /// The same for a command that is only known by its declaration, about the object with the id `key`.
    pub fn tell_encoded(&mut self, id: MessageId, command: &Entry, key: &str, payload: Bytes) {
        debug_assert_eq!(command.kind, Kind::Command, "{} is not a command", command.name);
        if !self.may_tell(command.service, command.name) {
            return;
        }
        let tenant = self.cause.tenant.clone();
        let subject = Subject {
            kind: command.kind,
            service: command.service.to_owned(),
            version: command.version.to_owned(),
            name: command.name.to_owned(),
            tenant: tenant.clone(),
            key: key.to_owned(),
        };
        self.queue_subject(id, topology::command_stream(command.service), &tenant, subject, payload);
    }

    fn queue<M: Message>(&mut self, id: MessageId, stream: String, tenant: &str, message: &M) {
        let subject = Subject {
            kind: M::KIND,
            service: M::SERVICE.to_owned(),
            version: M::VERSION.to_owned(),
            name: M::NAME.to_owned(),
            tenant: tenant.to_owned(),
            key: message.key().to_owned(),
        };
        self.queue_subject(id, stream, tenant, subject, message.to_bytes().into());
    }

    fn queue_subject(
        &mut self,
        id: MessageId,
        stream: String,
        tenant: &str,
        subject: Subject,
        payload: Bytes,
    ) {
        let current = trace::current();
        let envelope = Envelope {
            id,
            subject,
            cause: Cause {
                tenant: tenant.to_owned(),
                traceparent: if current.is_empty() { self.cause.traceparent.clone() } else { current },
                ..self.cause.clone()
            },
            occurred_at: self.now,
            payload,
        };
        self.outgoing.push(outbox::Outgoing::of(stream, &envelope));
    }

    /// Queues bytes that already have their headers: dead letters and their replays.
    pub(crate) fn queue_raw(&mut self, outgoing: outbox::Outgoing) {
        self.outgoing.push(outgoing);
    }

    /// Does `hook` once the work is committed: waking a reconciler. Nothing is done when the work, or the message that is
    /// being handled, is undone.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.at_end(move |end| {
            if end == End::Committed {
                hook();
            }
        });
    }

    /// Does `hook` when the work has ended, or the message that is being handled was undone; it is told which.
    pub fn at_end(&mut self, hook: impl FnOnce(End) + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    /// What the messages of this work know together. It is forgotten when one of them is undone.
    pub fn memory<T: Any + Send + Default>(&mut self) -> &mut T {
        self.memory.of()
    }

    /// Rows that are written together with those of other messages, just before the commit.
    pub fn late<R: LateRows + Default>(&mut self) -> &mut R {
        self.late.of()
    }

    /// The same, and where statements run: for rows that read their table.
    pub fn late_and_tx<R: LateRows + Default>(&mut self) -> (&mut R, &mut AnyConnection) {
        (self.late.of(), &mut self.tx)
    }

    /// Writes those of one kind now, because their table is about to be read.
    pub async fn write_now<R: LateRows + Default>(&mut self) -> Result<(), StoreError> {
        self.late.of::<R>().write(&mut self.tx).await
    }

    /// Writes those of all kinds now.
    pub async fn write_late(&mut self) -> Result<(), StoreError> {
        self.late.write(&mut self.tx).await
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { outgoing: self.outgoing.len(), hooks: self.hooks.len() }
    }

    /// Forgets what was queued since `mark`; the caller rolls the tables back.
    pub(crate) fn forget_since(&mut self, mark: Mark) {
        self.outgoing.truncate(mark.outgoing);
        self.hooks.undo_after(mark.hooks);
    }

    /// Forgets the rows that are not written yet, and what was known.
    pub(crate) fn forget_late(&mut self) {
        self.late.forget();
        self.memory.forget();
    }

    /// Commits tables and messages together.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if let Some(denied) = self.denied {
            // half of what was decided would be worse than nothing of it
            return Err(sqlx::Error::Protocol(denied).into());
        }
        let speaks = !self.outgoing.is_empty();
        self.write_late().await?;
        let numbered = self.handoff.is_wanted();
        let numbers = outbox::append(&mut self.tx, &self.outgoing, self.now, numbered).await?;
        FailPoint::OutboxWritten.reached().await;
        self.tx.commit().await?;
        self.hooks.committed();
        if speaks {
            self.handoff.committed(numbers.and_then(|numbers| outbox::numbered(self.outgoing, &numbers)));
        }
        Ok(())
    }
}
