//! Between the wire and the domain: every check of what comes in, every word of what goes out.

pub mod decision;
pub mod host;
pub mod instance;
pub mod lifecycle;
pub mod names;
pub mod request;
#[cfg(test)]
mod roundtrip;
pub mod spec;

use kernel::InvalidId;
use std::fmt;

/// A message, or a part of one, that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Which field: "spec.resources.memory_bytes".
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Invalid {
    /// A field that is wrong.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }

    /// A field that holds no id.
    pub fn id(field: &'static str) -> impl FnOnce(InvalidId) -> Self {
        move |error| Self::new(field, error.to_string())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl std::error::Error for Invalid {}

impl From<Invalid> for bus::Failure {
    fn from(invalid: Invalid) -> Self {
        bus::Failure::Poison(invalid.to_string())
    }
}

/// A field that must be there.
fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "is missing"))
}
