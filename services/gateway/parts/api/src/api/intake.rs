//! Taking requests on together: those that wait at the same moment share one transaction, and one sync of the disk.
//!
//! Each request is judged by itself. Whoever is answered with an operation knows that it is committed; a transaction that
//! fails is tried again with each request alone, so that nobody answers for a neighbour.

use super::accept::{Accepted, Asked};
use crate::store::{operations, uploads};
use crate::translate::operations::{self as translate, New};
use crate::translate::status;
use bus::{Cause, Desk, Pulse, Report, Watchdog, Work, watchdog};
use bytes::Bytes;
use contracts::Entry;
use contracts::gateway::v1::{Operation, OperationAccepted};
use kernel::{Message, MessageId, OperationId, Refusal};
use opentelemetry::metrics::{Histogram, Meter};
use std::collections::{BTreeSet, HashMap};
use store::{Dialect, StoreError};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// Requests in one transaction at most.
const BATCH: usize = 256;
/// Requests that may wait; more are refused.
const WAITING: usize = 4096;

type Tell = Box<dyn Fn(&mut Work) + Send + Sync>;
type Verdict = Result<Accepted, Status>;

/// A request that waits for its transaction.
struct Waiting {
    asked: Asked,
    operation_id: OperationId,
    object_id: String,
    deadline_us: i64,
    /// Staged files that the command names.
    uploads: Vec<String>,
    tell: Tell,
    answer: oneshot::Sender<Verdict>,
}

/// The way in.
#[derive(Clone)]
pub struct Intake(mpsc::Sender<Waiting>);

/// What takes requests in, until it is told to stop.
pub struct Taker {
    desk: Desk,
    waiting: Mutex<mpsc::Receiver<Waiting>>,
    report: Report,
    sizes: Histogram<u64>,
}

/// A way in and what takes in behind it.
pub fn intake(desk: &Desk, meter: &Meter, report: Report) -> (Intake, Taker) {
    let (sender, waiting) = mpsc::channel(WAITING);
    let sizes = meter
        .u64_histogram("berth_gateway_accept_batch")
        .with_description("Requests that were accepted in one transaction.")
        .with_boundaries(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0])
        .build();
    (Intake(sender), Taker { desk: desk.clone(), waiting: Mutex::new(waiting), report, sizes })
}

impl Intake {
    /// Takes on a request that is one command; it is committed when this answers. `deadline_us` 0 = somebody else
    /// watches the time. `uploads`: staged files that the command names; they are kept until its object came to its end.
    pub async fn accept<M: Message>(
        &self,
        asked: &Asked,
        object_id: &str,
        (deadline_us, uploads): (i64, Vec<String>),
        command: impl FnOnce(String) -> M,
    ) -> Verdict {
        let operation_id = OperationId::new();
        let command = command(operation_id.to_string());
        let id = message_of(operation_id);
        let tell: Tell = Box::new(move |work| work.tell_under(id, &command));
        self.take(asked, operation_id, object_id, (deadline_us, uploads), tell).await
    }

    /// The same for a command that is only known by its declaration.
    pub async fn accept_encoded(
        &self,
        asked: &Asked,
        object_id: &str,
        command: &'static Entry,
        payload: Bytes,
    ) -> Verdict {
        let operation_id = OperationId::new();
        let (id, key) = (message_of(operation_id), object_id.to_owned());
        let tell: Tell = Box::new(move |work| work.tell_encoded(id, command, &key, payload.clone()));
        self.take(asked, operation_id, object_id, (0, Vec::new()), tell).await
    }

    async fn take(
        &self,
        asked: &Asked,
        operation_id: OperationId,
        object_id: &str,
        (deadline_us, uploads): (i64, Vec<String>),
        tell: Tell,
    ) -> Verdict {
        let (answer, verdict) = oneshot::channel();
        let waiting = Waiting {
            asked: asked.in_this_trace(),
            operation_id,
            object_id: object_id.to_owned(),
            deadline_us,
            uploads,
            tell,
            answer,
        };
        self.0.try_send(waiting).map_err(|_| {
            let text = format!("{WAITING} requests wait already; try again");
            status::refused(Code::Unavailable, Refusal::new("TOO_MANY_REQUESTS", text), "")
        })?;
        verdict.await.unwrap_or_else(|_| {
            Err(Status::unavailable("the request was given up; try again with the same key"))
        })
    }
}

/// A command goes under its operation's own id, so that what became of it can be found out.
fn message_of(operation: OperationId) -> MessageId {
    MessageId::from_u128(operation.as_u128())
}

impl Taker {
    /// Runs until told to stop, then takes in what still waits. Requests whose transaction hangs are given up: whoever
    /// sent them is told so, and may repeat them.
    pub async fn run(self, stop: CancellationToken) {
        self.report.well("takes requests on");
        let watchdog = Watchdog::new("gateway.intake", watchdog::PATIENCE, self.report.clone());
        let pulse = Pulse::default();
        watchdog.over(&pulse, || self.take_all(&stop, &pulse)).await;
    }

