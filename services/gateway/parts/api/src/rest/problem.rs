//! Errors as RFC 9457 problem documents.

use crate::translate::status::{self, code_name};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

/// What is sent as `application/problem+json`. One word long, because it travels in many results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Document>);

/// The members of a problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// "urn:berth:problem:not_found": the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What exactly is wrong and what would be right.
    pub detail: String,
    /// Stable code: "NO_HOST_HAS_ROOM".
    pub code: String,
    /// Details, most important first.
    pub reasons: Vec<String>,
    /// The field of the request that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// After how many seconds to ask again; goes out as the header `Retry-After`.
    #[serde(skip)]
    pub retry_after_s: Option<u64>,
}

/// The HTTP status of a gRPC code.
pub fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Problem {
    /// The problem that a gRPC status stands for.
    pub fn of(status: &Status) -> Self {
        let (refusal, field) = status::details(status);
        let (http, kind) = (http_status(status.code()), code_name(status.code()));
        let mut problem = Self::with(http, kind, status.message(), refusal, field);
        problem.0.retry_after_s = contracts::status::retry_after_s(status);
        problem
    }

    /// A problem that HTTP itself has: an unknown path, a wrong method, a body that is too big.
    pub fn http(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self::with(status, code, &detail.into(), None, None)
    }

    /// What a record of the call says: the gRPC code it is like, its name, and the code of the refusal.
    pub fn as_record(&self) -> (Code, String, String) {
        let code = match self.status {
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            _ => Code::Unknown,
        };
        (code, self.title.to_uppercase().replace(' ', "_"), self.code.clone())
    }

    fn with(
        status: StatusCode,
        kind: &str,
        detail: &str,
        refusal: Option<kernel::Refusal>,
        field: Option<String>,
    ) -> Self {
        let (code, reasons) = match refusal {
            Some(refusal) => (refusal.code, refusal.reasons),
            None => (kind.to_owned(), Vec::new()),
        };
        Self(Box::new(Document {
            kind: format!("urn:berth:problem:{}", kind.to_lowercase()),
            title: kind.replace('_', " ").to_lowercase(),
            status: status.as_u16(),
            detail: detail.to_owned(),
            code,
            reasons,
            field,
            retry_after_s: None,
        }))
    }
}

impl std::ops::Deref for Problem {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.0
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        let retry_after_s = self.retry_after_s.or(unavailable.then_some(1));
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::violation::Violation;

    #[test]
    fn a_violation_names_its_field() {
        let problem = Problem::of(&status::invalid(Violation::new("name", "write a name")));
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some("name")));
        assert_eq!(problem.code, "INVALID_ARGUMENT");
        assert_eq!(problem.kind, "urn:berth:problem:invalid_argument");
    }

    #[test]
    fn a_refusal_keeps_its_code_and_reasons() {
        let refusal = kernel::Refusal::new("IMAGE_IN_USE", "instances use it").because(["web-1".to_owned()]);
        let problem = Problem::of(&status::refused(Code::FailedPrecondition, refusal, ""));
        assert_eq!((problem.status, problem.code.as_str()), (409, "IMAGE_IN_USE"));
        assert_eq!(problem.reasons, ["web-1"]);
        assert_eq!(problem.field, None);
    }

    #[test]
    fn who_is_unknown_learns_how_to_sign_in() {
        let response = Problem::of(&Status::unauthenticated("no token")).into_response();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
}
