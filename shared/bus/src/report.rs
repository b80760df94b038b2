//! How the parts of the bus say whether they are well.

use std::sync::Arc;

/// Told whenever a part becomes well or unwell, with a sentence for the operator.
#[derive(Clone)]
pub struct Report(Arc<dyn Fn(bool, String) + Send + Sync>);

impl Report {
    /// A report that calls `f(healthy, detail)`.
    pub fn new(f: impl Fn(bool, String) + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// Nobody listens.
    pub fn none() -> Self {
        Self::new(|_, _| {})
    }

    pub(crate) fn well(&self, detail: impl Into<String>) {
        (self.0)(true, detail.into());
    }

    pub(crate) fn unwell(&self, detail: impl Into<String>) {
        (self.0)(false, detail.into());
    }
}
