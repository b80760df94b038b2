//! Brings in the files of images that are importing.
//!
//! Each import runs in a task of its own, so that a slow one does not hold up others. All that is remembered is in the
//! tables: a process that dies half way starts the same imports again, and what it left in the scratch folder is swept.

use super::attempt::{Stopped, Tools};
use crate::Metrics;
use crate::domain::artifact::Artifact;
use crate::domain::image::{Image, Phase};
use crate::domain::lifecycle::{self, Input};
use crate::domain::retry::Retry;
use crate::store::{self, files, images, quotas, work as attempts};
use ::store::StoreError;
use anyhow::Context;
use bus::{Desk, Work};
use kernel::quota::{Amounts, Quota, judge};
use kernel::{ImageId, Refusal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

/// The loop's state.
pub struct Imports {
    job: Arc<Job>,
    parallel: usize,
    running: Mutex<Running>,
}

/// What runs in this process. Dropping it stops all of it.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    handles: BTreeMap<ImageId, AbortHandle>,
}

/// What every import needs.
struct Job {
    tools: Tools,
    retry: Retry,
    metrics: Metrics,
    /// Woken when a task ends: there is room for the next.
    imports: Arc<Notify>,
    /// Woken when files may have to go.
    removals: Arc<Notify>,
    /// Imports whose task has nothing more to do.
    ended: Mutex<Vec<ImageId>>,
}

impl Imports {
    /// Nothing runs yet. At most `parallel` imports run at a time.
    pub fn new(tools: Tools, retry: Retry, parallel: usize, wakes: &crate::Wakes, metrics: Metrics) -> Self {
        let (imports, removals) = (wakes.imports.clone(), wakes.removals.clone());
        let job = Arc::new(Job { tools, retry, metrics, imports, removals, ended: Mutex::default() });
        Self { job, parallel: parallel.max(1), running: Mutex::default() }
    }

    /// One pass: forgets what ended, stops what was called off, starts what is due. It does not wait for any import.
    pub async fn pass(self: Arc<Self>) -> anyhow::Result<()> {
        let store = self.job.tools.desk.store();
        let importing = images::in_phase(store.reader(), Phase::Importing).await?;
        let due = images::imports_due(store.reader(), self.job.tools.desk.clock().now()).await?;

        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Running { tasks, handles } = &mut *running;
        while tasks.try_join_next().is_some() {}
        for id in self.job.ended.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            handles.remove(&id);
        }
        handles.retain(|id, handle| {
            if !importing.iter().any(|image| image.id == *id) {
                handle.abort();
            }
            // one that panicked told nobody
            !handle.is_finished()
        });
        for image in due {
            if handles.len() >= self.parallel {
                break;
            }
            if !handles.contains_key(&image.id) {
                let (id, job) = (image.id, self.job.clone());
                handles.insert(id, tasks.spawn(async move { job.run(image).await }));
            }
        }
        Ok(())
    }
}

impl Job {
    async fn run(&self, image: Image) {
        let outcome = self.tools.attempt(&image).await;
        if let Err(error) = self.conclude(&image, outcome).await {
            // the row is as it was: the next pass tries again
            tracing::warn!(image = %image.id, error = format!("{error:#}"), "import not concluded");
            tokio::time::sleep(self.retry.first_wait).await;
        }
        // said before the task is seen to be finished, so that the pass this wakes counts it out
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(image.id);
        self.imports.notify_one();
        self.removals.notify_one();
    }

    async fn conclude(&self, image: &Image, outcome: Result<Vec<Artifact>, Stopped>) -> anyhow::Result<()> {
        let desk = &self.tools.desk;
        let mut work = begin(desk, image).await?;
        let Some(current) = images::load(work.tx(), image.id).await?.filter(|i| i.phase == Phase::Importing)
        else {
            // what this attempt kept meanwhile must not stay behind
            let kept = outcome.unwrap_or_default();
            for artifact in kept {
                files::remove_if_orphan(work.tx(), &artifact.sha256).await?;
            }
            return work.commit().await.context("giving up what was fetched");
        };
        let input = match outcome {
            Ok(artifacts) => {
                let claimed = files::claims(work.tx(), image.id).await?;
                anyhow::ensure!(artifacts.iter().all(|a| claimed.contains(&a.sha256)), "a claim was lost");
                // the lock of all claims is held: nobody keeps anything beside us
                match room(&mut work, &image.tenant, &artifacts).await? {
                    Ok(()) => {
                        self.metrics.kept(artifacts.iter().map(|a| a.size).sum());
                        Input::Verified(artifacts)
                    }
                    Err(refusal) => Input::Refused(refusal),
                }
            }
            Err(Stopped::Refused(refusal)) => Input::Refused(refusal),
            Err(Stopped::CalledOff) => return Ok(()),
            Err(Stopped::Transient { code, reason }) => {
                let failures = attempts::failures(work.tx(), image.id).await? + 1;
                tracing::info!(image = %image.id, reason, failures, "import attempt failed");
                if let Some(wait) = self.retry.wait_after(failures) {
                    let next = work.now().after(wait);
                    attempts::failed(work.tx(), image.id, failures, next).await?;
                    // the timer would find it too; this is more to the point
                    let wake = self.imports.clone();
                    work.after_commit(move || {
                        tokio::spawn(async move {
                            tokio::time::sleep(wait).await;
                            wake.notify_one();
                        });
                    });
                    self.metrics.import("retried");
                    return work.commit().await.context("remembering a failed attempt");
                }
                Input::Refused(
                    Refusal::new(code, format!("given up after {failures} attempts")).because([reason]),
                )
            }
        };
        let outcome = if matches!(input, Input::Verified(_)) { "imported" } else { "rejected" };
        if let Some(next) = lifecycle::step(&current, input, work.now()) {
            store::advance(&mut work, &current, next).await?;
            attempts::end(work.tx(), image.id).await?;
        }
        work.commit().await.context("concluding an import")?;
        self.metrics.import(outcome);
        Ok(())
    }
}

/// Whether the quota of the tenant has room for these files.
async fn room(
    work: &mut Work,
    tenant: &str,
    artifacts: &[Artifact],
) -> Result<Result<(), Refusal>, StoreError> {
    let limits = quotas::of(work.tx(), tenant).await?;
    if limits.of(Quota::ImageBytes).is_none() {
        return Ok(Ok(()));
    }
    let used = quotas::used(work.tx(), tenant).await?;
    let bytes = artifacts.iter().fold(0_u64, |sum, artifact| sum.saturating_add(artifact.size));
    let asked = Amounts::default().with(Quota::ImageBytes, bytes);
    Ok(judge(&limits, &used, &asked).map_err(|excess| excess.refusal))
}

/// A transaction that changes claims, on behalf of whoever asked for the image.
pub(super) async fn begin(desk: &Desk, image: &Image) -> Result<Work, StoreError> {
    let mut reader = desk.store().reader().acquire().await?;
    let cause = attempts::cause(&mut reader, desk.service(), image.id, &image.tenant).await?;
    drop(reader);
    let mut work = desk.begin(cause).await?;
    desk.store().lock(work.tx(), files::LOCK).await?;
    Ok(work)
}
