//! The staging area of the datastore: files that were sent and are not part of an image yet, at `staging/<upload id>`.

use anyhow::Context;
use bytes::Bytes;
use futures::TryStreamExt;
use kernel::{Timestamp, UploadId};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bytes written at once.
const PART: usize = 8 << 20;
/// Parts that may be under way at once: what an upload holds in memory.
const PARTS: usize = 2;

/// Why a file could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// Bigger than the setting allows.
    #[error("more than {limit} bytes")]
    TooBig {
        /// Bytes.
        limit: u64,
    },
    /// The sender said fewer bytes.
    #[error("more than the {announced} bytes announced")]
    MoreThanAnnounced {
        /// Bytes.
        announced: u64,
    },
    /// No room.
    #[error("the datastore is full")]
    Full,
    /// Anything else.
    #[error("datastore: {0}")]
    Other(object_store::Error),
}

impl From<object_store::Error> for StagingError {
    fn from(error: object_store::Error) -> Self {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(current) = cause {
            let io = current.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            if matches!(io, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
                return Self::Full;
            }
            cause = current.source();
        }
        Self::Other(error)
    }
}

/// The staging area.
pub struct Staging {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
    limit: u64,
}

impl Staging {
    /// Opens the staging area of the datastore at `url`: `file:///path`. `limit`: bytes of one file.
    pub fn open(url: &str, limit: u64) -> anyhow::Result<Self> {
        let path = url.strip_prefix("file://").filter(|path| path.starts_with('/'));
        let path = path.with_context(|| format!("datastore_url is {url:?}; write file:///path"))?;
        let folder = PathBuf::from(path);
        std::fs::create_dir_all(folder.join("staging"))
            .with_context(|| format!("making the datastore in {path}"))?;
        let store = LocalFileSystem::new_with_prefix(&folder)
            .with_context(|| format!("opening the datastore in {path}"))?;
        Ok(Self { store: Arc::new(store), folder, limit })
    }

    /// Begins a file. It appears when it is finished; nothing is left of it otherwise.
    pub async fn begin(&self, id: UploadId) -> Result<Incoming, StagingError> {
        let path = Path::from(format!("staging/{id}"));
        let upload = self.store.put_multipart(&path).await?;
        let writer = WriteMultipart::new_with_chunk_size(upload, PART);
        Ok(Incoming { writer, hash: Sha256::new(), size: 0, limit: self.limit })
    }

    /// Ids of the finished files, and when each was finished.
    pub async fn list(&self) -> anyhow::Result<Vec<(String, Timestamp)>> {
        let files: Vec<_> = self.store.list(Some(&Path::from("staging"))).try_collect().await?;
        let staged = files.iter().filter_map(|file| {
            let id = file.location.filename()?.to_owned();
            Some((id, Timestamp(file.last_modified.timestamp_micros())))
        });
        Ok(staged.collect())
    }

