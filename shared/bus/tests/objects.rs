//! One handler for every event that carries an object of a kind, and what becomes of events that nobody knows.

use async_trait::async_trait;
use bus::rebuild::{FromHandlers, apply_all};
use bus::{Cause, Desk, Envelope, Failure, HandleObject, Subscriptions, Work};
use contracts::common::v1::OperationProgress;
use contracts::scheduler::v1::{Host, HostChanged, Instance, InstanceAccepted, InstanceRefused};
use contracts::storage::v1::{Image, ImageDeleted, ImageImported, ImageKept};
use contracts::{Carried, Object};
use kernel::{Kind, Message, MessageId, Subject, SystemClock, Timestamp};
use std::sync::{Arc, Mutex};
use testkit::{Bench, Database};

/// Remembers what it is told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn all(&self) -> Vec<String> {
        self.0.lock().expect("lock").clone()
    }
}

#[async_trait]
impl HandleObject<Image> for Heard {
    async fn handle(&self, work: &mut Work, event: Carried<Image>) -> Result<(), Failure> {
        assert_eq!(event.bytes, encoded(&event.object));
        let operations: Vec<&str> = event.operations.iter().map(|one| one.operation_id.as_str()).collect();
        let line =
            format!("{} {} {operations:?} {}", event.object.id, event.object.revision, work.cause().tenant);
        self.0.lock().expect("lock").push(line);
        Ok(())
    }
}

fn encoded<T: Object>(object: &T) -> Vec<u8> {
    object.encode_to_vec()
}

fn image(id: &str, revision: u64) -> Option<Image> {
    Some(Image { id: id.into(), revision, ..Image::default() })
}

#[tokio::test]
async fn one_handler_hears_every_event_of_an_object() {
    let (database, heard) = (Database::sqlite(&[]).await, Heard::default());
    let subscriptions = Subscriptions::new("scheduler").on_object(heard.clone());
    let mut bench = Bench::new("scheduler", database.store.clone(), subscriptions, 2);
    let operations = vec![OperationProgress { operation_id: "o".into(), ..OperationProgress::default() }];
    bench.deliver(&ImageImported { image: image("a", 2), operations }).await.expect("taken");
    bench.deliver(&ImageKept { image: image("b", 0), operations: vec![] }).await.expect("taken");
    bench.deliver(&ImageDeleted { image: image("a", 3), operations: vec![] }).await.expect("taken");
    let lines: Vec<String> =
        heard.all().iter().map(|l| l.rsplit_once(' ').expect("a tenant").0.to_owned()).collect();
    assert_eq!(lines, ["a 2 [\"o\"]", "b 0 []", "a 3 []"], "each once, though it came twice");
    let nothing = bench.deliver(&ImageKept { image: None, operations: vec![] }).await;
    assert!(matches!(&nothing, Err(Failure::Poison(why)) if why.contains("carries no image")), "{nothing:?}");
    let host = HostChanged { host: Some(Host::default()), operations: vec![] };
    assert!(bench.deliver(&host).await.is_err(), "nobody listens to hosts");
    database.remove().await;
}

struct Instances(Heard);

#[async_trait]
impl HandleObject<Instance> for Instances {
    async fn handle(&self, _work: &mut Work, event: Carried<Instance>) -> Result<(), Failure> {
        self.0.0.lock().expect("lock").push(event.object.id);
        Ok(())
    }
}

#[tokio::test]
async fn what_is_only_mentioned_is_not_heard() {
    let (database, heard) = (Database::sqlite(&[]).await, Heard::default());
    let subscriptions = Subscriptions::new("gateway").on_object(Instances(heard.clone()));
    let mut bench = Bench::new("gateway", database.store.clone(), subscriptions, 1);
    let instance = Some(Instance { id: "i".into(), revision: 1, ..Instance::default() });
    bench.deliver(&InstanceAccepted { instance: instance.clone(), operations: vec![] }).await.expect("taken");
    assert!(bench.deliver(&InstanceRefused { instance, operations: vec![] }).await.is_err());
    assert_eq!(heard.all(), ["i"]);
    database.remove().await;
}

#[test]
#[should_panic(expected = "has two handlers")]
fn an_object_has_one_handler() {
    let _ = Subscriptions::new("gateway").on_object(Heard::default()).on_object(Heard::default());
}

fn envelope(service: &str, name: &str, payload: Vec<u8>) -> Box<Envelope> {
    Box::new(Envelope {
        id: MessageId::new(),
        subject: Subject {
            kind: Kind::Event,
            service: service.into(),
            version: "v1".into(),
            name: name.into(),
            tenant: "acme".into(),
            key: "k".into(),
        },
        cause: Cause::own(service),
        occurred_at: Timestamp(1),
        payload: payload.into(),
    })
}

/// Tables from the handlers of every day pass over what they do not listen to, and never over what nobody knows.
#[tokio::test]
async fn a_rebuild_says_which_events_it_does_not_know() {
    let (database, heard) = (Database::sqlite(&[]).await, Heard::default());
    let desk = Desk::new("scheduler", database.store.clone(), Arc::new(SystemClock));
    let subscriptions = Subscriptions::new("scheduler").on_object(heard.clone());
    let tables = FromHandlers { tables: &[], subscriptions };
    let known = ImageImported { image: image("a", 1), operations: vec![] }.to_bytes();
    let host = HostChanged { host: Some(Host::default()), operations: vec![] }.to_bytes();
    let batch = [
        (1, envelope("storage", "ImageImported", known.clone())),
        (2, envelope("storage", "ImageMoved", known.clone())),
        (3, envelope("scheduler", "HostChanged", host)),
        (4, envelope("warehouse", "ShelfMade", known.clone())),
    ];
    let unreadable = apply_all(&desk, &tables, &batch).await.expect("the rest is taken");
    assert_eq!(unreadable.len(), 2, "{unreadable:#?}");
    assert!(
        unreadable[0].starts_with("event 2 ")
            && unreadable[0].contains("knows no event storage.v1.ImageMoved")
    );
    assert!(
        unreadable[1].starts_with("event 4 ")
            && unreadable[1].contains("knows no event warehouse.v1.ShelfMade")
    );
    assert!(!heard.all().is_empty(), "what is known is taken");
    database.remove().await;
}
