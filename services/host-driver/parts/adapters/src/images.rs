//! The image cache of a host: content-addressed files, verified while they are copied.
//!
//! `<data>/images/<sha256>`. A file under that name is whole and right: it was verified before it got the name.

use super::fault::Fault;
use futures::StreamExt;
use host_driver_domain::{Condition, HostCause};
use kernel::{Bytes, Timestamp};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// A file younger than this is not evicted: somebody may be about to use it.
const YOUNG: Duration = Duration::from_secs(600);

/// Where images come from.
#[derive(Clone)]
struct Datastore {
    objects: Arc<dyn ObjectStore>,
    /// Root of a datastore that is a directory: its files can be linked instead of copied.
    directory: Option<PathBuf>,
    /// Images were found in it since this process started.
    seen: Arc<AtomicBool>,
}

impl Datastore {
    /// It can be read. A file system that is not mounted any more leaves an empty folder behind, in which nothing is
    /// found; one into which nothing was imported yet looks the same.
    fn is_there(&self) -> bool {
        let Some(directory) = &self.directory else { return true };
        match std::fs::read_dir(directory.join("images")) {
            Ok(_) => {
                self.seen.store(true, Ordering::Relaxed);
                true
            }
            Err(_) => !self.seen.load(Ordering::Relaxed) && std::fs::read_dir(directory).is_ok(),
        }
    }
}

