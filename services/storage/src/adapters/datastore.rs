//! Where files are kept: `staging/<upload id>` for what was sent, `images/<sha256>` for what was verified,
//! `removed/<sha256>.<id>` for what is about to go.
//!
//! Every file is first whole and measured in a scratch folder on a local disk, because qemu-img must see it there;
//! then it appears in `images/` in one step. In a datastore that is a folder, that step is a rename.

use super::intake::{self, Intake, Measure, ScratchFile};
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;

/// A datastore did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DatastoreError {
    /// The URL names no datastore we speak.
    #[error("datastore_url: {0}")]
    Url(String),
    /// The object store failed.
    #[error("datastore: {0}")]
    Store(#[from] object_store::Error),
    /// The local disk failed.
    #[error("datastore: {0}")]
    Io(#[from] io::Error),
}

/// A place for files. Cheap to clone.
#[derive(Clone)]
pub struct Datastore {
    store: Arc<dyn ObjectStore>,
    /// The folder, when the datastore is one.
    root: Option<PathBuf>,
    scratch: PathBuf,
}

const STAGING: &str = "staging";
const IMAGES: &str = "images";
const REMOVED: &str = "removed";

/// A file that was set aside, to be removed or put back.
#[derive(Debug, Clone)]
pub struct Aside {
    /// Of its bytes.
    pub sha256: String,
    key: Key,
}

/// What is not there need not be taken away.
fn there(done: object_store::Result<()>) -> Result<(), DatastoreError> {
    match done {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// When the file was last written to or got a name: a staged file that was just taken keeps its old time of writing.
fn touched(meta: &std::fs::Metadata) -> SystemTime {
    let changed = u64::try_from(meta.ctime()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(changed)
}

fn staged(upload_id: &str) -> Key {
    Key::from_iter([STAGING, upload_id])
}

fn image(sha256: &str) -> Key {
    Key::from_iter([IMAGES, sha256])
}

impl Datastore {
    /// Opens the datastore and makes its folders. `url`: `file:///abs/folder`, or `memory:///` for tests. `scratch`:
    /// where files are inspected; by default a folder of the datastore itself.
    pub fn open(url: &str, scratch: Option<&Path>) -> Result<Self, DatastoreError> {
        let wrong = || {
            DatastoreError::Url(format!("{url:?} is no datastore known here: use file:///absolute/folder"))
        };
        let (scheme, path) = url.split_once("://").ok_or_else(wrong)?;
        match scheme {
            "file" if path.starts_with('/') => {
                let root = PathBuf::from(path);
                let scratch = scratch.map_or_else(|| root.join("scratch"), Path::to_path_buf);
                for folder in [&root.join(STAGING), &root.join(IMAGES), &scratch] {
                    std::fs::create_dir_all(folder)?;
                }
                let store = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true);
                Ok(Self { store: Arc::new(store), root: Some(root), scratch })
            }
            "memory" => {
                let scratch =
                    scratch.ok_or_else(|| DatastoreError::Url("memory:/// needs a scratch folder".into()))?;
                std::fs::create_dir_all(scratch)?;
                Ok(Self { store: Arc::new(InMemory::new()), root: None, scratch: scratch.to_path_buf() })
            }
            _ => Err(wrong()),
        }
    }

    /// The folder in which files are inspected.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The object store itself.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// A staged file brought to the scratch folder, or `None` when nothing is staged under that id.
    pub async fn take_staged(&self, upload_id: &str) -> Result<Option<ScratchFile>, DatastoreError> {
        let Some(root) = &self.root else { return self.download_staged(upload_id).await };
        let from = root.join(STAGING).join(upload_id);
        // a second name for the same bytes: nothing is copied, and sweeping the staging area does not disturb us
        let linked = tempfile::Builder::new()
            .prefix("import-")
            .make_in(&self.scratch, |to| std::fs::hard_link(&from, to));
        match linked {
            Ok(link) => {
                let path = link.into_temp_path();
                let measure = intake::measure(&path).await?;
                Ok(Some(ScratchFile { path, measure }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            // the scratch folder is on another disk
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => self.download_staged(upload_id).await,
            Err(e) => Err(e.into()),
        }
    }

    async fn download_staged(&self, upload_id: &str) -> Result<Option<ScratchFile>, DatastoreError> {
        let mut chunks = match self.store.get(&staged(upload_id)).await {
            Ok(found) => found.into_stream(),
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let mut intake = Intake::begin(&self.scratch)?;
        while let Some(chunk) = chunks.try_next().await? {
            intake.write(&chunk).await?;
        }
        Ok(Some(intake.finish().await?))
    }

    /// Keeps a scratch file as `images/<its digest>`. A file that is there already is not written again.
    pub async fn adopt(&self, file: ScratchFile) -> Result<(), DatastoreError> {
        let Measure { size, sha256, .. } = file.measure;
        if self.size_of(&sha256).await? == Some(size) {
            return Ok(());
        }
        let Some(root) = self.root.as_ref().filter(|root| self.scratch.starts_with(root)) else {
            return self.upload(&file.path, &sha256).await;
        };
        let (folder, path) = (root.join(IMAGES), file.path);
        let renamed = tokio::task::spawn_blocking(move || {
            let open = std::fs::File::open(&path)?;
            // images are shared by many disks: nothing may write to them
            open.set_permissions(std::fs::Permissions::from_mode(0o444))?;
            open.sync_all()?;
            path.persist(folder.join(&sha256)).map_err(|e| e.error)?;
            std::fs::File::open(folder)?.sync_all()
        });
        Ok(renamed.await.map_err(io::Error::other)??)
    }

    async fn upload(&self, path: &Path, sha256: &str) -> Result<(), DatastoreError> {
        let mut file = tokio::fs::File::open(path).await?;
        let mut upload = WriteMultipart::new(self.store.put_multipart(&image(sha256)).await?);
        let mut buffer = vec![0u8; 1 << 20];
        loop {
            let n = file.read(&mut buffer).await?;
            if n == 0 {
                break;
            }
            upload.wait_for_capacity(4).await?;
            upload.write(&buffer[..n]);
        }
        upload.finish().await?;
        Ok(())
    }

    /// Bytes of a kept file, or `None` when it is not kept.
    pub async fn size_of(&self, sha256: &str) -> Result<Option<u64>, DatastoreError> {
        match self.store.head(&image(sha256)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes a kept file out of its place, under a name that no other file ever has: whoever keeps the same bytes from
    /// now on keeps a file of its own. One that is not there is fine.
    pub async fn set_aside(&self, sha256: &str) -> Result<(), DatastoreError> {
        let name = format!("{sha256}.{}", kernel::MessageId::new());
        there(self.store.rename(&image(sha256), &Key::from_iter([REMOVED, &name])).await)
    }

    /// Files that were set aside.
    pub async fn aside(&self) -> Result<Vec<Aside>, DatastoreError> {
        let found: Vec<_> = self.store.list(Some(&Key::from(REMOVED))).try_collect().await?;
        let aside = found.into_iter().filter_map(|meta| {
            let (sha256, _) = meta.location.filename()?.split_once('.')?;
            Some(Aside { sha256: sha256.to_owned(), key: meta.location })
        });
        Ok(aside.collect())
    }

    /// Puts a file back that was set aside. If its bytes are kept again already, it is one file.
    pub async fn put_back(&self, aside: &Aside) -> Result<(), DatastoreError> {
        there(self.store.rename(&aside.key, &image(&aside.sha256)).await)
    }

    /// Removes a file that was set aside; one that is gone already is fine.
    pub async fn remove(&self, aside: &Aside) -> Result<(), DatastoreError> {
        there(self.store.delete(&aside.key).await)
    }

    /// Digests of all kept files.
    pub async fn kept(&self) -> Result<Vec<String>, DatastoreError> {
        let found: Vec<_> = self.store.list(Some(&Key::from(IMAGES))).try_collect().await?;
        Ok(found.iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect())
    }

    /// Removes what nobody will come back for: files that were being written and have not changed for `idle`. Finished
    /// uploads are not touched: only the gateway knows which imports were accepted that name them. Returns how many.
    pub async fn sweep(&self, idle: Duration) -> Result<u64, DatastoreError> {
        // compared with times of files, which this machine's kernel gave them
        #[allow(clippy::disallowed_methods)]
        let now = SystemTime::now();
        let too_old =
            |changed: SystemTime, age: Duration| now.duration_since(changed).is_ok_and(|passed| passed > age);
        let mut removed = 0;
        let mut folders = vec![self.scratch.clone()];
        folders.extend(self.root.iter().flat_map(|root| [root.join(STAGING), root.join(IMAGES)]));
        for folder in folders {
            let mut entries = tokio::fs::read_dir(&folder).await?;
            while let Some(entry) = entries.next_entry().await? {
                // `#` marks an unfinished write of the object store; it hides such files from its listings
                let unfinished = folder == self.scratch || entry.file_name().to_string_lossy().contains('#');
                let Ok(meta) = entry.metadata().await else { continue };
                if unfinished && meta.is_file() && too_old(touched(&meta), idle) {
                    match tokio::fs::remove_file(entry.path()).await {
                        Ok(()) => removed += 1,
                        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                        Err(e) => return Err(e.into()),
                    }
                }
            }
        }
        Ok(removed)
    }

    /// Whether files can be written; the error says what is wrong.
    pub async fn check(&self) -> Result<(), DatastoreError> {
        Ok(Intake::begin(&self.scratch)?.finish().await.map(drop)?)
    }
}

#[cfg(test)]
#[path = "datastore_tests.rs"]
mod tests;
