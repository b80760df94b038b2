//! The archive of a node, as seen from the command line.

use super::assembly::{self, Folders};
use super::settings::NodeSettings;
use crate::store::objects;
use archive::adapters::key::{Key, PublicKey};
use archive::adapters::vault::Vault;
use std::path::PathBuf;

/// Where a node's archive is, and what proves it.
pub struct Archive {
    /// `file:///folder` or `s3://bucket/prefix`.
    pub url: String,
    /// The key that signs it.
    pub key_file: PathBuf,
    database: PathBuf,
}

/// The archive of the node in `settings.data_dir`.
pub fn archive(settings: &NodeSettings) -> Archive {
    let folders = Folders::of(settings);
    let made = assembly::archive(settings, &folders);
    Archive { url: made.url, key_file: made.key_file, database: folders.database_file("archive") }
}

impl Archive {
    /// Opens it for reading.
    pub fn open(&self) -> anyhow::Result<Vault> {
        Vault::open(&self.url, false)
    }

    /// What its checkpoints are checked with.
    pub fn public_key(&self) -> anyhow::Result<PublicKey> {
        Ok(Key::read(&self.key_file)?.public())
    }

    /// Hash of the newest segment that the node wrote: it has to be there. `None`: the node knows of none.
    pub async fn newest(&self) -> anyhow::Result<Option<String>> {
        if !self.database.exists() {
            return Ok(None);
        }
        let newest =
            objects::newest_segment(&format!("sqlite://{}?mode=ro", self.database.display())).await?;
        Ok(newest.as_ref().map(archive::hash))
    }
}
