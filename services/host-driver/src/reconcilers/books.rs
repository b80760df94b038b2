//! Group commit: what several visits want to write at the same time goes into one transaction, with one sync of the
//! disk. Nobody waits for others to come: whoever finds the books free writes for all who stand in line.

use crate::metrics::Metrics;
use crate::store::vms::{Said, VmRow};
use crate::store::{VmKey, quarantine, vms, work};
use crate::translate::outgoing;
use ::store::StoreError;
use bus::{Cause, Desk, Work};
use contracts::host_driver::v1 as wire;
use host_driver_domain::{IntentKey, Progress};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Records in one transaction at most.
const BATCH: usize = 500;

/// What one visit writes down.
#[derive(Clone)]
pub struct Record {
    key: VmKey,
    tenant: String,
    intent: IntentKey,
    cause: Cause,
    trace: String,
    progress: Progress,
    told: Option<wire::VmObservation>,
    drifted: Option<wire::VmDrifted>,
    /// Files of the VM that were put aside.
    put_aside: Vec<wire::Quarantined>,
    /// Id of quarantined files that are its disks again; "" = none.
    taken_back: String,
}

impl Record {
    /// How far a VM came, and nothing to say.
    pub fn of(row: &VmRow, cause: &Cause, progress: &Progress) -> Self {
        Self {
            key: row.key,
            tenant: row.tenant.clone(),
            intent: row.intent,
            cause: cause.clone(),
            // the records of one transaction belong to several traces: each carries its own
            trace: bus::trace::current(),
            progress: progress.clone(),
            told: None,
            drifted: None,
            put_aside: Vec::new(),
            taken_back: String::new(),
        }
    }

    /// The same, with what is to be said.
    pub fn saying(self, told: Option<wire::VmObservation>, drifted: Option<wire::VmDrifted>) -> Self {
        Self { told, drifted, ..self }
    }

    /// The same, with files that went into the quarantine or came out of it.
    pub fn moving(self, put_aside: Vec<wire::Quarantined>, taken_back: String) -> Self {
        Self { put_aside, taken_back, ..self }
    }

    fn said(&self) -> Option<Said> {
        self.told.as_ref().map(|told| Said::of(self.key, self.intent, told))
    }

    fn said_because(&self) -> Cause {
        let mut cause = self.cause.clone();
        if !self.trace.is_empty() {
            cause.traceparent.clone_from(&self.trace);
        }
        cause
    }
}

type Waiting = (Record, oneshot::Sender<bool>);

/// The books of this process. Cheap to clone.
#[derive(Clone)]
pub struct Books(Arc<Inner>);

struct Inner {
    desk: Desk,
    metrics: Metrics,
    line: Mutex<Vec<Waiting>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Books {
    /// Books over a database.
    pub fn new(desk: Desk, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { desk, metrics, line: Mutex::default(), turn: Arc::default() }))
    }

    /// Writes a record down. False: the VM has another order meanwhile, nothing was written.
    pub async fn keep(&self, record: Record) -> Result<bool, StoreError> {
        let (sender, mut receiver) = oneshot::channel();
        self.line().push((record.clone(), sender));
        let turn = self.0.turn.clone().lock_owned().await;
        if let Ok(kept) = receiver.try_recv() {
            return Ok(kept);
        }
        let books = self.clone();
        // a task of its own: it stands in nobody's trace, and goes on when this visit is given up
        let writing = tokio::spawn(async move {
            books.write().await;
            drop(turn);
        });
        let _ = writing.await;
        match receiver.await {
            Ok(kept) => Ok(kept),
            // together it was not possible: alone, each finds out for itself
            Err(_) => self.alone(&record).await,
        }
    }

    fn line(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes for everybody in line. Who is not answered was not written.
    async fn write(&self) {
        let waiting = std::mem::take(&mut *self.line());
        let mut rest = waiting.into_iter().peekable();
        while rest.peek().is_some() {
            let batch: Vec<Waiting> = rest.by_ref().take(BATCH).collect();
            match self.together(batch.iter().map(|(record, _)| record)).await {
                Ok(kept) => {
                    self.0.metrics.commit(batch.len());
                    for ((_, sender), kept) in batch.into_iter().zip(kept) {
                        let _ = sender.send(kept);
                    }
                }
                Err(error) => tracing::warn!(%error, records = batch.len(), "records were not kept together"),
            }
        }
    }

    async fn together(&self, records: impl Iterator<Item = &Record>) -> Result<Vec<bool>, StoreError> {
        let records: Vec<&Record> = records.collect();
        let mut unit = self.0.desk.begin(Cause::own(crate::SERVICE.name)).await?;
        let kept = put(&mut unit, &records).await?;
        unit.commit().await?;
        Ok(kept)
    }

    async fn alone(&self, record: &Record) -> Result<bool, StoreError> {
        let mut unit = self.0.desk.begin(record.cause.clone()).await?;
        let kept = put(&mut unit, &[record]).await?;
        unit.commit().await?;
        Ok(kept == [true])
    }
}

