//! What went wrong, as a status that gRPC and REST both understand.

use crate::domain::violation::Violation;
pub use contracts::status::{details, refused};
use kernel::Refusal;
use tonic::{Code, Status};

/// A request with a wrong field.
pub fn invalid(violation: Violation) -> Status {
    let text = violation.to_string();
    refused(Code::InvalidArgument, Refusal::new("INVALID_ARGUMENT", text), &violation.field)
}

/// Nothing of that name in the caller's reach; the same for what belongs to somebody else.
pub fn not_found(what: &str, field: &str, name: &str) -> Status {
    let name = crate::domain::violation::excerpt(name, 128);
    let refusal =
        Refusal::new(&format!("{}_NOT_FOUND", what.to_uppercase()), format!("no {what} is called {name:?}"));
    refused(Code::NotFound, refusal, field)
}

/// Something of ours broke. The cause goes to the log; the caller learns that it was not their fault, and whether the
/// store is full, locked or read only.
pub fn broken(error: impl std::fmt::Display + 'static) -> Status {
    tracing::error!(%error, "request failed");
    let code = match bus::Trouble::of_any(&error) {
        bus::Trouble::Other => "UNAVAILABLE",
        trouble => trouble.code(),
    };
    let refusal = Refusal::new(code, "the gateway could not finish this just now; try again");
    refused(Code::Unavailable, refusal, "")
}
