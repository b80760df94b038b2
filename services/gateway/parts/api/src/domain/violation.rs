//! What is wrong with a request.

use std::fmt;

/// One wrong field of a request: where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field: "resources.memory_bytes", "ssh_authorized_keys[2]"; "" = the request as a whole.
    pub field: String,
    /// One sentence: what is wrong and what would be right.
    pub message: String,
}

impl Violation {
    /// A violation of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// The same violation seen from the message that holds it: "memory_bytes" inside "resources".
    pub fn inside(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.field, self.message)
    }
}

pub use kernel::excerpt;
