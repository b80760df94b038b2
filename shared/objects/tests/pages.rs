//! Pages of lists are what the filter says, in the order that was asked for, whoever judges: the database or we.
#![allow(missing_docs)]

use contracts::Object as _;
use contracts::scheduler::v1::SshKey;
use objects::{Filter, LOOKED_AT, Order, Query, Row, TABLES_OF_READERS, page, put};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use testkit::{Database, databases};

const TEAMS: [&str; 3] = ["web", "db", ""];

/// Some of the names and times are the same, some objects are gone, and one is another tenant's.
fn key(n: u32) -> SshKey {
    SshKey {
        id: format!("018f0000-0000-7000-8000-{n:012}"),
        tenant: if n == 13 { "other".into() } else { "acme".into() },
        name: format!("key-{}", n / 2 % 11),
        revision: u64::from(n) + 1,
        created_at_us: i64::from(n * 7 % 5),
        updated_at_us: 1,
        deleted_at_us: i64::from(n % 5 == 4),
        labels: [("team".to_owned(), TEAMS[n as usize % 3].to_owned())].into(),
        fingerprint: format!("SHA256:{}", n % 4),
        ..SshKey::default()
    }
}

fn descriptor() -> MessageDescriptor {
    contracts::pool().get_message_by_name(SshKey::KIND.message).expect("known")
}

async fn fill(database: &Database, keys: &[SshKey]) {
    let mut tx = database.store.begin().await.expect("begins");
    for key in keys {
        assert!(put(&mut tx, &Row::of(key)).await.expect("written"));
    }
    tx.commit().await.expect("commits");
}

/// The ids of all pages, one after the other, and on how many they stood.
async fn all(database: &Database, query: Query<'_>) -> (Vec<String>, usize) {
    let (mut ids, mut after, mut pages) = (Vec::new(), None::<(String, String)>, 0);
    loop {
        let after_here = after.as_ref().map(|(key, id)| (key.as_str(), id.as_str()));
        let query = Query { after: after_here, ..query };
        let found = page(database.store.reader(), &query).await.expect("read");
        assert!(found.objects.len() <= query.size);
        ids.extend(found.objects.into_iter().map(|one| one.id));
        pages += 1;
        match found.next {
            Some(next) => after = Some(next),
            None => return (ids, pages),
        }
    }
}

#[tokio::test]
async fn pages_are_what_the_filter_says_on_both_databases() {
    let keys: Vec<SshKey> = (0..60).map(key).collect();
    for database in databases(&TABLES_OF_READERS).await {
        fill(&database, &keys).await;
        for text in [
            "",
            "name = key-3",
            "id = 018f0000-0000-7000-8000-000000000007",
            "labels.team = web",
            "labels.team = \"\"",
            "labels.team != web",
            "labels.none = web",
            "labels : team AND labels.team = db",
            "fingerprint = SHA256:2",
            "fingerprint = SHA256:2 AND labels.team = web AND name : key",
            "fingerprint : 3 AND revision > 10",
            "created_at_us >= 2 AND created_at_us < 4",
            "created_at_us != 2",
            "created_at_us > 99999999999999999999999999",
            "revision <= 30 AND revision != 7",
        ] {
            let filter = Filter::read(text, &descriptor(), &|_| true).expect(text);
            for gone in [false, true] {
                for order in ["", "name desc", "created_at_us", "created_at_us desc"] {
                    let mut expected: Vec<&SshKey> = keys
                        .iter()
                        .filter(|key| key.tenant == "acme" && (gone || key.deleted_at_us == 0))
                        .filter(|key| {
                            let bytes = key.encode_to_vec();
                            filter.takes(
                                &DynamicMessage::decode(descriptor(), bytes.as_slice()).expect("decodes"),
                            )
                        })
                        .collect();
                    if order.starts_with("created") {
                        expected.sort_by(|a, b| (a.created_at_us, &a.id).cmp(&(b.created_at_us, &b.id)));
                    } else {
                        expected.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
                    }
                    if order.ends_with("desc") {
                        expected.reverse();
                    }
                    let expected: Vec<String> = expected.iter().map(|key| key.id.clone()).collect();
                    for size in [1, 7, 100] {
                        let query = Query {
                            kind: SshKey::KIND,
                            tenant: "acme",
                            filter: &filter,
                            order: Order::read(order).expect(order),
                            gone,
                            after: None,
                            size,
                        };
                        let (ids, _) = all(&database, query).await;
                        assert_eq!(ids, expected, "{text:?} {order:?} gone {gone}, pages of {size}");
                    }
                }
            }
        }
        database.remove().await;
    }
}

#[tokio::test]
async fn a_page_looks_at_so_many_and_goes_on_where_it_stopped() {
    let database = Database::sqlite(&TABLES_OF_READERS).await;
    let most = u32::try_from(LOOKED_AT).expect("few");
    let plain = |n: u32| SshKey { tenant: "acme".into(), deleted_at_us: 0, ..key(n) };
    fill(&database, &(0..most * 2 + 10).map(plain).collect::<Vec<_>>()).await;
    // only one fits, and no index knows it
    let last = most * 2 + 10;
    let filter = Filter::read(&format!("revision = {last}"), &descriptor(), &|_| true).expect("a filter");
    let order = Order::read("created_at_us").expect("an order");
    let query = Query {
        kind: SshKey::KIND,
        tenant: "acme",
        filter: &filter,
        order,
        gone: false,
        after: None,
        size: 10,
    };
    let (ids, pages) = all(&database, query).await;
    assert_eq!((ids, pages), (vec![plain(last - 1).id], 3), "two short pages before the last");
    database.remove().await;
}

#[test]
fn an_order_is_known_or_refused() {
    for order in ["", "name", "name asc", "created_at_us desc"] {
        assert!(Order::read(order).is_ok(), "{order}");
    }
    for order in ["id", "name up", "name desc desc", "created_at_us, name"] {
        assert!(Order::read(order).expect_err(order).contains("created_at_us"), "{order}");
    }
}
