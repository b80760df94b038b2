//! How the world says no.

use host_driver_domain::{HostCause, Severity};
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
    /// Something holds for the whole host: no VM is to blame, and none can do anything about it.
    #[error("{message}")]
    Host {
        /// What.
        cause: HostCause,
        /// What was said of it.
        message: String,
    },
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

    /// Something holds for the whole host.
    pub fn host(cause: HostCause, message: impl Into<String>) -> Self {
        Fault::Host { cause, message: message.into() }
    }

    /// What another program said: of the whole host, or of this VM.
    pub fn said(words: String) -> Self {
        match HostCause::of_words(&words) {
            Some(cause) => Fault::Host { cause, message: words },
            None => Fault::Failed(words),
        }
    }

    /// How the planner's books take it.
    pub fn severity(&self) -> Severity {
        match self {
            Fault::Unavailable(_) | Fault::Busy(_) | Fault::Host { .. } => Severity::Host,
            Fault::NotFound | Fault::Failed(_) => Severity::Transient,
            Fault::Permanent(_) => Severity::Permanent,
        }
    }

    /// What is said of it. `doing` is the action's name: "start".
    pub fn refusal(&self, doing: &str) -> Refusal {
        match self {
            Fault::Permanent(refusal) => refusal.clone(),
            Fault::Host { cause, message } => Refusal::new(cause.code(), message.clone()),
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
        use std::io::ErrorKind;
        // what the standard library has no name for: EIO is of one file, these are of the system
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        const ENOTCONN: i32 = 107;
        let cause = match (error.kind(), error.raw_os_error()) {
            (ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem, _) => {
                Some(HostCause::Storage)
            }
            (ErrorKind::StaleNetworkFileHandle | ErrorKind::HostUnreachable | ErrorKind::NetworkDown, _) => {
                Some(HostCause::Datastore)
            }
            (_, Some(ENOTCONN)) => Some(HostCause::Datastore),
            (ErrorKind::OutOfMemory, _) => Some(HostCause::Memory),
            (_, Some(ENFILE | EMFILE)) => Some(HostCause::System),
            _ => None,
        };
        match cause {
            Some(cause) => Fault::host(cause, error.to_string()),
            None => Fault::Failed(error.to_string()),
        }
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

    #[test]
    fn what_holds_for_the_host_is_told_from_what_is_wrong_with_one_vm() {
        let of_errno = |errno| Fault::from(std::io::Error::from_raw_os_error(errno));
        // ENOSPC, EDQUOT, EROFS, ESTALE, ENOTCONN, ENOMEM, EMFILE
        for errno in [28, 122, 30, 116, 107, 12, 24] {
            assert_eq!(of_errno(errno).severity(), Severity::Host, "{errno}");
        }
        // ENOENT, EACCES, EIO
        for errno in [2, 13, 5] {
            assert_eq!(of_errno(errno).severity(), Severity::Transient, "{errno}");
        }
        let full = Fault::said("qemu-img: /x: error while writing: No space left on device".into());
        assert_eq!(full.refusal("prepare_disks").code, "HOST_STORAGE_FULL");
        assert_eq!(Fault::said("qemu-img: not a qcow2 file".into()).severity(), Severity::Transient);
    }
}
