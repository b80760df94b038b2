//! Taking a request on: the operation, its event and its command leave in one transaction, once for each
//! idempotency key. Requests that are one command go through the intake, which takes many on together.

use super::audit::Draft;
use super::caller;
use super::intake::Intake;
use crate::adapters::keys::TokenKey;
use crate::domain::caller::Caller;
use crate::domain::idempotency::{self, Decision, Earlier};
use crate::domain::preference;
use crate::domain::traces;
use crate::store::operations;
use crate::translate::operations::{self as translate, New};
use crate::translate::status;
use crate::wakeups::Wakeups;
use bus::{Cause, Desk, Work};
use contracts::common::v1::{OperationOutcome, OperationProgress, OperationState};
use contracts::gateway::v1::{AuditRecorded, Operation, OperationAccepted, OperationResponse};
use kernel::{CorrelationId, Message, OperationId, Refusal};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tracing::Instrument as _;

/// A request that changes something.
#[derive(Clone)]
pub struct Asked {
    /// Who asks.
    pub caller: Caller,
    method: &'static str,
    key: String,
    fingerprint: String,
    traceparent: String,
    /// How long the answer may wait for the operation's end.
    wait: Duration,
    draft: Option<Arc<Draft>>,
}

/// What the caller is answered: the same for a repeated request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What to wait for.
    pub operation_id: String,
    /// What it is about.
    pub object_id: String,
    /// What it came to, if the caller waited for that and it did.
    pub outcome: Option<OperationOutcome>,
}

impl Accepted {
    /// What the caller is told of an operation.
    pub fn of(operation: &Operation) -> Self {
        Self { operation_id: operation.id.clone(), object_id: operation.object_id.clone(), outcome: None }
    }
}

impl From<Accepted> for OperationResponse {
    fn from(accepted: Accepted) -> Self {
        let Accepted { operation_id, object_id, outcome } = accepted;
        Self { operation_id, object_id, outcome }
    }
}

/// A request on its way in: an open transaction that holds its operation.
pub struct Entry {
    /// Where its command and its events go.
    pub work: Work,
    operation: Operation,
    asked: Asked,
}

/// What became of a request.
pub enum Entered {
    /// It was accepted before.
    Repeat(Accepted),
    /// It is new.
    Fresh(Box<Entry>),
}

impl Asked {
    /// Whose key it is, and the key; "" = none was given.
    pub fn key(&self) -> (&str, &str) {
        (&self.caller.tenant, &self.key)
    }

    /// The same request, to be worked on by another task: what it leads to still belongs to the present trace.
    pub fn in_this_trace(&self) -> Self {
        let current = bus::trace::current();
        let traceparent = if current.is_empty() { self.traceparent.clone() } else { current };
        Self { traceparent, ..self.clone() }
    }

    /// The record of the call, to be said with what it does. `None`: it is written already.
    pub fn audit(&self, accepted: &Accepted) -> Option<AuditRecorded> {
        let record = self.draft.as_ref()?.for_transaction(accepted)?;
        Some(AuditRecorded { record: Some(record) })
    }

    /// The record of a call that is done at once, without an operation, to be said with what it does. `None`: it is
    /// written already.
    pub fn audit_done(&self, correlation: CorrelationId) -> Option<AuditRecorded> {
        let record = self.draft.as_ref()?.for_deed(correlation)?;
        Some(AuditRecorded { record: Some(record) })
    }

    /// Returns when the caller does not wait for the answer any more.
    async fn left(&self) {
        match &self.draft {
            Some(draft) => draft.left().await,
            None => std::future::pending().await,
        }
    }

    /// What was to be done was undone.
    pub fn undone(&self) {
        if let Some(draft) = &self.draft {
            draft.undone();
        }
    }

    /// What was found under the name in the request, and how it stood before.
    pub fn found(&self, id: &str, name: &str, revision: u64) {
        if let Some(draft) = &self.draft {
            draft.found(id, name, revision);
        }
    }

    /// How the object stands after a request that is done at once.
    pub fn changed(&self, revision: u64) {
        if let Some(draft) = &self.draft {
            draft.changed(revision);
        }
    }

    fn begun(&self, accepted: Accepted) -> Accepted {
        if let Some(draft) = &self.draft {
            draft.begun(&accepted);
        }
        accepted
    }

