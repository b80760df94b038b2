//! Removes images nobody uses, and files no image has.
//!
//! A deletion waits a moment before it touches files: an instance that was accepted just before the scheduler heard of
//! the deletion turns up in that time and calls it off.

use super::imports::begin;
use crate::adapters::datastore::Datastore;
use crate::domain::image::{Image, Phase};
use crate::domain::lifecycle::{self, Input};
use crate::store::{self, files, images, uses, work as attempts};
use bus::{Cause, Desk};
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
        for sha256 in files::removals(reader).await? {
            self.datastore.remove(&sha256).await?;
            let mut work = self.desk.begin(Cause::own(self.desk.service())).await?;
            files::removed(work.tx(), &sha256).await?;
            work.commit().await?;
        }
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