/// Writes records down, one for each VM. Answers for each whether the VM still has the order it is about: if not,
/// nothing was written of it.
async fn put(unit: &mut Work, records: &[&Record]) -> Result<Vec<bool>, StoreError> {
    let keys: Vec<VmKey> = records.iter().map(|record| record.key).collect();
    let present = vms::intents(unit.tx(), &keys).await?;
    let kept: Vec<bool> =
        records.iter().map(|record| present.get(&record.key) == Some(&record.intent)).collect();
    let records: Vec<&Record> =
        records.iter().zip(&kept).filter_map(|(record, kept)| kept.then_some(*record)).collect();
    let said: Vec<Said> = records.iter().filter_map(|record| record.said()).collect();
    if vms::put_observations(unit.tx(), &said).await? > 0 {
        return Err(StoreError::Conflict { what: "the order of a VM".to_owned() });
    }
    let progress: Vec<_> =
        records.iter().map(|record| (record.key, &record.progress, &record.cause)).collect();
    work::put(unit.tx(), &progress).await?;
    for record in records {
        say_moved(unit, record).await?;
        say(unit, record);
    }
    Ok(kept)
}

/// Where a disk went is said before it is said to be gone.
async fn say_moved(unit: &mut Work, record: &Record) -> Result<(), StoreError> {
    let mut changed = Vec::new();
    for item in &record.put_aside {
        // who looks through the quarantine may have said it already
        if quarantine::find(&mut *unit.tx(), &item.id).await?.is_none() {
            changed.push(item.clone());
        }
    }
    if !record.taken_back.is_empty()
        && let Some(held) = quarantine::find(&mut *unit.tx(), &record.taken_back).await?
    {
        let (state, none) = (wire::QuarantineState::GivenBack, wire::DropReason::Unspecified);
        changed.push(outgoing::no_longer_held(&held, state, none));
    }
    for item in changed {
        quarantine::put(unit.tx(), &item).await?;
        unit.set_cause(record.said_because());
        let operations = Vec::new();
        unit.say_for(&record.tenant, &wire::QuarantineChanged { item: Some(item), operations });
    }
    Ok(())
}

fn say(unit: &mut Work, record: &Record) {
    if let Some(drifted) = &record.drifted {
        // nobody asked for this: it is not the doing of whoever gave the last order
        let own = Cause::own(crate::SERVICE.name).for_tenant(&record.tenant);
        unit.set_cause(Cause { traceparent: record.said_because().traceparent, ..own });
        unit.say_for(&record.tenant, drifted);
    }
    if let Some(told) = &record.told {
        unit.set_cause(record.said_because());
        unit.say_for(&record.tenant, &wire::VmObserved { observation: Some(told.clone()) });
    }
}
