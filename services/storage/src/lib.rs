//! Images: taken in, verified, kept by content, removed when nothing uses them.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod domain;
mod handlers;
mod metrics;
mod rebuild;
mod reconcilers;
mod service;
mod settings;
mod store;
mod translate;

pub use metrics::Metrics;
pub use rebuild::{STATE_TABLES, Tables, apply};
pub use service::SERVICE;
pub use settings::Settings;

use ::store::MigrationFile;
use adapters::datastore::Datastore;
use adapters::fetch::Fetcher;
use adapters::qemu_img::QemuImg;
use anyhow::Context;
use bus::{Desk, Subscriptions};
use chassis::{Chassis, Health, Loop};

use handlers::{
    DeleteImageHandler, ImportImageHandler, InstanceAcceptedHandler, InstanceDeletedHandler,
    InstanceRefusedHandler, TenantQuotaSetHandler,
};
use reconcilers::imports::Imports;
use reconcilers::removals::Removals;
use reconcilers::sweep::Sweep;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The tables of the service.
pub const MIGRATIONS: &[MigrationFile] = &[
    MigrationFile { version: 1000, name: "images", sql: include_str!("../migrations/1000_images.sql") },
    MigrationFile { version: 1200, name: "quotas", sql: include_str!("../migrations/1200_quotas.sql") },
];

/// What wakes the reconcilers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    imports: Arc<Notify>,
    removals: Arc<Notify>,
}

impl Wakes {
    fn all(&self) {
        self.imports.notify_one();
        self.removals.notify_one();
    }
}

/// How long a pass may take that removes files, or looks at all of them, on a datastore that may be far away.
const MANY_FILES: Duration = Duration::from_secs(600);

/// Starts the service.
pub async fn wire(settings: &Settings, chassis: &Chassis) -> anyhow::Result<()> {
    let desk = chassis.desk_of(&SERVICE, &settings.database_url, |_| Box::new(Tables)).await?;
    let wakes = Wakes::default();
    let parts = Parts::new(settings, &desk, &wakes, Metrics::new(&chassis.meter), &chassis.health)?;
    parts.qemu_img.probe().await?;
    chassis.serve(&desk, subscriptions(settings, &desk, &wakes));

    let Parts { imports, removals, sweep, .. } = parts;
    // the closures own what they call: the future of one that borrows cannot be shown to be Send
    let plan = Loop::every(Duration::from_secs(5), "storage.imports").woken_by(wakes.imports);
    chassis.reconcile(plan, move || imports.clone().pass());
    let plan = Loop::every(Duration::from_secs(15), "storage.removals").woken_by(wakes.removals);
    chassis.reconcile(plan.patient_for(MANY_FILES), move || removals.clone().pass());
    let plan = Loop::every(Duration::from_secs(60), "storage.sweep").patient_for(MANY_FILES);
    chassis.reconcile(plan, move || sweep.clone().pass());
    Ok(())
}

/// What the service listens to.
pub fn subscriptions(settings: &Settings, desk: &Desk, wakes: &Wakes) -> Subscriptions {
    let (store, limits) =
        (desk.store().clone(), translate::ImportLimits { max_file_bytes: settings.max_file_bytes });
    Subscriptions::new(SERVICE.name)
        .on(ImportImageHandler { store: store.clone(), limits, wakes: wakes.clone() })
        .on(DeleteImageHandler { store, wakes: wakes.clone() })
        .on(InstanceAcceptedHandler)
        .on(InstanceRefusedHandler)
        .on(InstanceDeletedHandler)
        .on(TenantQuotaSetHandler)
}

/// The reconcilers and what they share.
pub struct Parts {
    /// Brings in files.
    pub imports: Arc<Imports>,
    /// Removes images and files.
    pub removals: Arc<Removals>,
    /// Clears up.
    pub sweep: Arc<Sweep>,
    /// Where files are kept.
    pub datastore: Datastore,
    qemu_img: QemuImg,
}

impl Parts {
    /// Opens the datastore and makes the reconcilers; nothing runs yet.
    pub fn new(
        settings: &Settings,
        desk: &Desk,
        wakes: &Wakes,
        metrics: Metrics,
        health: &Health,
    ) -> anyhow::Result<Self> {
        let scratch = Some(settings.scratch_dir.as_path()).filter(|path| *path != Path::new(""));
        let datastore = Datastore::open(&settings.datastore_url, scratch)?;
        let deadline = Duration::from_secs(settings.qemu_img_deadline_s);
        let qemu_img = QemuImg { program: settings.qemu_img.clone(), deadline };
        let tools = reconcilers::Tools {
            desk: desk.clone(),
            datastore: datastore.clone(),
            fetcher: Fetcher::new(settings.fetch_limits()).context("making the web client")?,
            qemu_img: qemu_img.clone(),
            max_file_bytes: settings.max_file_bytes,
            max_disk_bytes: settings.max_disk_bytes,
        };
        let imports =
            Imports::new(tools, settings.retry(), settings.parallel_imports, wakes, metrics.clone());
        let removals = Removals {
            desk: desk.clone(),
            datastore: datastore.clone(),
            grace: Duration::from_millis(settings.deletion_grace_ms),
            wake: wakes.removals.clone(),
        };
        let sweep = Sweep {
            desk: desk.clone(),
            datastore: datastore.clone(),
            idle: Duration::from_secs(settings.unfinished_idle_s),
            metrics,
            health: health.component("storage.datastore"),
        };
        let (imports, removals, sweep) = (Arc::new(imports), Arc::new(removals), Arc::new(sweep));
        Ok(Self { imports, removals, sweep, datastore, qemu_img })
    }
}
