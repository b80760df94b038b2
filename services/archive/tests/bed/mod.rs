//! A broker, an archive in a folder, and events to put into it.
#![allow(dead_code)] // each test file uses its part

use archive::adapters::key::{Key, PublicKey};
use archive::adapters::vault::Vault;
use archive::{Archiving, Reader, Settings};
use bus::{Cause, Connection, Desk, Envelope, Report};
use contracts::archive::v1::entry;
use contracts::gateway::v1::{Flavor, FlavorCreated};
use kernel::{Message, MessageId, Subject, SystemClock, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use store::Store;
use testkit::NatsServer;

pub struct Bed {
    pub nats: NatsServer,
    pub bus: Connection,
    pub folder: tempfile::TempDir,
    said: i64,
}

impl Bed {
    pub async fn start() -> Self {
        let nats = NatsServer::start().await;
        let bus = Connection::open(&nats.settings(), "archive test", Report::none()).await.expect("connects");
        Self { nats, bus, folder: tempfile::tempdir().expect("a folder"), said: 0 }
    }

    pub fn settings(&self, segment_events: u64, segment_age_s: u64) -> Settings {
        Settings {
            url: format!("file://{}", self.store().display()),
            key_file: self.folder.path().join("archive.key"),
            segment_events,
            segment_age_s,
            ..Settings::default()
        }
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub fn public_key(&self) -> PublicKey {
        Key::read(&self.folder.path().join("archive.key")).expect("a key").public()
    }

    pub fn archiving(&self, store: &Store, segment_events: u64, segment_age_s: u64) -> Archiving {
        let desk = Desk::new(archive::SERVICE.name, store.clone(), Arc::new(SystemClock));
        let meter = opentelemetry::global::meter("test");
        archive::archiving(&self.settings(segment_events, segment_age_s), desk, &self.bus, &meter)
            .expect("it opens")
    }

    /// Says events as a service would.
    pub async fn say(&mut self, count: i64) {
        for _ in 0..count {
            self.said += 1;
            let event = FlavorCreated {
                flavor: Some(Flavor {
                    name: format!("flavor-{}", self.said),
                    revision: 1,
                    ..Flavor::default()
                }),
            };
            let envelope = Envelope {
                id: MessageId::new(),
                subject: Subject {
                    kind: FlavorCreated::KIND,
                    service: FlavorCreated::SERVICE.into(),
                    version: FlavorCreated::VERSION.into(),
                    name: FlavorCreated::NAME.into(),
                    tenant: "platform".into(),
                    key: event.key().into(),
                },
                cause: Cause::own("gateway"),
                occurred_at: Timestamp(self.said * 1_000_000),
                payload: event.to_bytes().into(),
            };
            let mut headers = async_nats::HeaderMap::new();
            for (name, value) in envelope.headers() {
                headers.insert(name.as_str(), value.as_str());
            }
            let sent = self.bus.jetstream().publish_with_headers(
                envelope.subject.to_string(),
                headers,
                envelope.payload,
            );
            sent.await.expect("sent").await.expect("kept");
        }
    }

    /// Names in the archive, in order; gaps as their kind.
    pub async fn names(&self) -> Vec<String> {
        let mut reader = self.reader().await;
        let mut names = Vec::new();
        while let Some((_, entries)) = reader.next().await.expect("as it was written") {
            for entry in entries {
                names.push(match entry.what {
                    Some(entry::What::Event(event)) => {
                        archive::envelope(&event).expect("an envelope").subject.key
                    }
                    Some(entry::What::Gap(gap)) => format!("gap: {}", gap.kind),
                    None => "nothing".into(),
                });
            }
        }
        names
    }

    pub async fn reader(&self) -> Reader {
        Reader::new(Vault::open(&self.settings(1, 1).url, false).expect("opens"), self.public_key())
            .await
            .expect("lists")
    }
}

pub fn flavors(numbers: std::ops::RangeInclusive<i64>) -> Vec<String> {
    numbers.map(|number| format!("flavor-{number}")).collect()
}