    /// Whether a finished file of this id is there.
    pub async fn holds(&self, id: &str) -> anyhow::Result<bool> {
        match self.store.head(&Path::from(format!("staging/{id}"))).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file; one that is gone already is no mistake.
    pub async fn remove(&self, id: &str) -> anyhow::Result<()> {
        match self.store.delete(&Path::from(format!("staging/{id}"))).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what killed processes left half written, `age` after its last byte. Returns how many.
    pub async fn sweep_unfinished(&self, now: Timestamp, age: Duration) -> anyhow::Result<usize> {
        let old = |at_us: i64| now.since(Timestamp(at_us)) > age;
        let mut removed = 0;
        // it is not listed: it has a '#' in its name
        let mut entries = tokio::fs::read_dir(self.folder.join("staging")).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let modified = entry.metadata().await?.modified()?;
            let at = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            if name.to_string_lossy().contains('#') && old(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
            {
                tokio::fs::remove_file(entry.path()).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// A file on its way in.
pub struct Incoming {
    writer: WriteMultipart,
    hash: Sha256,
    size: u64,
    limit: u64,
}

impl Incoming {
    /// Takes the next bytes. `announced` 0 = the sender did not say how many will come.
    pub async fn write(&mut self, chunk: Bytes, announced: u64) -> Result<(), StagingError> {
        self.size += chunk.len() as u64;
        if self.size.max(announced) > self.limit {
            return Err(StagingError::TooBig { limit: self.limit });
        }
        if announced != 0 && self.size > announced {
            return Err(StagingError::MoreThanAnnounced { announced });
        }
        self.writer.wait_for_capacity(PARTS).await?;
        self.hash.update(&chunk);
        self.writer.put(chunk);
        Ok(())
    }

    /// Bytes so far.
    pub fn size_bytes(&self) -> u64 {
        self.size
    }

    /// Makes the file appear; answers its size and SHA-256 in hex.
    pub async fn finish(self) -> Result<(u64, String), StagingError> {
        self.writer.finish().await?;
        Ok((self.size, hex::encode(self.hash.finalize())))
    }

    /// Leaves nothing behind.
    pub async fn abort(self) {
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(%error, "an upload that was given up could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &std::path::Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder.join("staging"))
            .expect("the staging area")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn area(limit: u64) -> (tempfile::TempDir, Staging) {
        let folder = tempfile::tempdir().expect("a folder");
        let staging = Staging::open(&format!("file://{}", folder.path().display()), limit).expect("opens");
        (folder, staging)
    }

    #[tokio::test]
    async fn a_file_appears_when_it_is_finished() {
        let (folder, staging) = area(1 << 30);
        let id = UploadId::new();
        let mut file = staging.begin(id).await.expect("begun");
        for _ in 0..3 {
            file.write(Bytes::from(vec![7; 5 << 20]), 0).await.expect("written");
        }
        assert!(!names(folder.path()).contains(&id.to_string()));
        let (size, sha256) = file.finish().await.expect("finished");
        assert_eq!(size, 15 << 20);
        assert_eq!(sha256, hex::encode(Sha256::digest(vec![7; 15 << 20])));
        assert_eq!(names(folder.path()), [id.to_string()]);
    }

    #[tokio::test]
    async fn a_file_that_is_given_up_leaves_nothing() {
        let (folder, staging) = area(10);
        let mut file = staging.begin(UploadId::new()).await.expect("begun");
        file.write(Bytes::from_static(b"12345"), 6).await.expect("written");
        let more = file.write(Bytes::from_static(b"67"), 6).await;
        assert!(matches!(more, Err(StagingError::MoreThanAnnounced { announced: 6 })));
        file.abort().await;
        let mut file = staging.begin(UploadId::new()).await.expect("begun");
        let big = file.write(Bytes::from_static(b"12345678901"), 0).await;
        assert!(matches!(big, Err(StagingError::TooBig { limit: 10 })));
        file.abort().await;
        assert!(names(folder.path()).is_empty());
    }

    #[tokio::test]
    async fn what_was_left_half_written_is_removed_and_what_is_whole_stays() {
        let (folder, staging) = area(100);
        let mut file = staging.begin(UploadId::new()).await.expect("begun");
        file.write(Bytes::from_static(b"x"), 0).await.expect("written");
        file.finish().await.expect("finished");
        let whole = names(folder.path());
        std::fs::write(folder.path().join("staging/018f#1"), "half").expect("written");
        let day = Duration::from_secs(86_400);
        let now = kernel::Clock::now(&kernel::SystemClock);
        assert_eq!(staging.sweep_unfinished(now, day).await.expect("swept"), 0);
        assert_eq!(staging.sweep_unfinished(now.after(day * 2), day).await.expect("swept"), 1);
        assert_eq!(names(folder.path()), whole);
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = object_store::Error::Generic { store: "test", source: Box::new(full) };
        assert!(matches!(StagingError::from(error), StagingError::Full));
        assert!(Staging::open("s3://bucket", 1).is_err());
    }
}
