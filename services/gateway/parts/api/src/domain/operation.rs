//! Where a request that takes time stands: a fold over what the services say about it.
//!
//! The fold gives the same result in whatever order messages arrive and however often: a final state stays, work
//! never goes back, steps are a set ordered by time. So tables rebuilt from the event stream are the same tables.

use kernel::{Refusal, Timestamp};

/// The step that every operation begins with.
const ACCEPTED: &str = "accepted";

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Accepted, nobody has begun.
    Pending,
    /// Somebody works on it, or waits for room.
    Running,
    /// Done.
    Succeeded,
    /// Not done; the refusal says why.
    Failed,
    /// A later request made it pointless.
    Superseded,
}

impl State {
    /// The name of a step that brought nothing but the state.
    fn word(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Superseded => "superseded",
        }
    }

    /// Nothing changes after it.
    pub fn is_final(self) -> bool {
        self >= State::Succeeded
    }
}

/// A named moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// "placed", "booted".
    pub name: String,
    /// When.
    pub at: Timestamp,
}

/// What a service says about an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationNews {
    /// `None`: only a step.
    pub state: Option<State>,
    /// "" = none.
    pub step: String,
    /// Why it failed or became pointless, or what it waits for.
    pub refusal: Option<Refusal>,
    /// When the service said it.
    pub at: Timestamp,
}

/// The part of an operation that progress changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationStatus {
    /// Where it stands.
    pub state: State,
    /// What was done, in order of time.
    pub steps: Vec<Step>,
    /// Why it failed, or what it waits for.
    pub refusal: Option<Refusal>,
    /// Of the newest change.
    pub updated_at: Timestamp,
    /// Grows with each change: a measure of what was heard, the same in whatever order it was heard.
    pub revision: u64,
}

impl OperationStatus {
    /// An operation that was just accepted.
    pub fn accepted(at: Timestamp) -> Self {
        let steps = vec![Step { name: ACCEPTED.into(), at }];
        Self { state: State::Pending, steps, refusal: None, updated_at: at, revision: 1 }
    }

    /// Takes progress in. `None`: nothing new in it.
    pub fn fold(&self, progress: &OperationNews) -> Option<Self> {
        let name = match progress.state {
            _ if !progress.step.is_empty() => progress.step.clone(),
            Some(state) => state.word().to_owned(),
            None => return None,
        };
        let step = Step { name, at: progress.at };
        let mut next = self.clone();
        if let Some(state) = progress.state.filter(|_| !self.state.is_final()) {
            let newer = state > self.state || state == self.state && progress.at >= self.updated_at;
            // a reason to wait is gone once the work goes on; a reason to fail stays for good
            if newer {
                next.state = state;
                next.refusal.clone_from(&progress.refusal);
            }
        }
        // an operation begins with being accepted; that its owner accepts it too is no further step
        let is_new = step.name != ACCEPTED && !next.steps.contains(&step);
        if is_new {
            let place = next.steps.partition_point(|s| (s.at, &s.name) <= (step.at, &step.name));
            next.steps.insert(place, step);
        }
        if next == *self {
            return None;
        }
        if is_new {
            next.updated_at = self.updated_at.max(progress.at);
        }
        next.revision = measure(next.state, &next.steps);
        Some(next)
    }
}

/// A revision that depends only on what was heard: each change adds a step or moves the state on.
pub fn measure(state: State, steps: &[Step]) -> u64 {
    let distance = match state {
        State::Pending => 0,
        State::Running => 1,
        State::Succeeded | State::Failed | State::Superseded => 2,
    };
    steps.len() as u64 + distance
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn progress(state: State, step: &str, at: i64) -> OperationNews {
        let refusal = (state == State::Failed).then(|| Refusal::new("BOOT_FAILED", "it did not boot"));
        OperationNews { state: Some(state), step: step.into(), refusal, at: Timestamp(at) }
    }

    fn folded(all: &[OperationNews]) -> OperationStatus {
        let mut standing = OperationStatus::accepted(Timestamp(1));
        for progress in all {
            standing = standing.fold(progress).unwrap_or(standing);
        }
        standing
    }

    #[test]
    fn progress_moves_an_operation_on() {
        let done = folded(&[
            progress(State::Running, "placed", 2),
            progress(State::Running, "booted", 3),
            progress(State::Succeeded, "ready", 4),
        ]);
        assert_eq!((done.state, done.revision, done.updated_at), (State::Succeeded, 6, Timestamp(4)));
        let names: Vec<&str> = done.steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["accepted", "placed", "booted", "ready"]);
    }

    #[test]
    fn an_operation_is_accepted_once() {
        let begun = folded(&[progress(State::Running, "accepted", 2), progress(State::Running, "placed", 3)]);
        let names: Vec<&str> = begun.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!((begun.state, names), (State::Running, vec!["accepted", "placed"]));
    }

    #[test]
    fn a_final_state_is_final() {
        let failed = folded(&[progress(State::Failed, "", 2), progress(State::Succeeded, "", 3)]);
        assert_eq!(failed.state, State::Failed);
        assert_eq!(failed.refusal.map(|r| r.code), Some("BOOT_FAILED".to_owned()));
    }

    #[test]
    fn a_reason_to_wait_goes_when_the_work_goes_on() {
        let waits = OperationNews {
            refusal: Some(Refusal::new("NO_ROOM", "no host")),
            ..progress(State::Running, "", 2)
        };
        assert!(folded(std::slice::from_ref(&waits)).refusal.is_some());
        assert!(folded(&[waits, progress(State::Running, "placed", 3)]).refusal.is_none());
    }

    fn any_progress() -> impl Strategy<Value = OperationNews> {
        let state = prop_oneof![Just(State::Running), Just(State::Succeeded), Just(State::Pending)];
        (state, prop_oneof![Just(""), Just("accepted"), Just("placed"), Just("booted")], 1..6i64)
            .prop_map(|(state, step, at)| progress(state, step, at))
    }

    proptest! {
        #[test]
        fn hearing_it_twice_changes_nothing(all in proptest::collection::vec(any_progress(), 0..8)) {
            let once = folded(&all);
            for progress in &all {
                let state = progress.state;
                let later = once.fold(progress);
                // only a waiting reason could differ, and these carry none
                prop_assert!(later.is_none(), "{state:?} changed {once:?}");
            }
        }

        #[test]
        fn order_does_not_matter_for_where_it_ends(all in proptest::collection::vec(any_progress(), 0..8)) {
            let (there, back) = (folded(&all), folded(&all.iter().rev().cloned().collect::<Vec<_>>()));
            prop_assert_eq!(there, back);
        }

        #[test]
        fn work_never_goes_back(all in proptest::collection::vec(any_progress(), 0..8)) {
            let mut standing = OperationStatus::accepted(Timestamp(1));
            for progress in &all {
                if let Some(next) = standing.fold(progress) {
                    prop_assert!(next.state >= standing.state && next.revision > standing.revision);
                    standing = next;
                }
            }
        }
    }
}
