//! Clears up what nobody will come back for: files whose writer died.
//!
//! A file in `images/` that no table knows is reported and not removed: after a lost database it may be all there is.

use crate::Metrics;
use crate::adapters::datastore::Datastore;
use crate::store::{files, images};
use bus::Desk;
use chassis::HealthHandle;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The loop's state.
pub struct Sweep {
    /// The tables.
    pub desk: Desk,
    /// Where files are kept.
    pub datastore: Datastore,
    /// Time without a change after which an unfinished file is removed.
    pub idle: Duration,
    /// Numbers for operators.
    pub metrics: Metrics,
    /// Whether the datastore can be written.
    pub health: HealthHandle,
}

impl Sweep {
    /// One pass.
    pub async fn pass(self: Arc<Self>) -> anyhow::Result<()> {
        // before the datastore, which may be away: what the tables know is told all the same
        let reader = self.desk.store().reader();
        self.metrics.images(&images::count(reader).await?);
        match self.datastore.check().await {
            Ok(()) => self.health.ok("writable"),
            Err(error) => self.health.bad(error.to_string()),
        }
        let removed = self.datastore.sweep(self.idle).await?;
        if removed > 0 {
            tracing::info!(removed, "old files swept");
        }
        // the datastore first: a file that appears in between is known by the time the tables are read
        let kept: BTreeSet<String> = self.datastore.kept().await?.into_iter().collect();
        let known: BTreeSet<String> = files::known(reader).await?.into_iter().collect();
        let strays = kept.difference(&known).count();
        if strays > 0 {
            tracing::warn!(strays, "the datastore keeps files that no image has");
        }
        let missing: Vec<&String> = known.difference(&kept).collect();
        let held = files::held_by_ready(reader).await?;
        let lost = missing.into_iter().filter(|sha256| held.contains(*sha256)).count();
        if lost > 0 {
            tracing::error!(lost, "files of ready images are missing from the datastore");
        }
        self.metrics.files(strays, lost);
        Ok(())
    }
}