    /// Why the work of this operation is done.
    pub fn cause(&self, operation: OperationId) -> Cause {
        Cause {
            // what belongs to an operation is found by its id
            correlation: CorrelationId::from_u128(operation.as_u128()),
            causation: None,
            actor: self.caller.actor.clone(),
            tenant: self.caller.tenant.clone(),
            traceparent: self.traceparent.clone(),
        }
    }

    /// What the request itself says of its operation.
    pub fn new_operation(&self) -> New<'_> {
        New {
            id: String::new(),
            tenant: &self.caller.tenant,
            method: self.method,
            object_id: "",
            actor: &self.caller.actor,
            idempotency_key: &self.key,
            request_sha256: &self.fingerprint,
            deadline_us: 0,
        }
    }

    /// What an operation that was accepted under the same key means for this request.
    pub fn judge(&self, earlier: Option<&Operation>) -> Result<Option<Accepted>, Status> {
        let seen = earlier.map(|o| Earlier { method: &o.method, request_sha256: &o.request_sha256 });
        match (idempotency::decide(seen, self.method, &self.fingerprint), earlier) {
            (Decision::Repeat, Some(o)) => Ok(Some(Accepted::of(o))),
            (Decision::Conflict, _) => {
                let text =
                    "this idempotency key was used for another request; use a new key for a new request";
                let refusal = Refusal::new("IDEMPOTENCY_KEY_REUSED", text);
                Err(status::refused(Code::FailedPrecondition, refusal, "idempotency-key"))
            }
            _ => Ok(None),
        }
    }
}

/// Takes requests on. Cheap to clone.
#[derive(Clone)]
pub struct Requests {
    /// Tables, clock and way out.
    pub desk: Desk,
    /// Takes on what is one command.
    pub intake: Intake,
    /// Tells requests apart.
    pub key: Arc<TokenKey>,
    /// Wakes those who wait for operations.
    pub wakeups: Wakeups,
    /// Cancelled when the gateway stops: nobody waits any longer.
    pub stopping: CancellationToken,
}

impl Requests {
    /// Reads who asks and under which key. The fingerprint covers the method and every field of the request.
    pub fn asked<T: prost::Message>(
        &self,
        request: &Request<T>,
        method: &'static str,
    ) -> Result<Asked, Status> {
        self.asked_encoded(request, method, &request.get_ref().encode_to_vec())
    }

    /// The same for a request that is only known by its declaration, encoded the same way every time.
    pub fn asked_encoded<T>(
        &self,
        request: &Request<T>,
        method: &'static str,
        encoded: &[u8],
    ) -> Result<Asked, Status> {
        let header =
            |name: &str| request.metadata().get(name).map(|v| v.to_str().unwrap_or("\u{fffd}").to_owned());
        let key = header("idempotency-key").unwrap_or_default();
        idempotency::check_key(&key).map_err(status::invalid)?;
        Ok(Asked {
            caller: caller(request)?,
            method,
            key,
            fingerprint: self.key.fingerprint(method, encoded),
            traceparent: traces::well_formed(&header("traceparent").unwrap_or_default()).to_owned(),
            wait: preference::wait(
                request.metadata().get_all("prefer").iter().filter_map(|v| v.to_str().ok()),
            ),
            draft: request.extensions().get::<Arc<Draft>>().cloned(),
        })
    }

    /// Answers a repeated request with its first answer, and lets `take` do a new one. Asked first: by now its object
    /// may be gone. Asked once more before a refusal goes out: of two equal requests under way at once, what the one
    /// led to must not refuse the other.
    pub async fn once(
        &self,
        asked: &Asked,
        take: impl Future<Output = Result<Accepted, Status>>,
    ) -> Result<Accepted, Status> {
        let accepted = match self.earlier(asked).await? {
            Some(accepted) => accepted,
            None => match take.await {
                Ok(accepted) => accepted,
                Err(refused) => self.earlier(asked).await?.ok_or(refused)?,
            },
        };
        self.ended(asked, asked.begun(accepted)).await
    }

