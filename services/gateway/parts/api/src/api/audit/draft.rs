//! The record of one call while it is being answered.

use super::Ledger;
use crate::api::accept::Accepted;
use crate::api::admit::{Admit, Peer};
use crate::domain::audit::Outcome;
use crate::translate::audit::{self as translate, Who};
use contracts::Method;
use contracts::gateway::v1::{AuditObject, AuditRecord};
use http::{Extensions, HeaderMap, HeaderValue, header};
use kernel::{AuditId, Clock, CorrelationId, PLATFORM};
use prost_reflect::DynamicMessage;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tonic::{Code, Status};

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
    record: AuditRecord,
}

/// Makes drafts.
pub struct Drafts {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    door: Arc<dyn Admit>,
}

/// What will be recorded of a call.
pub struct Draft {
    mutating: bool,
    method: &'static Method,
    began: Instant,
    authorization: Option<HeaderValue>,
    drafts: Arc<Drafts>,
    state: Mutex<State>,
}

impl Drafts {
    /// Drafts that end in this ledger.
    pub fn new(ledger: Ledger, clock: Arc<dyn Clock>, door: Arc<dyn Admit>) -> Self {
        Self { ledger, clock, door }
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
            state: Mutex::new(State { hand: Hand::Open, record }),
        })
    }
}

impl Draft {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The call was answered. An error: it was done and could not be recorded.
    pub async fn answered(&self, code: Code, code_name: &str, refusal: &str) -> Result<(), Status> {
        let outcome = Outcome::of(code_name);
        if code == Code::PermissionDenied {
            // who it is may not have come further than the door
            if let Some(caller) = self.caller().await {
                self.is_by(translate::who(&caller));
            }
        }
        let record = {
            let mut state = self.state();
            let due = self.mutating || outcome == Outcome::Denied;
            // nobody waited: whoever still works on it knows better how it ended, or the last to let go writes it
            if !due || state.hand != Hand::Open || outcome == Outcome::Unknown {
                return Ok(());
            }
            state.hand = Hand::Closed;
            self.written(&mut state, code_name, refusal)
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

impl Drop for Draft {
    fn drop(&mut self) {
        let mut state = self.state();
        if !self.mutating || state.hand != Hand::Open {
            return;
        }
        state.hand = Hand::Closed;
        let record = self.written(&mut state, "CANCELLED", "");
        drop(state);
        self.drafts.ledger.leave(record);
    }
}
