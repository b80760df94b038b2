//! Files that were put aside, in a folder each.
//!
//! `<data>/quarantine/<id>/` is the folder of a VM as it was, with `quarantine.json` beside its files. That document is
//! written before the folder is moved: what is in quarantine says of itself what it is, whatever becomes of the tables.

use super::about::About;
use super::local::{READY, exists, ignore_missing, sync_folder, write};
use super::{InQuarantine, PutAside};
use crate::fault::Fault;
use host_driver_domain::{DropReason, QuarantineReason, Quarantined};
use kernel::{Bytes, InstanceId, QuarantineId, Timestamp};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

const ABOUT: &str = "quarantine.json";

/// The quarantine of one host.
pub(super) struct QuarantineFolder {
    path: PathBuf,
    /// Files are given back or condemned, never both.
    fate: Mutex<()>,
}

impl QuarantineFolder {
    /// In this folder.
    pub fn at(path: PathBuf) -> Self {
        Self { path, fate: Mutex::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn of(&self, id: QuarantineId) -> PathBuf {
        self.path.join(id.to_string())
    }

    /// Moves the folder of a VM here.
    pub async fn take(&self, folder: &Path, put: &PutAside) -> Result<Option<Quarantined>, Fault> {
        if !exists(folder).await? {
            return Ok(None);
        }
        // what they were made for stands in the folder; without it, they were never whole
        let ready = match tokio::fs::read_to_string(folder.join(READY)).await {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let made_for = ready.lines().next().and_then(|line| line.trim().parse().ok());
        let item = put.item(QuarantineId::new(), made_for, size_of(folder).await?);
        write(&folder.join(ABOUT), &json(&About::of(&item))?, 0o600).await?;
        tokio::fs::rename(folder, self.of(item.id)).await?;
        self.sync(folder).await?;
        Ok(Some(item))
    }

    /// Moves files back to where the VM has them.
    pub async fn give_back(&self, id: QuarantineId, folder: &Path, generation: u64) -> Result<(), Fault> {
        let _fate = self.fate.lock().await;
        let aside = self.of(id);
        if !exists(&aside).await? {
            return Err(Fault::permanent(
                "QUARANTINE_GONE",
                format!("this host holds no files in quarantine under {id}"),
            ));
        }
        let about = self.about(id).await?;
        if !about.dropping.is_empty() {
            return Err(Fault::permanent("QUARANTINE_GONE", format!("{id} is being removed for good")));
        }
        if folder.file_name().is_none_or(|name| name != about.instance.as_str()) {
            return Err(Fault::permanent("QUARANTINE_GONE", format!("{id} is of another instance")));
        }
        if exists(folder).await? {
            return Err(Fault::Failed("the VM has files: they are put aside first".into()));
        }
        // with their new ownership in them they arrive whole, or not at all
        write(&aside.join(READY), format!("{generation}\n").as_bytes(), 0o644).await?;
        tokio::fs::rename(&aside, folder).await?;
        // goes last: files in quarantine that do not say what they are would be nobody's
        ignore_missing(tokio::fs::remove_file(folder.join(ABOUT)).await)?;
        self.sync(folder).await
    }

    /// All that is here. What cannot be read is left alone and logged: it is nobody's to remove.
    pub async fn all(&self) -> Result<InQuarantine, Fault> {
        let mut found = InQuarantine::default();
        let mut entries = tokio::fs::read_dir(&self.path).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = match name.parse::<QuarantineId>() {
                Ok(id) => id,
                Err(_) => match self.adopt(&entry.path(), &name).await? {
                    Some(id) => id,
                    None => continue,
                },
            };
            match self.about(id).await.and_then(|about| about.read(id).map_err(Fault::Failed)) {
                Ok(item) => found.items.push(item),
                // given back since the folder was listed, or the empty rest of a removal that was cut short
                Err(_)
                    if !exists(&self.of(id)).await? || tokio::fs::remove_dir(self.of(id)).await.is_ok() => {}
                Err(fault) => {
                    tracing::error!(%id, %fault, "files in quarantine that do not say what they are; left alone");
                    found.unreadable.push(id);
                }
            }
        }
        found.items.sort_by_key(|item| (item.at, item.id));
        Ok(found)
    }

    /// Folders that earlier versions put aside under `<instance>-<number>` say what can be known of them.
    async fn adopt(&self, folder: &Path, name: &str) -> Result<Option<QuarantineId>, Fault> {
        let instance = name.rsplit_once('-').and_then(|(id, _)| id.parse::<InstanceId>().ok());
        let Some(instance) = instance else {
            tracing::error!(name, "something in the quarantine that nobody put there; left alone");
            return Ok(None);
        };
        let moved = tokio::fs::metadata(folder).await?.ctime();
        let put = PutAside {
            instance,
            tenant: kernel::PLATFORM.to_owned(),
            name: String::new(),
            generation: 0,
            images: Vec::new(),
            reason: QuarantineReason::OlderOwnership,
            at: Timestamp(moved.saturating_mul(1_000_000)),
        };
        let item = put.item(QuarantineId::new(), None, size_of(folder).await?);
        let (id, about) = (item.id, About::of(&item));
        write(&folder.join(ABOUT), &json(&about)?, 0o600).await?;
        tokio::fs::rename(folder, self.of(id)).await?;
        sync_folder(&self.path).await?;
        Ok(Some(id))
    }

    /// Notes that files are to go.
    pub async fn condemn(&self, id: QuarantineId, reason: DropReason) -> Result<(), Fault> {
        let _fate = self.fate.lock().await;
        let about = About { dropping: reason.name().to_owned(), ..self.about(id).await? };
        Ok(write(&self.of(id).join(ABOUT), &json(&about)?, 0o600).await?)
    }

    /// Removes what was condemned. The document goes last: a removal that is cut short is gone on with.
    pub async fn remove(&self, id: QuarantineId) -> Result<(), Fault> {
        let folder = self.of(id);
        if !exists(&folder).await? {
            return Ok(());
        }
        if self.about(id).await?.dropping.is_empty() {
            return Err(Fault::Failed(format!("{id} was not condemned: its files are kept")));
        }
        let mut entries = tokio::fs::read_dir(&folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            if entry.file_name() == ABOUT {
                continue;
            }
            if entry.file_type().await?.is_dir() {
                ignore_missing(tokio::fs::remove_dir_all(entry.path()).await)?;
            } else {
                ignore_missing(tokio::fs::remove_file(entry.path()).await)?;
            }
        }
        ignore_missing(tokio::fs::remove_dir_all(&folder).await)?;
        Ok(sync_folder(&self.path).await?)
    }

    async fn about(&self, id: QuarantineId) -> Result<About, Fault> {
        let bytes = tokio::fs::read(self.of(id).join(ABOUT)).await?;
        serde_json::from_slice(&bytes).map_err(|e| Fault::Failed(format!("{ABOUT} of {id}: {e}")))
    }

    async fn sync(&self, folder: &Path) -> Result<(), Fault> {
        sync_folder(&self.path).await?;
        match folder.parent() {
            Some(parent) => Ok(sync_folder(parent).await?),
            None => Ok(()),
        }
    }
}

fn json(about: &About) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec_pretty(about).map_err(|e| Fault::Failed(e.to_string()))
}

/// Bytes that the files of a folder take on the disk.
async fn size_of(folder: &Path) -> std::io::Result<Bytes> {
    let mut bytes = 0;
    let mut entries = tokio::fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        // blocks are of 512 bytes, whatever the file system has
        bytes += entry.metadata().await?.blocks() * 512;
    }
    Ok(Bytes(bytes))
}
