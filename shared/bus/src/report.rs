//! How the parts of the bus say whether they are well.

use crate::Trouble;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

type Outcome = (Result<(), Trouble>, String);
type Listener = dyn Fn(Result<(), Trouble>, String) + Send + Sync;

/// Told whenever a part becomes well or unwell, with a sentence for the operator.
#[derive(Clone)]
pub struct Report {
    listener: Arc<Listener>,
    parts: Arc<Mutex<BTreeMap<String, Outcome>>>,
    part: String,
}

impl Report {
    /// A report that calls `f` with the cause, if the part is unwell, and a sentence.
    pub fn new(f: impl Fn(Result<(), Trouble>, String) + Send + Sync + 'static) -> Self {
        Self { listener: Arc::new(f), parts: Arc::default(), part: String::new() }
    }

    /// Nobody listens.
    pub fn none() -> Self {
        Self::new(|_, _| {})
    }

    /// The same for one of several parts: the whole is well when none of them is unwell, so that one that is well does
    /// not speak over one that is not.
    pub fn part(&self, name: impl Into<String>) -> Self {
        Self { part: name.into(), ..self.clone() }
    }

    /// The part is well.
    pub fn well(&self, detail: impl Into<String>) {
        self.say((Ok(()), detail.into()));
    }

    /// The part is not well: why, and a sentence.
    pub fn unwell(&self, trouble: Trouble, detail: impl Into<String>) {
        self.say((Err(trouble), detail.into()));
    }

    fn say(&self, outcome: Outcome) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = parts.insert(self.part.clone(), outcome.clone());
        if before.as_ref() == Some(&outcome) {
            return;
        }
        let unwell = parts.values().find(|(outcome, _)| outcome.is_err());
        let (outcome, detail) = unwell.cloned().unwrap_or(outcome);
        // under the lock: the last that was said is the last that is heard
        (self.listener)(outcome, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_well_when_no_part_is_unwell() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = heard.clone();
        let report =
            Report::new(move |outcome, detail| listener.lock().expect("lock").push((outcome, detail)));
        let (a, b) = (report.part("a"), report.part("b"));
        a.well("a is");
        b.unwell(Trouble::Stuck, "b hangs");
        a.well("a still is");
        a.well("a still is");
        b.well("b is again");
        let heard: Vec<(bool, String)> =
            heard.lock().expect("lock").iter().map(|(o, d)| (o.is_ok(), d.clone())).collect();
        let said = |well, detail: &str| (well, detail.to_owned());
        assert_eq!(
            heard,
            [said(true, "a is"), said(false, "b hangs"), said(false, "b hangs"), said(true, "b is again")]
        );
    }
}
