//! The service on a bench: real databases, a real folder as the datastore, a real web server, every message once and
//! twice.
#![allow(clippy::unwrap_used, dead_code)] // each test file uses its own part

pub mod web;

use contracts::common::v1::{ArtifactRole, DiskFormat, OperationProgress, OperationState};
use contracts::scheduler::v1 as scheduler;
use contracts::storage::v1 as wire;
use contracts::storage::v1::artifact_source::Source;
use kernel::{ImageId, InstanceId, OperationId, UploadId};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use storage::{Metrics, Parts, Settings, Wakes};
use testkit::{Bench, Database, Said, databases, eventually};

pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Bed {
    pub database: Database,
    pub bench: Bench,
    pub settings: Settings,
    pub parts: Parts,
    pub folder: tempfile::TempDir,
    /// Everything said so far, in order.
    pub log: Vec<Said>,
    wakes: Wakes,
}

/// Runs a case on both databases, with every message delivered once and twice.
pub async fn everywhere(case: impl AsyncFn(&mut Bed)) {
    everywhere_with(|_| {}, case).await;
}

pub async fn everywhere_with(change: impl Fn(&mut Settings), case: impl AsyncFn(&mut Bed)) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for deliveries in [1, 2] {
        for database in databases(storage::MIGRATIONS).await {
            eprintln!("on {} with {deliveries} deliveries", database.name);
            let mut bed = Bed::new(database, deliveries, &change);
            case(&mut bed).await;
            drop(bed.parts);
            bed.database.remove().await;
        }
    }
}

impl Bed {
    fn new(database: Database, deliveries: usize, change: &impl Fn(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            datastore_url: format!("file://{}/datastore", folder.path().display()),
            allow_private_urls: true,
            deletion_grace_ms: 0,
            retry_ms: 20,
            attempts: 4,
            max_file_bytes: 8 << 20,
            ..Settings::default()
        };
        change(&mut settings);
        let wakes = Wakes::default();
        let clock = Arc::new(kernel::SystemClock);
        let desk = bus::Desk::new(storage::SERVICE.name, database.store.clone(), clock);
        let mut bench = Bench::on(desk.clone(), storage::subscriptions(&settings, &desk, &wakes), deliveries);
        bench.tenant = "acme".into();
        let parts = parts(&settings, &bench, &wakes);
        Self { database, bench, settings, parts, folder, log: Vec::new(), wakes }
    }

    /// The process dies and another one starts: tasks are cut off, memory is lost.
    pub fn crash(&mut self) {
        self.parts = parts(&self.settings, &self.bench, &self.wakes);
    }

    /// One pass of every loop.
    pub async fn pass(&mut self) {
        self.parts.imports.clone().pass().await.unwrap();
        self.parts.removals.clone().pass().await.unwrap();
        let said = self.bench.said().await;
        self.log.extend(said);
    }

    /// Runs the loops until the operation ended; returns how, and its refusal's code.
    pub async fn ends(&mut self, operation: &OperationId) -> (OperationState, String) {
        let id = operation.to_string();
        let what = format!("operation {id} to end");
        eventually(DEADLINE, &what, async || {
            self.pass().await;
            let ends: Vec<_> =
                self.progress(&id).into_iter().filter(|p| p.state() != OperationState::Running).collect();
            assert!(ends.len() <= 1, "an operation ends once: {ends:?}");
            let end = ends.into_iter().next()?;
            Some((end.state(), end.refusal.map(|r| r.code).unwrap_or_default()))
        })
        .await
    }

    pub fn progress(&self, operation: &str) -> Vec<OperationProgress> {
        let all = self
            .log
            .iter()
            .flat_map(|said| event(said).map(|(_, operations)| operations).unwrap_or_default());
        all.filter(|p| p.operation_id == operation).collect()
    }

    /// The newest snapshot of an image.
    pub fn image(&self, id: &ImageId) -> wire::Image {
        let snapshots =
            self.log.iter().filter_map(event).map(|(image, _)| image).filter(|i| i.id == id.to_string());
        snapshots.max_by_key(|i| i.revision).expect("something was said about it")
    }

    pub async fn deliver_import(
        &mut self,
        name: &str,
        sources: Vec<wire::ArtifactSource>,
    ) -> (ImageId, OperationId) {
        let (image, operation) = (ImageId::new(), OperationId::new());
        let message = wire::ImportImage {
            image_id: image.to_string(),
            operation_id: operation.to_string(),
            tenant: self.bench.tenant.clone(),
            name: name.into(),
            sources,
            ..wire::ImportImage::default()
        };
        self.bench.deliver(&message).await.unwrap();
        (image, operation)
    }

