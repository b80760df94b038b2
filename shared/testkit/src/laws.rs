//! What holds of every kind of object, held against one: on both databases, everything delivered once and twice.

use crate::{Bench, Database, databases};
use bus::Subscriptions;
use contracts::common::v1::{OperationProgress, OperationState};
use contracts::{Carried, Object, OwnObject, Snapshot, Told};
use kernel::{Kind as MessageKind, Message, Subject};
use store::{MigrationFile, Store, dump_table};

/// Requests about an object of this name.
pub struct Samples<C, U, D> {
    /// That makes it.
    pub create: fn(name: &str) -> C,
    /// That changes it.
    pub change: fn(name: &str) -> U,
    /// That removes it.
    pub delete: fn(name: &str) -> D,
    /// That makes it and breaks what is declared, and the field it breaks.
    pub broken: (C, &'static str),
}

const ONE: &str = "018f0000-0000-7000-8000-000000000001";
const OTHER: &str = "018f0000-0000-7000-8000-000000000002";

/// Holds a kind against them.
///
/// # Panics
/// When one of them is broken.
pub async fn laws<O: OwnObject, C: Message, U: Message, D: Message>(
    service: &'static str,
    migrations: &[MigrationFile],
    subscriptions: impl Fn(&Store) -> Subscriptions,
    samples: &Samples<C, U, D>,
) {
    for deliveries in [1, 2] {
        for database in databases(migrations).await {
            let bench =
                Bench::new(service, database.store.clone(), subscriptions(&database.store), deliveries);
            let mut court = Court { bench, events: Vec::new() };
            court.judge::<O, C, U, D>(samples).await;
            court.replay(&database, migrations).await;
            drop(court);
            database.remove().await;
        }
    }
}

struct Court {
    bench: Bench,
    /// All that was said of objects.
    events: Vec<(Subject, Vec<u8>)>,
}

/// What came of one command.
struct Outcome<O> {
    /// The event that says what the object is now.
    said: Option<(String, O)>,
    operations: Vec<OperationProgress>,
}

impl<O> Outcome<O> {
    fn refused(&self) -> String {
        let [operation] = self.operations.as_slice() else { panic!("one operation: {:?}", self.operations) };
        assert_eq!(operation.state(), OperationState::Failed);
        operation.refusal.as_ref().map(|refusal| refusal.code.clone()).unwrap_or_default()
    }

    #[track_caller]
    fn is(self, event: &str, revision: u64) -> O
    where
        O: Object,
    {
        let (name, object) = self.said.unwrap_or_else(|| panic!("no {event}: {:?}", self.operations));
        assert_eq!((name.as_str(), object.revision()), (event, revision));
        let [operation] = self.operations.as_slice() else { panic!("one operation: {:?}", self.operations) };
        assert_eq!(operation.state(), OperationState::Succeeded);
        object
    }
}

impl Court {
    async fn tell<O: Object, M: Message>(&mut self, id: &str, command: &M) -> Outcome<O> {
        self.bench.deliver_about(id, command).await.expect("a command is answered, never failed");
        let mut outcome = Outcome { said: None, operations: Vec::new() };
        let said = self.bench.said().await;
        assert_eq!(said.len(), 1, "one answer to each command, however often it is delivered");
        for said in said {
            assert_eq!(said.subject.kind, MessageKind::Event);
            assert_eq!(said.subject.tenant, self.bench.tenant, "it is said to whose it is");
            let payload = said.payload.clone().into();
            let told = Told::of(&said.subject, &payload).expect("a known event");
            if let Ok(Carried { object, .. }) = Carried::<O>::of(&said.subject, &payload) {
                outcome.said = Some((said.subject.name.clone(), object));
                self.events.push((said.subject.clone(), said.payload));
            }
            outcome.operations.extend(told.operations);
        }
        outcome
    }

    async fn judge<O: OwnObject, C: Message, U: Message, D: Message>(&mut self, samples: &Samples<C, U, D>) {
        let Samples { create, change, delete, broken } = samples;
        self.bench.tenant = "acme".into();
        let made = self.tell::<O, C>(ONE, &create("one")).await.is(<O::Created as Message>::NAME, 1);
        assert_eq!((made.id(), made.tenant(), made.name()), (ONE, "acme", "one"));
        assert!(made.created_at_us() > 0 && made.gone_at_us() == 0);
        let exists = format!("{}_EXISTS", O::KIND.name.to_uppercase());
        assert_eq!(self.tell::<O, C>(OTHER, &create("one")).await.refused(), exists, "a name stands once");
        let invalid = self.tell::<O, C>(OTHER, &broken.0).await;
        assert_eq!(invalid.refused(), "INVALID", "what is declared holds for the owner, too");
        let why = invalid.operations[0].refusal.as_ref().map(|refusal| refusal.message.clone());
        assert!(why.as_ref().is_some_and(|why| why.contains(broken.1)), "it names the field: {why:?}");

        // another tenant has its own names, and reaches nobody else's objects
        self.bench.tenant = "other".into();
        let missing = format!("{}_NOT_FOUND", O::KIND.name.to_uppercase());
        assert_eq!(self.tell::<O, U>(ONE, &change("one")).await.refused(), missing);
        assert_eq!(self.tell::<O, D>(ONE, &delete("one")).await.refused(), missing);
        self.tell::<O, C>(OTHER, &create("one")).await.is(<O::Created as Message>::NAME, 1);
        self.bench.tenant = "acme".into();

        let changed = self.tell::<O, U>(ONE, &change("one")).await.is(<O::Changed as Message>::NAME, 2);
        assert_eq!(changed.created_at_us(), made.created_at_us());
        assert!(changed.updated_at_us() >= made.updated_at_us());
        let gone = self.tell::<O, D>(ONE, &delete("one")).await.is(<O::Deleted as Message>::NAME, 3);
        assert!(gone.gone_at_us() > 0, "it says when");
        assert_eq!(self.tell::<O, U>(ONE, &change("one")).await.refused(), missing, "gone stays gone");
        self.tell::<O, D>(ONE, &delete("one")).await.is(<O::Deleted as Message>::NAME, 3);
        let again = "018f0000-0000-7000-8000-000000000003";
        self.tell::<O, C>(again, &create("one")).await.is(<O::Created as Message>::NAME, 1);
    }

    /// The events make the same tables again, in whatever number they come.
    async fn replay(&self, database: &Database, migrations: &[MigrationFile]) {
        let fresh = Database::sqlite(migrations).await;
        for (subject, payload) in self.events.iter().chain(&self.events) {
            let told = Told::of(subject, &payload.clone().into()).expect("a known event");
            let bytes = told.bytes.clone();
            let snapshot: Option<Snapshot> = told.into_snapshot();
            let mut tx = fresh.store.begin().await.expect("a transaction");
            objects::restore(&mut tx, &snapshot.expect("an object"), &bytes).await.expect("restored");
            tx.commit().await.expect("committed");
        }
        for table in objects::TABLES {
            let live = dump_table(&database.store, table).await.expect("read");
            assert!(*table != "objects" || !live.is_empty(), "nothing is compared");
            assert_eq!(dump_table(&fresh.store, table).await.expect("read"), live, "{table}");
        }
        fresh.remove().await;
    }
}
