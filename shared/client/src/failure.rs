//! What went wrong, in words for a person and as an exit code for a program.

use contracts::common::v1::Refusal;
use std::fmt;
use std::process::ExitCode;
use tonic::{Code, Status};

/// How a command ends, besides 0. `berth instance exec` ends with the guest program's own code instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: it was tried and failed.
    Failed = 1,
    /// 2: the command line, a setting or an argument is wrong.
    Usage = 2,
    /// 3: there is no such thing.
    NotFound = 3,
    /// 4: refused, or in conflict with what is there.
    Refused = 4,
    /// 5: the gateway cannot be reached.
    Unreachable = 5,
    /// 6: the time was up.
    Timeout = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the command ends.
    pub exit: Exit,
    /// Stable, upper case: "NO_HOST_HAS_ROOM"; "" = the failure has none.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Details, most important first.
    pub reasons: Vec<String>,
    /// The field of the request it is about; "" = none.
    pub field: Box<str>,
    /// What to do about it; "" = nothing to suggest.
    pub hint: String,
}

impl Failure {
    /// A failure without details.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: String::new(),
            message: message.into(),
            reasons: Vec::new(),
            field: Box::default(),
            hint: String::new(),
        }
    }

    /// The command line, a setting or an argument is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The same failure with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// What the platform answered when it said no; `fallback` is the sentence when it gave none.
    pub fn refused(refusal: Option<Refusal>, fallback: impl Into<String>) -> Self {
        let refusal = refusal.unwrap_or_default();
        let message = if refusal.message.is_empty() { fallback.into() } else { refusal.message };
        Self { code: refusal.code, reasons: refusal.reasons, ..Self::new(Exit::Refused, message) }
    }

    /// What a call to `endpoint` answered instead of the result.
    pub fn from_status(status: &Status, endpoint: &str) -> Self {
        let (refusal, field) = contracts::status::details(status);
        // a gateway that says why it takes nothing on was reached
        if is_transport(status) && refusal.is_none() {
            return Self::unreachable(status, endpoint);
        }
        let exit = exit_of(status.code());
        let mut failure = match refusal {
            Some(refusal) => Self { exit, ..Self::refused(Some(refusal.into()), status.message()) },
            None => Self::new(exit, sentence(status)),
        };
        failure.field = field.unwrap_or_default().into();
        if status.code() == Code::Unauthenticated {
            failure.hint =
                "give an API token with BERTH_TOKEN or --token-file, or as `token_file` of the context"
                    .into();
        }
        failure
    }

    fn unreachable(status: &Status, endpoint: &str) -> Self {
        let mut reasons = vec![status.message().to_owned()];
        let mut cause = std::error::Error::source(status);
        while let Some(error) = cause {
            reasons.push(error.to_string());
            cause = error.source();
        }
        // the layers between repeat each other, and say that it was the transport
        let mut seen = Vec::new();
        reasons.retain(|text| {
            let news = !text.is_empty() && text != "transport error" && !seen.contains(text);
            seen.push(text.clone());
            news
        });
        let hint = if reasons.iter().any(|reason| reason.contains("certificate")) {
            "is the CA file the one of this gateway, and does its certificate name this host?"
        } else {
            "is it running (`berth up`)? `berth config check` shows which endpoint is used and why"
        };
        let message = format!("the gateway at {endpoint} cannot be reached");
        Self { reasons, ..Self::new(Exit::Unreachable, message) }.hint(hint)
    }

    /// The failure as one JSON object, for `-o json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"error": {
            "exit_code": self.exit as u8,
            "code": self.code,
            "message": self.message,
            "reasons": self.reasons,
            "field": self.field,
            "hint": self.hint,
        }})
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if !self.code.is_empty() {
            write!(f, " ({})", self.code)?;
        }
        for reason in &self.reasons {
            write!(f, "\n  - {reason}")?;
        }
        if !self.field.is_empty() {
            write!(f, "\n  in the field {}", self.field)?;
        }
        if !self.hint.is_empty() {
            write!(f, "\nhint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// The error chain of something that failed on this machine.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let mut chain = error.chain().map(ToString::to_string);
        let message = chain.next().unwrap_or_default();
        Self { reasons: chain.collect(), ..Self::new(Exit::Failed, message) }
    }
}

/// The connection failed, not the call: the same request may be sent again.
pub fn is_transport(status: &Status) -> bool {
    let never_sent = status.code() == Code::Unknown && status.message().starts_with("Service was not ready");
    // an error with a source was made on this side of the connection
    let made_here = std::error::Error::source(status).is_some() && !timed_out_here(status);
    status.code() == Code::Unavailable || made_here || never_sent
}

/// The call took longer than this side wanted to wait.
pub(super) fn timed_out_here(status: &Status) -> bool {
    status.code() == Code::Cancelled && status.message() == "Timeout expired"
}

fn exit_of(code: Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::NotFound => Exit::NotFound,
        Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::ResourceExhausted
        | Code::PermissionDenied
        | Code::Unauthenticated => Exit::Refused,
        Code::Unavailable => Exit::Unreachable,
        Code::DeadlineExceeded => Exit::Timeout,
        _ => Exit::Failed,
    }
}

fn sentence(status: &Status) -> String {
    match (status.code(), status.message()) {
        (Code::Unimplemented, "") => {
            "the gateway does not know this call: it is older than this berth".to_owned()
        }
        (code, "") => code.description().to_owned(),
        (_, message) => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_in_the_details_is_told_whole() {
        let refusal = Refusal {
            code: "NO_HOST_HAS_ROOM".into(),
            message: "no host has room".into(),
            reasons: vec!["14 hosts lack memory".into(), "2 are cordoned".into()],
        };
        let status = contracts::status::refused(Code::FailedPrecondition, refusal.into(), "resources");
        let failure = Failure::from_status(&status, "http://127.0.0.1:1");
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(
            failure.to_string(),
            "error: no host has room (NO_HOST_HAS_ROOM)\n  - 14 hosts lack memory\n  - 2 are cordoned\n  in the field resources"
        );
        assert_eq!(failure.to_json()["error"]["reasons"][1], "2 are cordoned");
    }

    #[test]
    fn details_that_are_no_refusal_do_not_hide_the_message() {
        let status =
            Status::with_details(Code::NotFound, "no instance is called web-1", vec![0xff, 1].into());
        let failure = Failure::from_status(&status, "e");
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::NotFound, "no instance is called web-1"));
    }

    #[test]
    fn every_code_has_its_exit() {
        for (code, exit) in [
            (Code::InvalidArgument, Exit::Usage),
            (Code::NotFound, Exit::NotFound),
            (Code::AlreadyExists, Exit::Refused),
            (Code::PermissionDenied, Exit::Refused),
            (Code::Unavailable, Exit::Unreachable),
            (Code::DeadlineExceeded, Exit::Timeout),
            (Code::Internal, Exit::Failed),
        ] {
            assert_eq!(Failure::from_status(&Status::new(code, "m"), "e").exit, exit, "{code:?}");
        }
    }
}
