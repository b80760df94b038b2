//! What a service does with each message.

use crate::{Envelope, Failure, Work};
use async_trait::async_trait;
use contracts::check::{self, Wrong};
use contracts::{Carried, Command, Object, ObjectKind, Told};
use kernel::{Kind, Message};
use sqlx::Executor as _;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// Obeys a command or takes note of an event. Decides and writes in `work`; acts on the world never (reconcilers do).
#[async_trait]
pub trait Handle<M: Message>: Send + Sync + 'static {
    /// These messages are about to be handled in `work`, one by one: what each would read by itself can be read for
    /// all of them here. Nothing may depend on it: a message can also come without.
    async fn gather(
        &self,
        _work: &mut Work,
        _messages: &mut (dyn Iterator<Item = M> + Send),
    ) -> Result<(), Failure> {
        Ok(())
    }

    /// One message. Whatever it wrote is undone when it fails.
    async fn handle(&self, work: &mut Work, message: M) -> Result<(), Failure>;
}

/// Takes note of what an event says of a `T`, whichever event it is.
#[async_trait]
pub trait HandleObject<T: Object>: Send + Sync + 'static {
    /// As [`Handle::gather`], for the events of one name.
    async fn gather(
        &self,
        _work: &mut Work,
        _events: &mut (dyn Iterator<Item = Carried<T>> + Send),
    ) -> Result<(), Failure> {
        Ok(())
    }

    /// One event. Whatever it wrote is undone when it fails.
    async fn handle(&self, work: &mut Work, event: Carried<T>) -> Result<(), Failure>;
}

/// Obeys whatever can be done with objects of a declared kind. The id of the object is [`Work::key`], that of the
/// operation the correlation of its cause.
#[async_trait]
pub trait HandleCommand<C: Command>: Send + Sync + 'static {
    /// One command. `wrong`: what does not hold of it that is declared. Whatever it wrote is undone when it fails.
    async fn handle(&self, work: &mut Work, command: C, wrong: Option<Wrong>) -> Result<(), Failure>;
}

/// Takes note of objects of many kinds.
#[async_trait]
pub trait HandleObjects: Send + Sync + 'static {
    /// One event. Whatever it wrote is undone when it fails.
    async fn handle(&self, work: &mut Work, told: Told) -> Result<(), Failure>;
}

/// A handler whose message type is forgotten.
#[async_trait]
pub(crate) trait HandleEnvelope: Send + Sync + 'static {
    async fn gather(&self, work: &mut Work, envelopes: &[&Envelope]) -> Result<(), Failure>;
    async fn handle(&self, work: &mut Work, envelope: &Envelope) -> Result<(), Failure>;
}

struct Typed<M, H>(H, PhantomData<fn() -> M>);

#[async_trait]
impl<M: Message, H: Handle<M>> HandleEnvelope for Typed<M, H> {
    async fn gather(&self, work: &mut Work, envelopes: &[&Envelope]) -> Result<(), Failure> {
        // what cannot be read is found out when it is handled
        let mut messages = envelopes.iter().filter_map(|envelope| M::from_bytes(&envelope.payload).ok());
        self.0.gather(work, &mut messages).await
    }

    async fn handle(&self, work: &mut Work, envelope: &Envelope) -> Result<(), Failure> {
        let message = M::from_bytes(&envelope.payload)
            .map_err(|e| Failure::Poison(format!("not a {}: {e}", M::NAME)))?;
        self.0.handle(work, message).await
    }
}

struct OfObject<T, H>(H, PhantomData<fn() -> T>);

#[async_trait]
impl<T: Object, H: HandleObject<T>> HandleEnvelope for OfObject<T, H> {
    async fn gather(&self, work: &mut Work, envelopes: &[&Envelope]) -> Result<(), Failure> {
        let mut events = envelopes.iter().filter_map(|e| Carried::of(&e.subject, &e.payload).ok());
        self.0.gather(work, &mut events).await
    }

    async fn handle(&self, work: &mut Work, envelope: &Envelope) -> Result<(), Failure> {
        let event = Carried::of(&envelope.subject, &envelope.payload)
            .map_err(|error| Failure::Poison(error.to_string()))?;
        self.0.handle(work, event).await
    }
}

