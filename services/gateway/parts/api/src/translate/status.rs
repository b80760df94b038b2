//! What went wrong, as a status that gRPC and REST both understand.

use crate::domain::violation::Violation;
pub use contracts::status::{details, refused, refused_for_now};
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
    // a code is one word, whatever the thing is called: "dead letter" is DEAD_LETTER_NOT_FOUND
    let code = format!("{}_NOT_FOUND", what.to_uppercase().replace(' ', "_"));
    let refusal = Refusal::new(&code, format!("no {what} is called {name:?}"));
    refused(Code::NotFound, refusal, field)
}

/// A part of the request that is not there.
pub fn missing(field: &str) -> Status {
    invalid(Violation::new(field, "is missing"))
}

/// The owner of what was asked about did not answer: nothing was changed, and it may be asked again.
pub fn unanswered(error: bus::AskError) -> Status {
    use bus::AskError;
    let code = match &error {
        AskError::Refused(refusal) => return refused(Code::FailedPrecondition, refusal.clone(), ""),
        AskError::Away(_) => "OWNER_AWAY",
        AskError::Slow(..) => "OWNER_SLOW",
        AskError::Busy(_) => "OWNER_BUSY",
        AskError::Unreadable(..) => "VERSIONS_DIFFER",
        AskError::Broker(_) => "BROKER_AWAY",
    };
    tracing::warn!(%error, "a question was not answered");
    let text = format!("{error}; what was asked changes nothing, try again");
    refused_for_now(Code::Unavailable, Refusal::new(code, text), 2)
}

/// Nothing is staged under this id for the caller.
pub fn upload_unknown(id: &str, field: &str) -> Status {
    let text = format!("nothing is staged under {id}: send the file again");
    refused(Code::NotFound, Refusal::new("UPLOAD_UNKNOWN", text), field)
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

/// "NOT_FOUND": the code as gRPC writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_one_word() {
        let code = |what: &str| details(&not_found(what, "f", "x")).0.map(|refusal| refusal.code);
        assert_eq!(code("dead letter").as_deref(), Some("DEAD_LETTER_NOT_FOUND"));
        assert_eq!(code("instance").as_deref(), Some("INSTANCE_NOT_FOUND"));
    }

    #[test]
    fn a_violation_of_the_whole_request_names_no_field() {
        let whole = invalid(Violation::new("", "the body must be a JSON object"));
        assert_eq!(whole.message(), "the body must be a JSON object");
        assert_eq!(invalid(Violation::new("name", "is missing")).message(), "name: is missing");
    }
}
