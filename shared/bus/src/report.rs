//! How the parts of the bus say whether they are well.

use crate::Trouble;
use std::sync::Arc;

type Listener = dyn Fn(Result<(), Trouble>, String) + Send + Sync;

/// Told whenever a part becomes well or unwell, with a sentence for the operator.
#[derive(Clone)]
pub struct Report(Arc<Listener>);

impl Report {
    /// A report that calls `f` with the cause, if the part is unwell, and a sentence.
    pub fn new(f: impl Fn(Result<(), Trouble>, String) + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// Nobody listens.
    pub fn none() -> Self {
        Self::new(|_, _| {})
    }

    pub(crate) fn well(&self, detail: impl Into<String>) {
        (self.0)(Ok(()), detail.into());
    }

    pub(crate) fn unwell(&self, trouble: Trouble, detail: impl Into<String>) {
        (self.0)(Err(trouble), detail.into());
    }
}