/// The cache. Cheap to clone.
#[derive(Clone)]
pub struct ImageCache {
    folder: PathBuf,
    datastore: Datastore,
    turns: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    /// Files that were asked for since the cache was last looked through.
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl ImageCache {
    /// A cache in `<data>/images` that is filled from `datastore_url`, such as "file:///var/lib/berth/datastore".
    pub fn open(data: &Path, datastore_url: &str) -> anyhow::Result<Self> {
        let folder = data.join("images");
        std::fs::create_dir_all(&folder)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o711))?;
        for leftover in std::fs::read_dir(&folder)?.flatten() {
            if leftover.file_name().to_string_lossy().ends_with(".new") {
                std::fs::remove_file(leftover.path())?;
            }
        }
        Ok(Self {
            folder,
            datastore: open_datastore(datastore_url)?,
            turns: Arc::default(),
            asked: Arc::default(),
        })
    }

    /// Where a file of an image is once it was fetched.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(sha256)
    }

    /// What keeps images from being fetched, as it is now.
    pub async fn condition(&self) -> Option<Condition> {
        let datastore = self.datastore.clone();
        let there = tokio::task::spawn_blocking(move || datastore.is_there()).await.unwrap_or(false);
        let directory = self.datastore.directory.as_ref().filter(|_| !there)?;
        let message = format!(
            "the datastore {} has no folder 'images' that can be read: is it mounted?",
            directory.display()
        );
        Some(Condition { cause: HostCause::Datastore, message })
    }

    /// Brings a file into the cache unless it is there. `size` 0 = not said.
    pub async fn fetch(&self, sha256: &str, size: Bytes) -> Result<(), Fault> {
        let _turn = self.turn(sha256).await;
        let path = self.path(sha256);
        self.asked().insert(sha256.to_owned());
        if tokio::fs::try_exists(&path).await? {
            return Ok(());
        }
        let unfinished = self.folder.join(format!("{sha256}.new"));
        let _ = tokio::fs::remove_file(&unfinished).await;
        let fetched = self.fetch_into(sha256, size, &unfinished).await;
        if let Err(fault) = fetched {
            let _ = tokio::fs::remove_file(&unfinished).await;
            return Err(fault);
        }
        tokio::fs::rename(&unfinished, &path).await?;
        Ok(tokio::fs::File::open(&self.folder).await?.sync_all().await?)
    }

    async fn fetch_into(&self, sha256: &str, size: Bytes, unfinished: &Path) -> Result<(), Fault> {
        let (found, length) = match self.link(sha256, unfinished).await {
            Some(linked) => digest_of(linked).await?,
            None => self.copy(sha256, unfinished).await?,
        };
        if found != sha256 {
            return Err(Fault::permanent(
                "IMAGE_DIGEST_MISMATCH",
                format!(
                    "the datastore's file images/{sha256} has the SHA-256 {found}: it is damaged or was replaced"
                ),
            ));
        }
        if size.0 != 0 && size.0 != length {
            return Err(Fault::permanent(
                "IMAGE_SIZE_MISMATCH",
                format!("the image says {} bytes, images/{sha256} has {length}", size.0),
            ));
        }
        Ok(())
    }

    /// A second name for the datastore's file: no copy, no room. Only within one file system.
    async fn link(&self, sha256: &str, unfinished: &Path) -> Option<PathBuf> {
        let original = self.datastore.directory.as_ref()?.join("images").join(sha256);
        tokio::fs::hard_link(&original, unfinished).await.ok()?;
        Some(unfinished.to_owned())
    }

    async fn copy(&self, sha256: &str, unfinished: &Path) -> Result<(String, u64), Fault> {
        let key = Key::from(format!("images/{sha256}"));
        let object = self.datastore.objects.get(&key).await.map_err(|e| match e {
            // the image may be on its way there
            object_store::Error::NotFound { .. } if self.datastore.is_there() => {
                Fault::Failed(format!("the datastore has no {key}"))
            }
            other => Fault::host(HostCause::Datastore, format!("the datastore cannot be read: {other}")),
        })?;
        let mut file = tokio::fs::File::create(unfinished).await?;
        let (mut hash, mut length) = (Sha256::new(), 0u64);
        let mut chunks = object.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk
                .map_err(|e| Fault::host(HostCause::Datastore, format!("the datastore broke off: {e}")))?;
            hash.update(&chunk);
            length += chunk.len() as u64;
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        file.set_permissions(std::fs::Permissions::from_mode(0o644)).await?;
        file.sync_all().await?;
        Ok((hex::encode(hash.finalize()), length))
    }

    /// Removes files that none of these digests names, that are not brand-new, and that nobody asked for since the last
    /// time. Returns how many. An order may have come after somebody looked which files orders name: it has asked for its
    /// files by now, or it will, and then fetches what is gone.
    pub async fn evict_except(&self, in_use: &BTreeSet<String>, now: Timestamp) -> std::io::Result<usize> {
        let asked_before = self.asked().clone();
        let mut entries = tokio::fs::read_dir(&self.folder).await?;
        let mut evicted = 0;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if in_use.contains(&name) || is_young(&entry, now).await? {
                continue;
            }
            let _turn = self.turn(&name).await;
            if self.asked().contains(&name) {
                continue;
            }
            tokio::fs::remove_file(entry.path()).await?;
            evicted += 1;
        }
        // whoever looks from now on sees the orders behind these
        self.asked().retain(|sha256| !asked_before.contains(sha256));
        Ok(evicted)
    }

    /// Whoever fetches or evicts a file does it alone.
    async fn turn(&self, sha256: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let one_at_a_time = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // those that nobody holds or waits for
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(sha256.to_owned()).or_default().clone()
        };
        one_at_a_time.lock_owned().await
    }

    fn asked(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetched so short a time ago that the order behind it may not be known yet. What is being fetched is young as well.
async fn is_young(entry: &tokio::fs::DirEntry, now: Timestamp) -> std::io::Result<bool> {
    let metadata = match entry.metadata().await {
        // finished under another name meanwhile
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        metadata => metadata?,
    };
    // the time of the last change of the name, not of the bytes: a linked file is old at birth
    let changed = std::os::unix::fs::MetadataExt::ctime(&metadata);
    Ok(now.since(Timestamp(changed.saturating_mul(1_000_000))) < YOUNG)
}

fn open_datastore(url: &str) -> anyhow::Result<Datastore> {
    let Some(directory) = url.strip_prefix("file://").filter(|path| path.starts_with('/')) else {
        anyhow::bail!("datastore_url {url:?} is not understood: expected file:///a/directory");
    };
    let directory = PathBuf::from(directory);
    std::fs::create_dir_all(&directory)?;
    let objects = LocalFileSystem::new_with_prefix(&directory)?;
    Ok(Datastore { objects: Arc::new(objects), directory: Some(directory), seen: Arc::default() })
}

async fn digest_of(path: PathBuf) -> Result<(String, u64), Fault> {
    let digest = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path)?;
        let mut hash = Sha256::new();
        let length = std::io::copy(&mut file, &mut HashWriter(&mut hash))?;
        std::io::Result::Ok((hex::encode(hash.finalize()), length))
    });
    Ok(digest.await.map_err(|e| Fault::Failed(e.to_string()))??)
}

struct HashWriter<'h>(&'h mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
