//! Operations on the wire, and folding progress into them.

use crate::domain::operation::{OperationNews, OperationStatus, State, Step, measure};
use contracts::common::v1::{self as common, OperationProgress, OperationState};
use contracts::gateway::v1::Operation;
use kernel::Timestamp;

/// An operation that was just accepted.
pub struct New<'a> {
    /// UUIDv7.
    pub id: String,
    /// Whose.
    pub tenant: &'a str,
    /// "CreateInstance".
    pub method: &'a str,
    /// What it is about.
    pub object_id: &'a str,
    /// Who asked.
    pub actor: &'a str,
    /// "" = none.
    pub idempotency_key: &'a str,
    /// Hex.
    pub request_sha256: &'a str,
    /// Microseconds since the epoch, 0 = none.
    pub deadline_us: i64,
}

/// The operation as it begins.
pub fn accepted(new: New<'_>, at: Timestamp) -> Operation {
    let operation = Operation {
        id: new.id,
        tenant: new.tenant.to_owned(),
        method: new.method.to_owned(),
        object_id: new.object_id.to_owned(),
        actor: new.actor.to_owned(),
        created_at_us: at.micros(),
        idempotency_key: new.idempotency_key.to_owned(),
        request_sha256: new.request_sha256.to_owned(),
        deadline_us: new.deadline_us,
        ..Operation::default()
    };
    with(operation, OperationStatus::accepted(at))
}

/// An operation that a service spoke of before its acceptance arrived (replay of two streams in another order).
pub fn unheard_of(id: &str) -> Operation {
    Operation { id: id.to_owned(), state: OperationState::Pending as i32, ..Operation::default() }
}

/// Joins what was heard of an operation before its acceptance with the acceptance.
pub fn merged(early: &Operation, accepted: Operation) -> Operation {
    let mut status = status(&accepted);
    let heard = self::status(early);
    for step in &heard.steps {
        let step = OperationNews { state: None, step: step.name.clone(), refusal: None, at: step.at };
        status = status.fold(&step).unwrap_or(status);
    }
    status.state = heard.state.max(status.state);
    status.refusal = heard.refusal;
    status.updated_at = heard.updated_at.max(status.updated_at);
    status.revision = measure(status.state, &status.steps);
    let mut whole = with(accepted, status);
    whole.output = early.output.clone();
    whole.exit_code = early.exit_code;
    whole
}

/// Folds what a service said at `at` into an operation. `None`: nothing new.
pub fn advanced(operation: &Operation, progress: &OperationProgress, at: Timestamp) -> Option<Operation> {
    let next = status(operation).fold(&read(progress, at))?;
    Some(with(operation.clone(), next))
}

/// Whether nothing changes any more.
pub fn is_final(operation: &Operation) -> bool {
    state(operation.state).is_some_and(State::is_final)
}

fn read(progress: &OperationProgress, at: Timestamp) -> OperationNews {
    OperationNews {
        state: state(progress.state),
        step: progress.step.clone(),
        refusal: progress.refusal.clone().map(Into::into),
        at,
    }
}

fn state(number: i32) -> Option<State> {
    match OperationState::try_from(number) {
        Ok(OperationState::Pending) => Some(State::Pending),
        Ok(OperationState::Running) => Some(State::Running),
        Ok(OperationState::Succeeded) => Some(State::Succeeded),
        Ok(OperationState::Failed) => Some(State::Failed),
        Ok(OperationState::Superseded) => Some(State::Superseded),
        Ok(OperationState::Unspecified) | Err(_) => None,
    }
}

fn status(operation: &Operation) -> OperationStatus {
    let step = |s: &common::Step| Step { name: s.name.clone(), at: Timestamp(s.at_us) };
    OperationStatus {
        state: state(operation.state).unwrap_or(State::Pending),
        steps: operation.steps.iter().map(step).collect(),
        refusal: operation.refusal.clone().map(Into::into),
        updated_at: Timestamp(operation.updated_at_us),
        revision: operation.revision,
    }
}

fn with(mut operation: Operation, status: OperationStatus) -> Operation {
    let state = match status.state {
        State::Pending => OperationState::Pending,
        State::Running => OperationState::Running,
        State::Succeeded => OperationState::Succeeded,
        State::Failed => OperationState::Failed,
        State::Superseded => OperationState::Superseded,
    };
    operation.state = state as i32;
    operation.steps =
        status.steps.into_iter().map(|s| common::Step { name: s.name, at_us: s.at.micros() }).collect();
    operation.refusal = status.refusal.map(Into::into);
    operation.updated_at_us = status.updated_at.micros();
    operation.revision = status.revision;
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> Operation {
        let new = New {
            id: "018f".into(),
            tenant: "acme",
            method: "CreateInstance",
            object_id: "i",
            actor: "ann",
            idempotency_key: "",
            request_sha256: "aa",
            deadline_us: 0,
        };
        accepted(new, Timestamp(10))
    }

    fn progress(state: OperationState, step: &str) -> OperationProgress {
        OperationProgress {
            operation_id: "018f".into(),
            state: state as i32,
            step: step.into(),
            refusal: None,
        }
    }

    #[test]
    fn the_acceptance_may_come_last() {
        let (placed, ready) =
            (progress(OperationState::Running, "placed"), progress(OperationState::Succeeded, "ready"));
        let in_order = advanced(&new(), &placed, Timestamp(20)).expect("new");
        let in_order = advanced(&in_order, &ready, Timestamp(30)).expect("new");
        let early = advanced(&unheard_of("018f"), &placed, Timestamp(20)).expect("new");
        let early = advanced(&early, &ready, Timestamp(30)).expect("new");
        assert_eq!(merged(&early, new()), in_order);
    }

    #[test]
    fn a_step_without_a_state_is_only_a_step() {
        let stepped =
            advanced(&new(), &progress(OperationState::Unspecified, "disk"), Timestamp(11)).expect("new");
        assert_eq!((stepped.state, stepped.steps.len()), (OperationState::Pending as i32, 2));
        assert!(!is_final(&stepped));
    }
}
