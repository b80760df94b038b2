//! Reading events from a cursor, and live channels.

mod support;

use bus::watch::{Cursor, Gap, Item, Query, extent, position_at, present, watch};
use bytes::Bytes;
use kernel::{Clock as _, SystemClock, Timestamp};
use std::time::Duration;
use support::{SOON, Service, id};
use testkit::{NatsServer, eventually};

async fn next(items: &mut tokio::sync::mpsc::Receiver<Result<Item, bus::watch::WatchError>>) -> Item {
    tokio::time::timeout(SOON, items.recv()).await.expect("in time").expect("not ended").expect("readable")
}

fn key_and_sequence(item: &Item) -> (String, u64) {
    match item {
        Item::Event { envelope, sequence, .. } => (envelope.subject.key.clone(), *sequence),
        Item::Gap { reason, .. } => panic!("a gap: {reason}"),
    }
}

#[tokio::test]
async fn a_reader_gets_exactly_the_suffix_after_its_cursor_and_then_what_comes() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let ids: Vec<String> = (0..5).map(|_| id()).collect();
    for id in &ids {
        service.tell(id).await;
    }
    eventually(SOON, "events", async || (service.events().await.len() == 5).then_some(())).await;
    let cursor =
        Cursor { incarnation: extent(&service.connection).await.expect("extent").incarnation, after: 3 };
    let mut items = watch(service.connection.clone(), Query { cursor, follow: true, ..Query::default() });
    assert_eq!(key_and_sequence(&next(&mut items).await), (ids[3].clone(), 4));
    assert_eq!(key_and_sequence(&next(&mut items).await), (ids[4].clone(), 5));
    let later = id();
    service.tell(&later).await;
    assert_eq!(key_and_sequence(&next(&mut items).await), (later, 6));

    let only = Query { subjects: vec!["evt.gateway.>".into()], ..Query::default() };
    assert!(watch(service.connection.clone(), only).recv().await.is_none(), "nothing matches: ends at once");
    let about = format!("evt.*.*.*.*.{}", ids[1]);
    let mut one =
        watch(service.connection.clone(), Query { last: 3, subjects: vec![about], ..Query::default() });
    assert_eq!(
        key_and_sequence(&next(&mut one).await),
        (ids[1].clone(), 2),
        "the last that match, not of the last"
    );
    assert!(one.recv().await.is_none());
    let any = vec!["evt.scheduler.>".to_owned()];
    let mut two = watch(service.connection.clone(), Query { last: 2, subjects: any, ..Query::default() });
    assert_eq!(key_and_sequence(&next(&mut two).await).1, 5);
    let mut last = watch(service.connection.clone(), Query { last: 2, ..Query::default() });
    assert_eq!(key_and_sequence(&next(&mut last).await).1, 5);
    service.end().await;
}

#[tokio::test]
async fn a_stream_made_anew_is_said_to_a_reader_that_follows() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    service.tell(&id()).await;
    eventually(SOON, "the event", async || (service.events().await.len() == 1).then_some(())).await;
    let mut items = watch(service.connection.clone(), Query { follow: true, ..Query::default() });
    next(&mut items).await;
    service.connection.jetstream().delete_stream("EVENTS").await.expect("delete");
    loop {
        if let Item::Gap { kind, reason, resync } = next(&mut items).await {
            assert_eq!(kind, Gap::MadeAnew, "{reason}");
            assert_eq!(resync.incarnation, extent(&service.connection).await.expect("extent").incarnation);
            break;
        }
    }
    service.end().await;
}

#[tokio::test]
async fn a_live_channel_carries_bytes_both_ways_and_says_when_it_ends() {
    let nats = NatsServer::start().await;
    let (here, there) = (nats.connect().await, nats.connect().await);
    let mut openings = bus::live::serve(&there, "live.test").await.expect("serve");
    tokio::spawn(async move {
        openings.recv().await.expect("a request").refuse("no such instance").await.expect("refuse");
        let opening = openings.recv().await.expect("a request");
        assert_eq!(&opening.request[..], b"web-1");
        let mut channel = opening.accept().await.expect("accept");
        while let Some(chunk) = channel.receiver.recv().await {
            channel.sender.send(chunk).await.expect("echo");
        }
    });
    let refused =
        bus::live::open(&here, "live.test", Bytes::from_static(b"nobody")).await.err().expect("refused");
    assert_eq!(refused.to_string(), "no such instance");
    let mut channel = bus::live::open(&here, "live.test", Bytes::from_static(b"web-1")).await.expect("open");
    channel.sender.send(Bytes::from_static(b"hello")).await.expect("send");
    assert_eq!(channel.receiver.recv().await.as_deref(), Some(&b"hello"[..]));
    drop(channel.sender);
    assert_eq!(tokio::time::timeout(SOON, channel.receiver.recv()).await.expect("closed"), None);
    assert!(bus::live::open(&here, "live.nobody", Bytes::new()).await.is_err());
}

#[tokio::test]
async fn a_time_leads_to_the_place_before_what_was_stored_then() {
    let nats = NatsServer::start().await;
    let service = Service::start(&nats, Duration::ZERO).await;
    let there = async |count: usize| {
        eventually(SOON, "events", async || (service.events().await.len() == count).then_some(())).await;
    };
    let empty = position_at(&service.connection, SystemClock.now()).await.expect("a place");
    assert_eq!(empty.after, 0);
    for _ in 0..3 {
        service.tell(&id()).await;
    }
    there(3).await;
    let middle = SystemClock.now();
    for _ in 0..2 {
        service.tell(&id()).await;
    }
    there(5).await;
    let at = async |time: Timestamp| position_at(&service.connection, time).await.expect("a place").after;
    assert_eq!(at(Timestamp(0)).await, 0);
    assert_eq!(at(middle).await, 3);
    assert_eq!(at(SystemClock.now()).await, 5);
    let now = present(&service.connection).await.expect("a place");
    assert_eq!((now.after, now.incarnation), (5, empty.incarnation));
    service.end().await;
}
