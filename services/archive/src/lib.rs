//! The event stream in an object store: compressed segments, each bound to the one before and signed.
#![forbid(unsafe_code)]

pub mod adapters;
mod domain;
mod metrics;
mod rebuild;
mod reconcilers;
mod service;
mod settings;
mod store;
mod translate;
mod verify;

pub use rebuild::Tables;
pub use reconcilers::archiving::Archiving;
pub use service::SERVICE;
pub use settings::Settings;
pub use translate::envelope;
pub use verify::{ReadError, Reader, Verdict, hash, verify};

use ::store::MigrationFile;
use adapters::key::Key;
use adapters::vault::Vault;
use anyhow::Context;
use bus::{Connection, Desk};
use chassis::{Chassis, Loop};
use metrics::Metrics;
use opentelemetry::metrics::Meter;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The tables of the service.
pub const MIGRATIONS: &[MigrationFile] =
    &[MigrationFile { version: 1000, name: "archive", sql: include_str!("../migrations/1000_archive.sql") }];

/// What archives; nothing runs yet.
pub fn archiving(
    settings: &Settings,
    desk: Desk,
    bus: &Connection,
    meter: &Meter,
) -> anyhow::Result<Archiving> {
    Ok(Archiving {
        desk,
        bus: bus.clone(),
        vault: Vault::open(&settings.url, true)?,
        key: Key::from_file(&settings.key_file)?,
        limits: settings.limits()?,
        metrics: Metrics::new(meter),
        waiting_since: Mutex::new(None),
    })
}

/// How long a pass may take: it seals all there is, segment by segment, and goes on where it was when it is begun again.
const LONG_BACKLOG: Duration = Duration::from_secs(1800);

/// An archive that has segments is gone on with where it is, under its own key: a new key beside an old archive, or an
/// empty folder where a disk is not mounted, would make two halves of which neither can be proven.
pub async fn went_before(settings: &Settings, database: &::store::Store) -> anyhow::Result<()> {
    let Some(newest) = store::segments::newest(database.reader()).await? else { return Ok(()) };
    Key::read(&settings.key_file).with_context(|| {
        format!(
            "the archive has {} segments, and the key that signed them cannot be read. Put the key file back; to begin a \
             new archive on purpose, move the database away and give it a `url` of its own",
            newest.number
        )
    })?;
    Vault::open(&settings.url, false).map(|_| ())
}

/// Starts the service.
pub async fn wire(settings: &Settings, chassis: &Chassis) -> anyhow::Result<()> {
    let desk = chassis.desk_of(&SERVICE, &settings.database_url, |_| Box::new(Tables)).await?;
    went_before(settings, desk.store()).await?;
    let archiving = Arc::new(archiving(settings, desk, &chassis.bus, &chassis.meter)?);
    let period = settings.period();
    let plan = Loop::every(period, "archive.archiving").patient_for(LONG_BACKLOG);
    chassis.reconcile(plan, move || {
        let archiving = archiving.clone();
        async move { archiving.pass().await }
    });
    Ok(())
}
