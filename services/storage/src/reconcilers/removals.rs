//! Removes images nobody uses, and files no image has.
//!
//! A deletion waits a moment before it touches files: an instance that was accepted just before the scheduler heard of
//! the deletion turns up in that time and calls it off.
//!
//! Between a look at the tables and the removal of a file no transaction is open, so a file is never removed from its
//! place: see [`Removals::remove`].

use super::imports::begin;
use crate::adapters::datastore::{Aside, Datastore};
use crate::domain::image::{Image, Phase};
use crate::domain::lifecycle::{self, Input};
use crate::store::files::Fate;
use crate::store::{self, files, images, uses, work as attempts};
use bus::{Cause, Desk};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The loop's state.
pub struct Removals {
    /// The tables.
    pub desk: Desk,
    /// Where files are kept.
    pub datastore: Datastore,
    /// Time between the event that says an image is being deleted and the removal of its files.
    pub grace: Duration,
    /// Woken when the grace of an image ends.
    pub wake: Arc<Notify>,
}

impl Removals {
    /// One pass.
    pub async fn pass(self: Arc<Self>) -> anyhow::Result<()> {
        let reader = self.desk.store().reader();
        let mut soonest: Option<Duration> = None;
        for image in images::in_phase(reader, Phase::Deleting).await? {
            let waited = self.desk.clock().now().since(image.updated_at);
            match self.grace.checked_sub(waited).filter(|left| !left.is_zero() && !image.artifacts.is_empty())
            {
                Some(left) => soonest = Some(soonest.map_or(left, |soonest| soonest.min(left))),
                None => self.give_up_files(&image).await?,
            }
        }
        self.remove(files::removals(reader).await?).await?;
        for image in images::in_phase(reader, Phase::Deleting).await? {
            self.conclude(&image).await?;
        }
        if let Some(left) = soonest {
            let wake = self.wake.clone();
            tokio::spawn(async move {
                tokio::time::sleep(left).await;
                wake.notify_one();
            });
        }
        Ok(())
    }

    /// Removes files that were to be removed when somebody looked. That may be long ago: another process may have removed
    /// one of them since and an import may have brought it in again. So each is first set aside, which nobody can undo by
    /// keeping the same bytes, then the tables are asked once more, and only then it goes. A process that dies in between
    /// leaves it aside, and it is judged again here.
    pub async fn remove(&self, seen: Vec<String>) -> anyhow::Result<()> {
        for sha256 in &seen {
            self.datastore.set_aside(sha256).await?;
        }
        let mut aside: BTreeMap<String, Vec<Aside>> = seen.into_iter().map(|it| (it, Vec::new())).collect();
        for file in self.datastore.aside().await? {
            aside.entry(file.sha256.clone()).or_default().push(file);
        }
        for (sha256, files) in aside {
            self.judge(&sha256, &files).await?;
        }
        Ok(())
    }

    /// What becomes of files that were set aside.
    async fn judge(&self, sha256: &str, aside: &[Aside]) -> anyhow::Result<()> {
        let own = || Cause::own(self.desk.service());
        let mut work = self.desk.begin(own()).await?;
        self.desk.store().lock(work.tx(), files::LOCK).await?;
        let fate = files::fate(work.tx(), sha256).await?;
        drop(work);
        if fate != Fate::Remove {
            for file in aside {
                tracing::info!(sha256, ?fate, "a file that was set aside is put back");
                self.datastore.put_back(file).await?;
            }
        } else {
            for file in aside {
                self.datastore.remove(file).await?;
            }
        }
        let mut work = self.desk.begin(own()).await?;
        self.desk.store().lock(work.tx(), files::LOCK).await?;
        match fate {
            Fate::Remove => files::removed(work.tx(), sha256).await?,
            // given up while it was put back: it is not to stay behind
            Fate::Held => files::remove_if_orphan(work.tx(), sha256).await?,
            Fate::Unknown => {}
        }
        Ok(work.commit().await?)
    }

    /// The image claims nothing any more, or is ready again because somebody uses it.
    async fn give_up_files(&self, seen: &Image) -> anyhow::Result<()> {
        let mut work = begin(&self.desk, seen).await?;
        let Some(image) = images::load(work.tx(), seen.id).await?.filter(|i| i.phase == Phase::Deleting)
        else {
            return Ok(());
        };
        let users = uses::users(work.tx(), image.id).await?;
        let whole = !files::claims(work.tx(), image.id).await?.is_empty();
        let back = whole.then(|| lifecycle::step(&image, Input::StillUsed { users }, work.now())).flatten();
        match back {
            Some(next) => {
                store::advance(&mut work, &image, next).await?;
                attempts::end(work.tx(), image.id).await?;
            }
            None => files::release(work.tx(), image.id).await?,
        }
        Ok(work.commit().await?)
    }

    /// Says that the image is gone once nothing of it is left.
    async fn conclude(&self, seen: &Image) -> anyhow::Result<()> {
        let mut work = begin(&self.desk, seen).await?;
        let Some(image) = images::load(work.tx(), seen.id).await?.filter(|i| i.phase == Phase::Deleting)
        else {
            return Ok(());
        };
        let waiting = files::removals(self.desk.store().reader()).await?;
        let leaving = image.artifacts.iter().any(|a| waiting.contains(&a.sha256));
        if leaving || !files::claims(work.tx(), image.id).await?.is_empty() {
            return Ok(());
        }
        if let Some(next) = lifecycle::step(&image, Input::FilesGone, work.now()) {
            store::advance(&mut work, &image, next).await?;
            attempts::end(work.tx(), image.id).await?;
        }
        Ok(work.commit().await?)
    }
}
