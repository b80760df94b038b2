//! The record of one call while it is being answered.

use super::Ledger;
use crate::api::accept::Accepted;
use crate::api::admit::{Admit, Peer};
use crate::domain::audit::Outcome;
use crate::translate::audit::{self as translate, Who};
use crate::translate::status::code_name;
use contracts::Method;
use contracts::gateway::v1::{AuditObject, AuditRecord};
use http::{Extensions, HeaderMap, HeaderValue, header};
use kernel::{AuditId, Clock, CorrelationId, PLATFORM};
use prost_reflect::DynamicMessage;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};
use tracing::Instrument as _;

/// How long it may take to record calls that are given up.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Longest idempotency key in a record, in characters.
const KEY_LIMIT: usize = 256;

/// Who has the record in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hand {
    /// Nobody yet.
    Open,
    /// A transaction that is not committed yet.
    Transaction,
    /// It is written, or not to be written.
    Closed,
}

struct State {
    hand: Hand,
    /// The services have the call: they say how it ended.
    in_services: bool,
    record: AuditRecord,
}

/// Makes drafts.
pub struct Drafts {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    door: Arc<dyn Admit>,
    under_way: TaskTracker,
    /// The process ends: calls that have not ended are given up.
    ending: CancellationToken,
}

/// What will be recorded of a call.
pub struct Draft {
    mutating: bool,
    method: &'static Method,
    began: Instant,
    authorization: Option<HeaderValue>,
    drafts: Arc<Drafts>,
    /// Nobody waits for the answer any more.
    left: CancellationToken,
    state: Mutex<State>,
}

/// How a call was answered.
#[derive(Debug, Clone)]
pub struct Answered {
    /// What it is on the wire.
    pub code: Code,
    /// "NOT_FOUND".
    pub name: String,
    /// Code of the refusal; "" = none.
    pub refusal: String,
}

impl Answered {
    /// Without a refusal.
    fn of(code: Code) -> Self {
        Self { code, name: code_name(code).to_owned(), refusal: String::new() }
    }
}

impl Drafts {
    /// Drafts that end in this ledger.
    pub fn new(ledger: Ledger, clock: Arc<dyn Clock>, door: Arc<dyn Admit>) -> Self {
        Self { ledger, clock, door, under_way: TaskTracker::new(), ending: CancellationToken::new() }
    }