    async fn take_all(&self, stop: &CancellationToken, pulse: &Pulse) {
        let mut waiting = self.waiting.lock().await;
        loop {
            pulse.rests();
            let first = tokio::select! {
                biased;
                first = waiting.recv() => first,
                () = stop.cancelled() => None,
            };
            let Some(first) = first else {
                // the doors closed before: nobody can come any more
                return stop.cancelled().await;
            };
            let operation = first.operation_id;
            pulse.works(move |_| format!("taking requests on, the first of them operation {operation}"));
            // whoever comes while we wait for the database comes along
            let work = self.desk.begin(Cause::own(crate::SERVICE_NAME)).await;
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = waiting.try_recv()
            {
                batch.push(next);
            }
            self.sizes.record(batch.len() as u64, &[]);
            self.take(work, batch).await;
        }
    }

    async fn take(&self, work: Result<Work, StoreError>, batch: Vec<Waiting>) {
        let work = match work {
            Ok(work) => work,
            Err(error) => {
                let broken = status::broken(error);
                return batch.into_iter().for_each(|one| drop(one.answer.send(Err(broken.clone()))));
            }
        };
        match take_in(&self.desk, work, &batch).await {
            Ok(verdicts) => {
                for (one, verdict) in batch.into_iter().zip(verdicts) {
                    let _ = one.answer.send(verdict);
                }
            }
            Err(error) if batch.len() == 1 => {
                batch.iter().for_each(|one| one.asked.undone());
                let broken = status::broken(error);
                batch.into_iter().for_each(|one| drop(one.answer.send(Err(broken.clone()))));
            }
            Err(error) => {
                tracing::warn!(%error, requests = batch.len(), "requests undone; one by one");
                for one in batch {
                    let alone = std::slice::from_ref(&one);
                    let verdict = match self.desk.begin(Cause::own(crate::SERVICE_NAME)).await {
                        Ok(work) => take_in(&self.desk, work, alone).await,
                        Err(error) => Err(error),
                    };
                    if verdict.is_err() {
                        one.asked.undone();
                    }
                    let verdict = verdict.map(|mut verdicts| verdicts.remove(0));
                    let _ = one.answer.send(verdict.unwrap_or_else(|error| Err(status::broken(error))));
                }
            }
        }
    }
}

/// Judges and records all of a batch in one transaction. An error means that nothing of it happened.
async fn take_in(desk: &Desk, mut work: Work, batch: &[Waiting]) -> Result<Vec<Verdict>, StoreError> {
    let keys: BTreeSet<(&str, &str)> =
        batch.iter().map(|one| one.asked.key()).filter(|(_, key)| !key.is_empty()).collect();
    if desk.store().dialect() == Dialect::Postgres {
        // in the same order in every gateway: they wait for each other and never both
        for (tenant, key) in &keys {
            desk.store().lock(work.tx(), &format!("idempotency {tenant} {key}")).await?;
        }
    }
    let files: BTreeSet<&str> = batch.iter().flat_map(|one| &one.uploads).map(String::as_str).collect();
    for file in files {
        uploads::lock(desk.store(), work.tx(), file).await?;
    }
    let mut seen: HashMap<(String, String), Operation> = HashMap::new();
    for found in operations::by_keys(work.tx(), &keys).await? {
        seen.insert((found.tenant.clone(), found.idempotency_key.clone()), found);
    }
    let (mut verdicts, mut fresh) = (Vec::with_capacity(batch.len()), Vec::new());
    for one in batch {
        let (tenant, key) = one.asked.key();
        let key = (tenant.to_owned(), key.to_owned());
        match one.asked.judge(seen.get(&key)) {
            Ok(Some(accepted)) => verdicts.push(Ok(accepted)),
            Err(conflict) => verdicts.push(Err(conflict)),
            Ok(None) => {
                // given up since it was looked for: nobody imports what is about to be removed
                let missing = uploads::missing(work.tx(), &one.uploads, &key.0).await?;
                if let Some(missing) = missing {
                    verdicts.push(Err(status::upload_unknown(missing, "sources")));
                    continue;
                }
                uploads::wanted(work.tx(), &one.uploads, &one.object_id).await?;
                let operation = begin(&mut work, one);
                verdicts.push(Ok(Accepted::of(&operation)));
                if !key.1.is_empty() {
                    seen.insert(key, operation.clone());
                }
                fresh.push(operation);
            }
        }
    }
    operations::insert_all(work.tx(), &fresh).await?;
    work.commit().await?;
    Ok(verdicts)
}

fn begin(work: &mut Work, one: &Waiting) -> Operation {
    let new = New {
        id: one.operation_id.to_string(),
        object_id: &one.object_id,
        deadline_us: one.deadline_us,
        ..one.asked.new_operation()
    };
    let operation = translate::accepted(new, work.now());
    work.set_cause(one.asked.cause(one.operation_id));
    // the event comes before the command: readers of the stream see the cause first
    work.say(&OperationAccepted { operation: Some(operation.clone()), upload_ids: one.uploads.clone() });
    if let Some(record) = one.asked.audit(&Accepted::of(&operation)) {
        work.say(&record);
    }
    (one.tell)(work);
    operation
}
