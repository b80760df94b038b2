//! A refusal is an answer, never an error.

use std::fmt;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// Stable, upper case with underscores: "NO_HOST_HAS_ROOM".
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// Details, most important first.
    pub reasons: Vec<String>,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), reasons: Vec::new() }
    }

    /// The same refusal with details.
    pub fn because(mut self, reasons: impl IntoIterator<Item = String>) -> Self {
        self.reasons.extend(reasons);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)?;
        if self.reasons.is_empty() { Ok(()) } else { write!(f, ": {}", self.reasons.join(", ")) }
    }
}
