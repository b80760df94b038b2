//! The service as it is started, on a real broker: a command goes in, events come out, also after the broker died.
#![allow(clippy::unwrap_used)]

use bus::{Cause, Envelope};
use chassis::{Chassis, ChassisSettings};
use contracts::common::v1::ArtifactRole;
use contracts::storage::v1::artifact_source::Source;
use contracts::storage::v1::{ArtifactSource, ImageImported, ImportImage};
use futures::StreamExt;
use kernel::{Clock, ImageId, Kind, Message, MessageId, Subject, SystemClock, UploadId};
use std::time::Duration;
use testkit::{NatsServer, eventually_ok};

fn envelope(message: &ImportImage) -> Envelope {
    Envelope {
        id: MessageId::new(),
        subject: Subject {
            kind: Kind::Command,
            service: ImportImage::SERVICE.into(),
            version: ImportImage::VERSION.into(),
            name: ImportImage::NAME.into(),
            tenant: String::new(),
            key: message.key().into(),
        },
        cause: Cause { actor: "alice".into(), ..Cause::own("test").for_tenant("acme") },
        occurred_at: SystemClock.now(),
        payload: message.to_bytes().into(),
    }
}

async fn publish(connection: &bus::Connection, envelope: &Envelope) {
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in envelope.headers() {
        headers.insert(name.as_str(), value.as_str());
    }
    eventually_ok(Duration::from_secs(20), "the broker to take the command", async || {
        let sent = connection.jetstream().publish_with_headers(
            envelope.subject.to_string(),
            headers.clone(),
            envelope.payload.clone(),
        );
        match sent.await {
            Ok(acknowledged) => acknowledged.await.map(drop).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_on_the_bus_becomes_an_event_also_after_the_broker_died() {
    let mut server = NatsServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let chassis = ChassisSettings {
        bus: server.settings(),
        sealing_key_file: folder.path().join("sealing.key"),
        ..ChassisSettings::default()
    };
    let chassis = Chassis::start("storage", &chassis).await.unwrap();
    let datastore = folder.path().join("datastore");
    let settings = storage::Settings {
        database_url: format!("sqlite://{}/storage.db", folder.path().display()),
        datastore_url: format!("file://{}", datastore.display()),
        ..storage::Settings::default()
    };
    storage::wire(&settings, &chassis).await.unwrap();
    let connection = server.connect().await;

    let mut disk = vec![0u8; 4096];
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    for round in ["first", "after the broker came back"] {
        let upload = UploadId::new().to_string();
        std::fs::write(datastore.join("staging").join(&upload), &disk).unwrap();
        let image = ImageId::new();
        let source = ArtifactSource {
            role: ArtifactRole::Disk.into(),
            source: Some(Source::UploadId(upload)),
            ..ArtifactSource::default()
        };
        let message = ImportImage {
            image_id: image.to_string(),
            operation_id: "op".into(),
            tenant: "acme".into(),
            name: format!("image-{image}"),
            sources: vec![source],
            ..ImportImage::default()
        };
        let command = envelope(&message);
        publish(&connection, &command).await;
        let event = imported(&connection, &image).await;
        assert_eq!(event.cause.correlation, command.cause.correlation, "{round}");
        assert_eq!((event.cause.actor.as_str(), event.cause.tenant.as_str()), ("alice", "acme"), "{round}");
        let image = ImageImported::from_bytes(&event.payload).unwrap().image.unwrap();
        assert_eq!(image.artifacts.len(), 1, "{round}");
        server.kill();
        server.up().await;
    }
    chassis.tasks.stop().await;
}

/// The event that says the image is ready, read from the stream itself.
async fn imported(connection: &bus::Connection, image: &ImageId) -> Envelope {
    let subject = format!("evt.storage.v1.ImageImported.acme.{image}");
    eventually_ok(Duration::from_secs(30), "ImageImported in the stream", async || {
        let stream = connection.jetstream().get_stream("EVENTS").await.map_err(|e| e.to_string())?;
        let config = async_nats::jetstream::consumer::pull::OrderedConfig {
            filter_subject: subject.clone(),
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|e| e.to_string())?;
        let mut messages = consumer.messages().await.map_err(|e| e.to_string())?;
        let next =
            tokio::time::timeout(Duration::from_secs(2), messages.next()).await.map_err(|e| e.to_string())?;
        let message = next.ok_or("ended")?.map_err(|e| e.to_string())?;
        Envelope::read(&message.subject, message.headers.as_ref(), message.payload.clone())
            .map_err(|e| e.to_string())
    })
    .await
}