    /// Waits for calls that have not ended; after this long they are given up, and recorded as that.
    pub async fn end(&self, patience: Duration) {
        self.under_way.close();
        if tokio::time::timeout(patience, self.under_way.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(calls = self.under_way.len(), "calls did not end in time and are given up");
        self.ending.cancel();
        // what is left is to say so
        let _ = tokio::time::timeout(LAST_WORDS, self.under_way.wait()).await;
    }

    /// The draft of a call with these headers that came in by a door.
    pub fn draft(
        self: &Arc<Self>,
        method: &'static Method,
        door: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Arc<Draft> {
        let at_us = self.clock.now().micros();
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
        let object = AuditObject { kind: translate::kind(method), ..AuditObject::default() };
        let record = AuditRecord {
            id: AuditId::new().to_string(),
            at_us,
            last_at_us: at_us,
            count: 1,
            tenant: PLATFORM.to_owned(),
            address: extensions.get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default(),
            door: door.to_owned(),
            method: translate::method_name(method),
            objects: vec![object],
            idempotency_key: key.chars().take(KEY_LIMIT).collect(),
            ..AuditRecord::default()
        };
        Arc::new(Draft {
            mutating: method.mutating,
            method,
            began: Instant::now(),
            authorization: headers.get(header::AUTHORIZATION).cloned(),
            drafts: self.clone(),
            left: CancellationToken::new(),
            state: Mutex::new(State { hand: Hand::Open, in_services: false, record }),
        })
    }
}

impl Draft {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call to its end and has it recorded. One that changes something ends as it would have when its caller no
    /// longer waits: the record tells what was done, not who listened. An error: it was done and could not be recorded, or
    /// it broke.
    pub async fn follow<T: Send + 'static>(
        self: Arc<Self>,
        call: impl Future<Output = (T, Option<Answered>)> + Send + 'static,
    ) -> Result<T, Status> {
        let draft = self.clone();
        let whole = async move {
            let ended = tokio::select! {
                ended = call => Some(ended),
                () = draft.drafts.ending.cancelled() => None,
            };
            match ended {
                Some((answer, Some(how))) => draft.answered(how).await.map(|()| answer),
                Some((answer, None)) => Ok(answer),
                None => {
                    draft.answered(Answered::of(Code::Cancelled)).await?;
                    Err(Status::unavailable("the gateway is stopping; look before you ask again"))
                }
            }
        };
        if !self.mutating {
            return whole.await;
        }
        // dropped with this future: then nobody waits any more
        let listens = self.left.clone().drop_guard();
        let ended = self.drafts.under_way.spawn(whole.in_current_span()).await;
        listens.disarm();
        match ended {
            Ok(ended) => ended,
            Err(error) => {
                // had it come to a transaction, that says whether something was done
                tracing::error!(%error, method = self.method.descriptor.name(), "a call broke");
                self.answered(Answered::of(Code::Internal)).await?;
                Err(Status::internal("the call broke; look before you ask again"))
            }
        }
    }

    /// Returns when nobody waits for the answer any more.
    pub async fn left(&self) {
        self.left.cancelled().await;
    }

    /// The services have the call now.
    pub fn in_services(&self) {
        self.state().in_services = true;
    }

    /// Whether the services have, or had, the call.
    pub fn came_to_services(&self) -> bool {
        self.state().in_services
    }

    /// Who calls.
    pub fn is_by(&self, who: Who) {
        let record = &mut self.state().record;
        (record.actor, record.token, record.tenant) = (who.actor, who.token, who.tenant);
    }

    /// What is asked for.
    pub fn asks(&self, message: &DynamicMessage) {
        let (request, object) = translate::request(self.method, message);
        let record = &mut self.state().record;
        record.request = request;
        record.objects = vec![object];
    }

    /// What a caller who is let no further named in the path.
    pub fn named(&self, name: &str) {
        let mut state = self.state();
        if let Some(object) = state.record.objects.first_mut() {
            (object.name, object.as_sent) = (translate::name(name), !name.is_empty());
        }
    }

    /// What a caller who may not wanted to do it to; the rest of what it sent is not recorded.
    pub fn wanted(&self, message: &DynamicMessage) {
        let (_, object) = translate::request(self.method, message);
        if !object.name.is_empty() {
            self.state().record.objects = vec![object];
        }
    }

    /// What was found under the name in the request, and how it stood before the call.
    pub fn found(&self, id: &str, name: &str, revision: u64) {
        let mut state = self.state();
        state.record.revision_before = revision;
        if let Some(object) = state.record.objects.first_mut() {
            id.clone_into(&mut object.id);
            object.as_sent = false;
            if !name.is_empty() && name != object.name {
                name.clone_into(&mut object.name);
            }
        }
    }

    /// The call was done at once, and this is how the object stands now.
    pub fn changed(&self, revision: u64) {
        self.state().record.revision_after = revision;
    }

    /// What was begun, now or by an earlier request with the same key.
    pub fn begun(&self, accepted: &Accepted) {
        let mut state = self.state();
        state.record.operation_id.clone_from(&accepted.operation_id);
        // what belongs to an operation is found by its id
        state.record.correlation_id.clone_from(&accepted.operation_id);
        if let Some(object) = state.record.objects.first_mut() {
            object.as_sent = false;
            if object.id.is_empty() && object.name != accepted.object_id {
                object.id.clone_from(&accepted.object_id);
            }
        }
    }

    /// The record of a request that is taken on, to be said in the transaction that does it. `None`: it is written
    /// already. A transaction that is tried again asks again.
    pub fn for_transaction(&self, accepted: &Accepted) -> Option<AuditRecord> {
        if self.state().hand == Hand::Closed {
            return None;
        }
        self.begun(accepted);
        let mut state = self.state();
        state.hand = Hand::Transaction;
        Some(self.written(&mut state, "OK", ""))
    }

    /// The same for a request that is done at once and leaves no operation.
    pub fn for_deed(&self, correlation: CorrelationId) -> Option<AuditRecord> {
        let mut state = self.state();
        if state.hand == Hand::Closed {
            return None;
        }
        state.record.correlation_id = correlation.to_string();
        state.hand = Hand::Transaction;
        Some(self.written(&mut state, "OK", ""))
    }

    /// There is nothing to record.
    pub fn leave_out(&self) {
        self.state().hand = Hand::Closed;
    }

    /// The transaction was undone.
    pub fn undone(&self) {
        let mut state = self.state();
        if state.hand == Hand::Transaction {
            state.hand = Hand::Open;
        }
    }

    fn written(&self, state: &mut State, code: &str, refusal: &str) -> AuditRecord {
        let record = &mut state.record;
        record.outcome = Outcome::of(code).number();
        code.clone_into(&mut record.code);
        refusal.clone_into(&mut record.refusal);
        record.duration_us = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        if record.correlation_id.is_empty() {
            record.correlation_id = CorrelationId::new().to_string();
        }
        record.clone()
    }

    /// The call has ended. An error: it was done and could not be recorded.
    pub async fn answered(&self, how: Answered) -> Result<(), Status> {
        let outcome = Outcome::of(&how.name);
        if how.code == Code::PermissionDenied {
            // who it is may not have come further than the door
            if let Some(caller) = self.caller().await {
                self.is_by(translate::who(&caller));
            }
        }
        let record = {
            let mut state = self.state();
            let due = self.mutating || outcome == Outcome::Denied;
            if !due || state.hand != Hand::Open {
                return Ok(());
            }
            state.hand = Hand::Closed;
            self.written(&mut state, &how.name, &how.refusal)
        };
        match outcome {
            Outcome::Denied => {
                self.drafts.ledger.denied(record);
                Ok(())
            }
            Outcome::Ok => self.drafts.ledger.write(record).await,
            Outcome::Refused | Outcome::Unknown => {
                // nothing was done: the refusal stands also when it cannot be recorded, which the ledger counts
                let _ = self.drafts.ledger.write(record).await;
                Ok(())
            }
        }
    }

    async fn caller(&self) -> Option<crate::domain::caller::Caller> {
        let value = self.authorization.clone()?;
        self.drafts.door.identify(&HeaderMap::from_iter([(header::AUTHORIZATION, value)])).await
    }
}
