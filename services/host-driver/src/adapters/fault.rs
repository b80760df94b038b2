//! How the world says no.

use crate::domain::Severity;
use kernel::Refusal;

/// An operation on the world did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The hypervisor cannot be reached; whether the operation happened is unknown.
    #[error("the hypervisor is not reachable: {0}")]
    Unavailable(String),
    /// It is busy with the VM; later it may work.
    #[error("the hypervisor is busy: {0}")]
    Busy(String),
    /// It does not know the VM.
    #[error("the hypervisor does not know the VM")]
    NotFound,
    /// It did not work this time.
    #[error("{0}")]
    Failed(String),
    /// It will never work with this input.
    #[error("{0}")]
    Permanent(Refusal),
}

impl Fault {
    /// A fault that no repetition cures.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Fault::Permanent(Refusal::new(code, message))
    }

    /// How the planner's books take it.
    pub fn severity(&self) -> Severity {
        match self {
            Fault::Unavailable(_) | Fault::Busy(_) => Severity::Unavailable,
            Fault::NotFound | Fault::Failed(_) => Severity::Transient,
            Fault::Permanent(_) => Severity::Permanent,
        }
    }

    /// What is said of it. `doing` is the action's name: "start".
    pub fn refusal(&self, doing: &str) -> Refusal {
        match self {
            Fault::Permanent(refusal) => refusal.clone(),
            Fault::Unavailable(_) | Fault::Busy(_) => {
                Refusal::new("HYPERVISOR_UNAVAILABLE", self.to_string())
            }
            Fault::NotFound | Fault::Failed(_) => {
                Refusal::new(&format!("{}_FAILED", doing.to_ascii_uppercase()), self.to_string())
            }
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Fault::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_was_being_done() {
        let refusal = Fault::Failed("no room".into()).refusal("prepare_disks");
        assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("PREPARE_DISKS_FAILED", "no room"));
    }
}
