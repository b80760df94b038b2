//! One attempt at an import: every file fetched, judged, claimed and kept. No transaction is open while it waits.

use crate::adapters::datastore::Datastore;
use crate::adapters::fetch::{FetchError, Fetcher};
use crate::adapters::intake::ScratchFile;
use crate::adapters::qemu_img::QemuImg;
use crate::domain::artifact::{Artifact, Found, Origin, Source, judge};
use crate::domain::code;
use crate::domain::disk::DiskFormat;
use crate::domain::image::{Image, Phase};
use crate::store::{files, images};
use bus::{Cause, Desk};
use kernel::{Bytes, Refusal};

/// Why an attempt did not give all files.
#[derive(Debug)]
pub enum Stopped {
    /// It never will.
    Refused(Refusal),
    /// It may, later. The code is the refusal's when no attempt is left.
    Transient {
        /// Code of a refusal.
        code: &'static str,
        /// What happened.
        reason: String,
    },
    /// Nobody waits for it any more.
    CalledOff,
}

impl Stopped {
    fn storage(error: impl std::fmt::Display) -> Self {
        Self::Transient { code: code::STORAGE_UNAVAILABLE, reason: error.to_string() }
    }
}

impl From<FetchError> for Stopped {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Refused(refusal) => Self::Refused(refusal),
            FetchError::Transient(reason) => Self::Transient { code: code::UNREACHABLE, reason },
            FetchError::Storage(error) => Self::storage(format!("writing the file: {error}")),
        }
    }
}

/// What an attempt works with.
pub struct Tools {
    /// The tables.
    pub desk: Desk,
    /// Where files are kept.
    pub datastore: Datastore,
    /// Gets files from the web.
    pub fetcher: Fetcher,
    /// Checks qcow2 files.
    pub qemu_img: QemuImg,
    /// Bytes of one file at most.
    pub max_file_bytes: u64,
    /// Bytes of a disk as the guest sees it at most.
    pub max_disk_bytes: u64,
}

impl Tools {
    /// Brings in all files of an image.
    pub async fn attempt(&self, image: &Image) -> Result<Vec<Artifact>, Stopped> {
        let mut artifacts = Vec::new();
        for source in &image.sources {
            let file = self.obtain(source).await?;
            let measure = &file.measure;
            let found = Found { head: &measure.head, size: measure.size, sha256: &measure.sha256 };
            let artifact =
                judge(source, image.architecture, &found, self.max_disk_bytes).map_err(Stopped::Refused)?;
            if let Some(disk) = artifact.disk.filter(|disk| disk.format == DiskFormat::Qcow2) {
                let verdict =
                    self.qemu_img.verify(&file.path, disk.virtual_size).await.map_err(Stopped::storage)?;
                verdict.map_err(Stopped::Refused)?;
            }
            self.claim(image, &artifact.sha256).await?;
            self.datastore.adopt(file).await.map_err(Stopped::storage)?;
            artifacts.push(artifact);
        }
        Ok(artifacts)
    }

    async fn obtain(&self, source: &Source) -> Result<ScratchFile, Stopped> {
        match &source.origin {
            Origin::Url(url) => {
                let folder = self.datastore.scratch();
                Ok(self.fetcher.fetch(url, folder, source.size, self.max_file_bytes).await?)
            }
            Origin::Upload(id) => {
                let file =
                    self.datastore.take_staged(id).await.map_err(Stopped::storage)?.ok_or_else(|| {
                        let message = format!("nothing is staged under {id}: send the file again");
                        Stopped::Refused(Refusal::new(code::UPLOAD_UNKNOWN, message))
                    })?;
                if file.measure.size > self.max_file_bytes {
                    let (size, limit) = (Bytes(file.measure.size), Bytes(self.max_file_bytes));
                    let message = format!("the {} has {size}; the limit is {limit}", source.role.name());
                    return Err(Stopped::Refused(Refusal::new(code::TOO_LARGE, message)));
                }
                Ok(file)
            }
        }
    }

    /// From here on nobody removes the file under our hands.
    async fn claim(&self, image: &Image, sha256: &str) -> Result<(), Stopped> {
        let mut work = self.desk.begin(Cause::own("storage")).await.map_err(Stopped::storage)?;
        self.desk.store().lock(work.tx(), files::LOCK).await.map_err(Stopped::storage)?;
        let current = images::load(work.tx(), image.id).await.map_err(Stopped::storage)?;
        if current.is_none_or(|current| current.phase != Phase::Importing) {
            return Err(Stopped::CalledOff);
        }
        if !files::claim(work.tx(), image.id, sha256).await.map_err(Stopped::storage)? {
            return Err(Stopped::storage("the same file is just being removed for another image"));
        }
        work.commit().await.map_err(Stopped::storage)
    }
}