    /// An image that is ready.
    pub async fn ready(&mut self, name: &str, bytes: &[u8]) -> ImageId {
        let source = self.stage(ArtifactRole::Disk, bytes);
        let (image, operation) = self.deliver_import(name, vec![source]).await;
        assert_eq!(self.ends(&operation).await, (OperationState::Succeeded, String::new()));
        image
    }

    pub async fn deliver_delete(&mut self, image: &ImageId) -> OperationId {
        let operation = OperationId::new();
        let message = wire::DeleteImage {
            image_id: image.to_string(),
            operation_id: operation.to_string(),
            tenant: self.bench.tenant.clone(),
        };
        self.bench.deliver(&message).await.unwrap();
        operation
    }

    /// Puts a file where the gateway puts uploads.
    pub fn stage(&self, role: ArtifactRole, bytes: &[u8]) -> wire::ArtifactSource {
        let id = UploadId::new().to_string();
        std::fs::write(self.datastore().join("staging").join(&id), bytes).unwrap();
        wire::ArtifactSource {
            role: role.into(),
            source: Some(Source::UploadId(id)),
            ..wire::ArtifactSource::default()
        }
    }

    pub fn datastore(&self) -> PathBuf {
        self.folder.path().join("datastore")
    }

    /// Names of the files in a folder of the datastore.
    pub fn files(&self, folder: &str) -> Vec<String> {
        // one in which nothing ever was is not made
        let Ok(entries) = std::fs::read_dir(self.datastore().join(folder)) else { return Vec::new() };
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Number of rows.
    pub async fn rows(&self, table: &'static str) -> usize {
        store::dump_table(self.bench.desk.store(), table).await.unwrap().len()
    }
}

fn parts(settings: &Settings, bench: &Bench, wakes: &Wakes) -> Parts {
    let meter = opentelemetry::global::meter("test");
    Parts::new(settings, &bench.desk, wakes, Metrics::new(&meter), &chassis::Health::default()).unwrap()
}

/// Image and operations of an event of this service.
pub fn event(said: &Said) -> Option<(wire::Image, Vec<OperationProgress>)> {
    let (image, operations) = match said.subject.name.as_str() {
        "ImageImportStarted" => said.get::<wire::ImageImportStarted>().map(|e| (e.image, e.operations))?,
        "ImageImported" => said.get::<wire::ImageImported>().map(|e| (e.image, e.operations))?,
        "ImageRejected" => said.get::<wire::ImageRejected>().map(|e| (e.image, e.operations))?,
        "ImageKept" => said.get::<wire::ImageKept>().map(|e| (e.image, e.operations))?,
        "ImageDeletionStarted" => {
            said.get::<wire::ImageDeletionStarted>().map(|e| (e.image, e.operations))?
        }
        "ImageDeleted" => said.get::<wire::ImageDeleted>().map(|e| (e.image, e.operations))?,
        _ => return None,
    };
    Some((image.expect("events carry the image"), operations))
}

/// An instance that boots from an image.
pub fn instance(id: InstanceId, name: &str, image: &ImageId, revision: u64) -> Option<scheduler::Instance> {
    let spec = scheduler::InstanceSpec { image_id: image.to_string(), ..scheduler::InstanceSpec::default() };
    Some(scheduler::Instance {
        id: id.to_string(),
        tenant: "acme".into(),
        name: name.into(),
        revision,
        spec: Some(spec),
        ..scheduler::Instance::default()
    })
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}

/// A disk with a boot sector and `marker` in it.
pub fn raw_disk(marker: &str) -> Vec<u8> {
    let mut disk = vec![0u8; 4096];
    disk[..marker.len()].copy_from_slice(marker.as_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    disk
}

/// Files that the real qemu-img makes.
pub fn qemu_img(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("qemu-img");
    let status = command.args(arguments).current_dir(folder).stdout(Stdio::null()).status();
    assert!(status.expect("this test needs qemu-img: apt-get install qemu-utils").success(), "{arguments:?}");
}

/// A qcow2 disk of 16 MiB with something in it.
pub fn qcow2_disk(folder: &Path) -> Vec<u8> {
    std::fs::write(folder.join("raw"), [raw_disk("root"), vec![7u8; 16 << 20]].concat()).unwrap();
    qemu_img(folder, &["convert", "-c", "-f", "raw", "-O", "qcow2", "raw", "disk.qcow2"]);
    std::fs::read(folder.join("disk.qcow2")).unwrap()
}

/// A source of a disk from the web.
pub fn from_web(url: &str, sha256: &str, format: DiskFormat) -> wire::ArtifactSource {
    wire::ArtifactSource {
        role: ArtifactRole::Disk.into(),
        source: Some(Source::Url(url.into())),
        sha256: sha256.into(),
        format: format.into(),
        size_bytes: 0,
    }
}