struct OfCommands<C, H>(H, PhantomData<fn() -> C>);

#[async_trait]
impl<C: Command, H: HandleCommand<C>> HandleEnvelope for OfCommands<C, H> {
    async fn gather(&self, _work: &mut Work, _envelopes: &[&Envelope]) -> Result<(), Failure> {
        Ok(())
    }

    async fn handle(&self, work: &mut Work, envelope: &Envelope) -> Result<(), Failure> {
        let kernel::Subject { service, version, name, .. } = &envelope.subject;
        let command = C::read(name, &envelope.payload)
            .map_err(|error| Failure::Poison(format!("not a {name}: {error}")))?;
        let entry = contracts::entry(service, version, name);
        let wrong = entry.and_then(|entry| check::bytes(entry.full_name, &envelope.payload).err());
        self.0.handle(work, command, wrong).await
    }
}

struct OfObjects<H>(H);

#[async_trait]
impl<H: HandleObjects> HandleEnvelope for OfObjects<H> {
    async fn gather(&self, _work: &mut Work, _envelopes: &[&Envelope]) -> Result<(), Failure> {
        Ok(())
    }

    async fn handle(&self, work: &mut Work, envelope: &Envelope) -> Result<(), Failure> {
        let told = Told::of(&envelope.subject, &envelope.payload)
            .map_err(|error| Failure::Poison(error.to_string()))?;
        self.0.handle(work, told).await
    }
}