    /// What the caller is told, with what the operation came to if that is known before the caller's patience ends.
    async fn ended(&self, asked: &Asked, accepted: Accepted) -> Result<Accepted, Status> {
        if asked.wait.is_zero() {
            return Ok(accepted);
        }
        let end = tokio::time::Instant::now() + asked.wait;
        // listening begins before looking: a change in between is not missed
        let mut listener = self.wakeups.listen();
        loop {
            let (reader, id) = (self.desk.store().reader(), &accepted.operation_id);
            let found = match operations::get(reader, &asked.caller.tenant, id).await {
                Ok(found) => found,
                Err(error) => {
                    // it is accepted all the same
                    tracing::warn!(%error, "an operation that is waited for could not be read");
                    break;
                }
            };
            if let Some(Operation { state, refusal, .. }) = found.filter(translate::is_final) {
                return Ok(Accepted { outcome: Some(OperationOutcome { state, refusal }), ..accepted });
            }
            tokio::select! {
                () = listener.changed(id) => {}
                () = tokio::time::sleep_until(end) => break,
                () = self.stopping.cancelled() => break,
                () = asked.left() => break,
            }
        }
        Ok(accepted)
    }

    /// The answer that the same request got before.
    async fn earlier(&self, asked: &Asked) -> Result<Option<Accepted>, Status> {
        if asked.key.is_empty() {
            return Ok(None);
        }
        let earlier = operations::by_key(self.desk.store().reader(), &asked.caller.tenant, &asked.key).await;
        asked.judge(earlier.map_err(status::broken)?.as_ref())
    }

    /// Opens a transaction of its own with the operation in it, for a request that is more than one command.
    pub async fn enter(&self, asked: &Asked, object_id: &str) -> Result<Entered, Status> {
        let id = OperationId::new();
        let tenant = &asked.caller.tenant;
        let mut work = self.desk.begin(asked.cause(id)).await.map_err(status::broken)?;
        if !asked.key.is_empty() {
            let lock = format!("idempotency {tenant} {}", asked.key);
            self.desk.store().lock(work.tx(), &lock).await.map_err(status::broken)?;
            let earlier =
                operations::by_key(&mut *work.tx(), tenant, &asked.key).await.map_err(status::broken)?;
            if let Some(accepted) = asked.judge(earlier.as_ref())? {
                return Ok(Entered::Repeat(accepted));
            }
        }
        let new = New { id: id.to_string(), object_id, ..asked.new_operation() };
        let operation = translate::accepted(new, work.now());
        Ok(Entered::Fresh(Box::new(Entry { work, operation, asked: asked.clone() })))
    }

    /// Takes on a request that is one command, which gets the operation's id. `deadline_us` 0 = somebody else watches
    /// the time.
    pub async fn accept<M: Message>(
        &self,
        asked: &Asked,
        object_id: &str,
        deadline_us: i64,
        command: impl FnOnce(String) -> M,
    ) -> Result<Accepted, Status> {
        self.intake.accept(asked, object_id, (deadline_us, Vec::new()), command).await
    }
}

impl Entry {
    /// Writes the operation and says that it was accepted.
    async fn record(&mut self) -> Result<Accepted, Status> {
        operations::put(self.work.tx(), &self.operation).await.map_err(status::broken)?;
        let operation = self.operation.clone();
        let accepted = Accepted::of(&operation);
        // the event comes before the command: readers of the stream see the cause first
        self.work.say(&OperationAccepted { operation: Some(operation), upload_ids: Vec::new() });
        if let Some(record) = self.asked.audit(&accepted) {
            self.work.say(&record);
        }
        Ok(accepted)
    }

    /// Says what the operation is about, when it is known only now.
    pub fn about(&mut self, object_id: &str) {
        object_id.clone_into(&mut self.operation.object_id);
    }

    /// Ends a request that is done with this transaction. A caller that goes away does not end it half-way.
    pub async fn done(self: Box<Self>) -> Result<Accepted, Status> {
        tokio::spawn(self.commit().in_current_span()).await.map_err(status::broken)?
    }

    async fn commit(mut self: Box<Self>) -> Result<Accepted, Status> {
        let progress = OperationProgress {
            operation_id: self.operation.id.clone(),
            state: OperationState::Succeeded as i32,
            step: "done".into(),
            refusal: None,
        };
        if let Some(done) = translate::advanced(&self.operation, &progress, self.work.now()) {
            self.operation = done;
        }
        let accepted = self.record().await?;
        let asked = self.asked;
        self.work.commit().await.map_err(|error| {
            asked.undone();
            status::broken(error)
        })?;
        Ok(accepted)
    }
}
