//! What files in quarantine say of themselves: a document beside them.

use host_driver_domain::{DropReason, QuarantineReason, Quarantined};
use kernel::{Bytes, QuarantineId, Timestamp};
use serde::{Deserialize, Serialize};

/// `quarantine.json`.
#[derive(Serialize, Deserialize)]
pub(crate) struct About {
    pub instance: String,
    pub tenant: String,
    pub name: String,
    pub generation: u64,
    /// The name of a [`QuarantineReason`].
    pub reason: String,
    /// Microseconds since the epoch.
    pub at_us: i64,
    pub size_bytes: u64,
    /// SHA-256 of the image files that the disk is an overlay of.
    pub images: Vec<String>,
    /// "" while they are held; else the name of a [`DropReason`]: they are being removed.
    #[serde(default)]
    pub dropping: String,
}

impl About {
    /// The document of these files.
    pub fn of(item: &Quarantined) -> Self {
        Self {
            instance: item.instance.to_string(),
            tenant: item.tenant.clone(),
            name: item.name.clone(),
            generation: item.generation,
            reason: item.reason.name().to_owned(),
            at_us: item.at.micros(),
            size_bytes: item.size.0,
            images: item.images.clone(),
            dropping: item.dropping.map_or("", DropReason::name).to_owned(),
        }
    }

    /// What it says. The error names what of it cannot be read.
    pub fn read(self, id: QuarantineId) -> Result<Quarantined, String> {
        let reason = QuarantineReason::ALL.into_iter().find(|reason| reason.name() == self.reason);
        let dropping = DropReason::ALL.into_iter().find(|reason| reason.name() == self.dropping);
        if dropping.is_none() && !self.dropping.is_empty() {
            return Err(format!("dropping {:?} is not known", self.dropping));
        }
        Ok(Quarantined {
            id,
            instance: self.instance.parse().map_err(|e: kernel::InvalidId| e.to_string())?,
            tenant: self.tenant,
            name: self.name,
            generation: self.generation,
            reason: reason.ok_or_else(|| format!("reason {:?} is not known", self.reason))?,
            at: Timestamp(self.at_us),
            size: Bytes(self.size_bytes),
            images: self.images,
            dropping,
        })
    }
}
