//! A process of its own archives and is killed at every step of every file it writes; another goes on with its table, its
//! archive and its stream. Nothing is missing, nothing is there twice, and each segment is told of once.

mod bed;

use archive::adapters::vault::Vault;
use archive::{MIGRATIONS, Settings, verify};
use async_trait::async_trait;
use bed::{Bed, flavors};
use bus::{BusSettings, Connection, Desk, Report};
use futures::stream::BoxStream;
use kernel::SystemClock;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::{Database, databases, eventually};

/// Events of a segment.
const SEGMENT: u64 = 5;
/// What each process has to archive: two segments, which are four files.
const EVENTS: i64 = 11;
const FILES: usize = 4;
const SOON: Duration = Duration::from_secs(30);

/// A folder that ends its process while something is written into it.
#[derive(Debug)]
struct Deadly {
    folder: LocalFileSystem,
    /// Writes until then.
    left: AtomicUsize,
    /// "before", "half" or "after".
    step: String,
}

impl fmt::Display for Deadly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, not for long", self.folder)
    }
}

#[async_trait]
impl ObjectStore for Deadly {
    async fn put_opts(&self, place: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 1 {
            return self.folder.put_opts(place, payload, options).await;
        }
        let whole: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
        let written = match self.step.as_str() {
            "before" => None,
            // as a disk may leave it that lost its power
            "half" => Some(&whole[..whole.len() / 2]),
            _ => Some(whole.as_slice()),
        };
        if let Some(written) = written {
            self.folder.put_opts(place, written.to_vec().into(), options).await?;
        }
        std::process::abort()
    }

    async fn put_multipart_opts(
        &self,
        place: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.folder.put_multipart_opts(place, options).await
    }

    async fn get_opts(&self, place: &Path, options: GetOptions) -> Result<GetResult> {
        self.folder.get_opts(place, options).await
    }

    fn delete_stream(&self, places: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.folder.delete_stream(places)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.folder.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.folder.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.folder.copy_opts(from, to, options).await
    }
}

fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The process that dies.
async fn archive_until_killed(database: &str) {
    let variable = |name: &str| told(name).unwrap_or_else(|| panic!("{name} is not set"));
    let database = Database::open(database, MIGRATIONS).await;
    let bus = BusSettings { url: variable("BERTH_CHILD_BROKER"), ..BusSettings::default() };
    let bus = Connection::open(&bus, "child", Report::none()).await.expect("connects");
    let folder = variable("BERTH_CHILD_FOLDER");
    let settings = Settings {
        url: format!("file://{folder}/store"),
        key_file: format!("{folder}/archive.key").into(),
        segment_events: SEGMENT,
        segment_age_s: 3_600,
        ..Settings::default()
    };
    let desk = Desk::new(archive::SERVICE.name, database.store.clone(), Arc::new(SystemClock));
    let archiving =
        archive::archiving(&settings, desk, &bus, &opentelemetry::global::meter("test")).expect("it opens");
    let deadly = Deadly {
        folder: LocalFileSystem::new_with_prefix(format!("{folder}/store"))
            .expect("a folder")
            .with_fsync(true),
        left: AtomicUsize::new(variable("BERTH_CHILD_FILE").parse().expect("a number")),
        step: variable("BERTH_CHILD_STEP"),
    };
    archiving.writing_to(Vault::over(Arc::new(deadly))).pass().await.expect("a pass");
    // it lived, which the other process takes for the failure it is
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_another_goes_on_without_a_loss_and_without_a_double() {
    if let Some(database) = told("BERTH_CHILD_DATABASE") {
        return archive_until_killed(&database).await;
    }
    for database in databases(MIGRATIONS).await {
        let mut bed = Bed::start().await;
        // the key and the folder are there before anybody dies
        bed.archiving(&database.store, SEGMENT, 3_600).pass().await.expect("a pass over nothing");
        let mut said = 0;
        for file in 1..=FILES {
            // every second file is a checkpoint: those are short, and no store that is supported writes a part of one
            let steps: &[&str] =
                if file % 2 == 0 { &["before", "after"] } else { &["before", "half", "after"] };
            for step in steps {
                bed.say(EVENTS).await;
                said += EVENTS;
                let mut child = Command::new(std::env::current_exe().expect("this test"))
                    .args([
                        "--exact",
                        "whenever_it_is_killed_another_goes_on_without_a_loss_and_without_a_double",
                    ])
                    .env("BERTH_CHILD_DATABASE", &database.url)
                    .env("BERTH_CHILD_BROKER", bed.nats.url())
                    .env("BERTH_CHILD_FOLDER", bed.folder.path())
                    .env("BERTH_CHILD_FILE", file.to_string())
                    .env("BERTH_CHILD_STEP", step)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("a child");
                let status =
                    eventually(SOON, "the child to die", async || child.try_wait().expect("our own child"))
                        .await;
                assert_eq!(status.code(), None, "{file} {step}: killed, not ended: {status}");
            }
        }
        let archiving = bed.archiving(&database.store, SEGMENT, 0);
        archiving.pass().await.expect("a pass");
        archiving.pass().await.expect("a pass");
        assert_eq!(bed.names().await, flavors(1..=said), "{}", database.name);

        let vault = Vault::open(&bed.store().display().to_string(), false).expect("opens");
        let verdict = verify(&vault, &bed.public_key(), &[]).await.expect("read");
        assert_eq!((verdict.first_problem, verdict.events), (None, said.unsigned_abs()), "{}", database.name);
        let numbers: Vec<i64> = sqlx::query_scalar("SELECT number FROM segments ORDER BY number")
            .fetch_all(database.store.reader())
            .await
            .expect("rows");
        let all: Vec<i64> = (1..=i64::try_from(verdict.segments).expect("few")).collect();
        assert_eq!(numbers, all, "{}: every segment is in the table", database.name);
        let subjects: Vec<String> = sqlx::query_scalar("SELECT subject FROM outbox ORDER BY seq")
            .fetch_all(database.store.reader())
            .await
            .expect("rows");
        let expected: Vec<String> =
            all.iter().map(|number| format!("evt.archive.v1.SegmentArchived.platform.{number}")).collect();
        assert_eq!(subjects, expected, "{}: each is told of once", database.name);
        drop(bed);
        database.remove().await;
    }
}
