//! The object store: `segments/<number>.zst`, and beside it the signed checkpoint `segments/<number>.head`.

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const FOLDER: &str = "segments";
const FILE: &str = "zst";
const HEAD: &str = "head";

/// An object store. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
}

/// What lies in it, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files of segments.
    pub files: BTreeSet<u64>,
    /// Checkpoints.
    pub heads: BTreeSet<u64>,
}

impl Vault {
    /// Opens it. `url`: a folder (`/abs/folder` or `file:///abs/folder`), or `s3://bucket/prefix` with the environment's
    /// `AWS_…` variables for region, keys and endpoint.
    pub fn open(url: &str, make: bool) -> anyhow::Result<Self> {
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                bail!("archive {url:?}: write s3://bucket/prefix");
            }
            let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build();
            let store = store.with_context(|| format!("archive {url:?}"))?;
            return Ok(Self { store: Arc::new(store), prefix: Key::from(prefix) });
        }
        let folder = url.strip_prefix("file://").unwrap_or(url);
        if !folder.starts_with('/') {
            bail!("archive {url:?}: write file:///absolute/folder or s3://bucket/prefix");
        }
        if make {
            std::fs::create_dir_all(folder).with_context(|| format!("archive {folder}"))?;
        }
        if !Path::new(folder).is_dir() {
            bail!("archive {folder}: there is no such folder");
        }
        let store = LocalFileSystem::new_with_prefix(folder).with_context(|| format!("archive {folder}"))?;
        Ok(Self { store: Arc::new(store.with_fsync(true)), prefix: Key::default() })
    }

    /// One over any object store.
    pub fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, prefix: Key::default() }
    }

    fn key(&self, number: u64, kind: &str) -> Key {
        // ten digits: a list by name is a list by number
        self.prefix.clone().join(FOLDER).join(format!("{number:010}.{kind}"))
    }

    /// What lies in it.
    pub async fn list(&self) -> anyhow::Result<Listing> {
        let mut listing = Listing::default();
        let folder = self.prefix.clone().join(FOLDER);
        let mut objects = self.store.list(Some(&folder));
        while let Some(object) = objects.try_next().await.context("listing the archive")? {
            let name = object.location.filename().unwrap_or_default();
            let Some((number, kind)) = name.split_once('.') else { continue };
            let Ok(number) = number.parse() else { continue };
            match kind {
                FILE => listing.files.insert(number),
                HEAD => listing.heads.insert(number),
                _ => false,
            };
        }
        Ok(listing)
    }

    async fn get(&self, number: u64, kind: &str) -> anyhow::Result<Option<Bytes>> {
        match self.store.get(&self.key(number, kind)).await {
            Ok(found) => Ok(Some(found.bytes().await.context("reading the archive")?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).context("reading the archive"),
        }
    }

    /// The file of a segment.
    pub async fn file(&self, number: u64) -> anyhow::Result<Option<Bytes>> {
        self.get(number, FILE).await
    }

    /// The checkpoint of a segment.
    pub async fn head(&self, number: u64) -> anyhow::Result<Option<Bytes>> {
        self.get(number, HEAD).await
    }

    /// Writes a segment: first its file, then its checkpoint. A segment without a checkpoint is none.
    pub async fn put(&self, number: u64, file: Bytes, head: Bytes) -> anyhow::Result<()> {
        self.store.put(&self.key(number, FILE), file.into()).await.context("writing to the archive")?;
        self.store.put(&self.key(number, HEAD), head.into()).await.context("writing to the archive")?;
        Ok(())
    }
}