/// (service, version, name) of a message.
type MessageName = (&'static str, &'static str, &'static str);

/// What a service listens to. Commands come from its own work queue, events from `EVENTS`.
#[derive(Clone)]
pub struct Subscriptions {
    pub(crate) service: &'static str,
    pub(crate) key: Option<String>,
    pub(crate) commands: Handlers,
    pub(crate) events: Handlers,
}

type Handlers = HashMap<MessageName, Arc<dyn HandleEnvelope>>;

impl Subscriptions {
    /// Nothing yet. `service` is the name in the proto package: "scheduler", "host_driver".
    pub fn new(service: &'static str) -> Self {
        Self { service, key: None, commands: HashMap::new(), events: HashMap::new() }
    }

    /// Handles `M` with `handler`.
    ///
    /// # Panics
    /// When `M` is a sample, another service's command, or has a handler already: mistakes in the wiring.
    #[must_use]
    pub fn on<M: Message>(mut self, handler: impl Handle<M>) -> Self {
        let name = (M::SERVICE, M::VERSION, M::NAME);
        let table = match M::KIND {
            Kind::Command => {
                assert_eq!(M::SERVICE, self.service, "{} is another service's command", M::NAME);
                &mut self.commands
            }
            Kind::Event => &mut self.events,
            Kind::Sample => panic!("{} is a sample: listen with bus::samples", M::NAME),
        };
        let previous = table.insert(name, Arc::new(Typed(handler, PhantomData)));
        assert!(previous.is_none(), "{} has two handlers", M::NAME);
        self
    }

    /// Handles every event that says what a `T` is now with `handler`: also those that are added later.
    ///
    /// # Panics
    /// When one of them has a handler already: a mistake in the wiring.
    #[must_use]
    pub fn on_object<T: Object>(mut self, handler: impl HandleObject<T>) -> Self {
        let handler: Arc<dyn HandleEnvelope> = Arc::new(OfObject(handler, PhantomData));
        for event in contracts::events_of(T::KIND) {
            let previous = self.events.insert((event.service, event.version, event.name), handler.clone());
            assert!(previous.is_none(), "{} has two handlers", event.name);
        }
        self
    }

    /// Obeys everything that can be done with a kind of object.
    ///
    /// # Panics
    /// When it is another service's kind, or a command has a handler already: mistakes in the wiring.
    #[must_use]
    pub fn on_commands<C: Command>(mut self, handler: impl HandleCommand<C>) -> Self {
        let handler: Arc<dyn HandleEnvelope> = Arc::new(OfCommands(handler, PhantomData));
        for name in C::NAMES {
            assert_eq!(name.0, self.service, "{} is another service's command", name.2);
            let previous = self.commands.insert(*name, handler.clone());
            assert!(previous.is_none(), "{} has two handlers", name.2);
        }
        self
    }

    /// Handles every event that says what an object of one of these kinds is now with `handler`, and what their owners
    /// say beside: that a request was refused, that objects are not kept any more.
    ///
    /// # Panics
    /// When one of them has a handler already: a mistake in the wiring.
    #[must_use]
    pub fn on_objects(
        mut self,
        kinds: impl Iterator<Item = &'static ObjectKind>,
        handler: impl HandleObjects,
    ) -> Self {
        let handler: Arc<dyn HandleEnvelope> = Arc::new(OfObjects(handler));
        let kinds: Vec<&ObjectKind> = kinds.collect();
        let of_objects = kinds.iter().flat_map(|kind| contracts::events_of(kind));
        for event in of_objects.chain(contracts::also_said_by_owners_of(&kinds)) {
            let previous = self.events.insert((event.service, event.version, event.name), handler.clone());
            assert!(previous.is_none(), "{} has two handlers", event.name);
        }
        self
    }

    /// Takes only commands of this key: one host's, for instance.
    #[must_use]
    pub fn only_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub(crate) fn find<'a>(&'a self, subject: &'a kernel::Subject) -> Option<&'a Arc<dyn HandleEnvelope>> {
        // a shorter life for the names, so that one can be asked for that is not static
        let handlers: &HashMap<(&str, &str, &str), Arc<dyn HandleEnvelope>> = match subject.kind {
            Kind::Command => &self.commands,
            Kind::Event => &self.events,
            Kind::Sample => return None,
        };
        handlers.get(&(&subject.service, &subject.version, &subject.name))
    }

    /// Lets the handler of one message write in `work`, without the inbox: for rebuilding tables, where every handler
    /// is one that skips what it has seen. False: nobody listens to this message.
    pub async fn apply(&self, work: &mut Work, envelope: &Envelope) -> Result<bool, Failure> {
        let Some(handler) = self.find(&envelope.subject) else { return Ok(false) };
        work.takes(envelope);
        handler.handle(work, envelope).await?;
        Ok(true)
    }

    /// Delivers messages within one unit of work, each of which can be undone by itself, as a runner does with a batch of
    /// which one fails: for tests. Answers how each went; a message that was claimed before does nothing.
    pub async fn deliver_together(
        &self,
        work: &mut Work,
        envelopes: &[Envelope],
    ) -> Result<Vec<Result<(), Failure>>, store::StoreError> {
        let mut outcomes = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            work.tx().execute("SAVEPOINT message").await?;
            let (mark, now) = (work.mark(), work.now());
            let mut outcome = Ok(());
            if crate::inbox::claim(work.tx(), self.service, envelope.id, now).await? {
                outcome = self.apply(work, envelope).await.map(|_| ());
                if outcome.is_ok() {
                    outcome = work.write_late().await.map_err(Failure::from);
                }
            }
            if outcome.is_err() {
                work.forget_since(mark);
                work.forget_late();
                work.tx().execute("ROLLBACK TO SAVEPOINT message").await?;
            }
            work.tx().execute("RELEASE SAVEPOINT message").await?;
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Delivers one message outside a runner, through the same inbox: for tests and replays. A handler's failure
    /// undoes everything.
    pub async fn deliver(&self, desk: &crate::Desk, envelope: &Envelope) -> Result<(), Failure> {
        let mut work = desk.begin(envelope.cause.clone()).await?;
        work.takes(envelope);
        let now = work.now();
        if !crate::inbox::claim(work.tx(), self.service, envelope.id, now).await? {
            return Ok(());
        }
        let name = &envelope.subject.name;
        let handler =
            self.find(&envelope.subject).ok_or_else(|| Failure::Poison(format!("no handler for {name}")))?;
        handler.handle(&mut work, envelope).await?;
        Ok(work.commit().await?)
    }
}
