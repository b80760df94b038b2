//! What went wrong, on the wire: `google.rpc.Status` in `grpc-status-details-bin`, as gRPC clients expect it
//! (https://google.aip.dev/193). Two details are used: our own `berth.common.v1.Refusal` and `google.rpc.BadRequest`.

use crate::common::v1 as common;
use kernel::Refusal;
use prost::Message;
use tonic::{Code, Status};

const REFUSAL: &str = "type.googleapis.com/berth.common.v1.Refusal";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
/// After which what is unavailable may be asked for again.
const RETRY_AFTER: prost_types::Duration = prost_types::Duration { seconds: 1, nanos: 0 };
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// `google.rpc.Status`, field numbers as published in google/rpc/status.proto.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.BadRequest`, field numbers as published in google/rpc/error_details.proto.
#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

/// `google.rpc.RetryInfo`, field numbers as published in google/rpc/error_details.proto.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// A status that carries a refusal, and the field it is about ("" = none).
pub fn refused(code: Code, refusal: Refusal, field: &str) -> Status {
    let retry = (code == Code::Unavailable).then_some(RETRY_AFTER);
    with_details(code, refusal, field, retry)
}

/// A refusal that does not count any more after so many seconds.
pub fn refused_for_now(code: Code, refusal: Refusal, seconds: u64) -> Status {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    with_details(code, refusal, "", Some(prost_types::Duration { seconds, nanos: 0 }))
}

fn with_details(
    code: Code,
    refusal: Refusal,
    field: &str,
    retry_delay: Option<prost_types::Duration>,
) -> Status {
    let message = refusal.message.clone();
    let mut details = Vec::new();
    if !field.is_empty() {
        let violation = FieldViolation { field: field.to_owned(), description: message.clone() };
        let bad = BadRequest { field_violations: vec![violation] };
        details.push(prost_types::Any { type_url: BAD_REQUEST.to_owned(), value: bad.encode_to_vec() });
    }
    if retry_delay.is_some() {
        let retry = RetryInfo { retry_delay };
        details.push(prost_types::Any { type_url: RETRY_INFO.to_owned(), value: retry.encode_to_vec() });
    }
    let refusal = common::Refusal::from(refusal);
    details.push(prost_types::Any { type_url: REFUSAL.to_owned(), value: refusal.encode_to_vec() });
    let rpc = RpcStatus { code: code as i32, message: message.clone(), details };
    Status::with_details(code, message, rpc.encode_to_vec().into())
}

/// After how many seconds the same may be asked for again, if the status says so.
pub fn retry_after_s(status: &Status) -> Option<u64> {
    let rpc = RpcStatus::decode(status.details()).ok()?;
    let info = rpc.details.iter().find(|any| any.type_url == RETRY_INFO)?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay?;
    u64::try_from(delay.seconds).ok()
}

/// The refusal and the field inside a status, if it has them.
pub fn details(status: &Status) -> (Option<Refusal>, Option<String>) {
    let (mut refusal, mut field) = (None, None);
    if let Ok(rpc) = RpcStatus::decode(status.details()) {
        for any in rpc.details {
            match any.type_url.as_str() {
                REFUSAL => refusal = common::Refusal::decode(&*any.value).ok().map(Refusal::from),
                BAD_REQUEST => {
                    let bad = BadRequest::decode(&*any.value).ok();
                    field = bad.and_then(|b| b.field_violations.into_iter().next()).map(|v| v.field);
                }
                _ => {}
            }
        }
    }
    (refusal, field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_survive_the_wire() {
        let refusal = Refusal::new("NO_ROOM", "no host has room").because(["14 lack memory".to_owned()]);
        let status = refused(Code::FailedPrecondition, refusal.clone(), "resources");
        assert_eq!(details(&status), (Some(refusal), Some("resources".to_owned())));
        assert_eq!(status.message(), "no host has room");
        assert_eq!(details(&Status::internal("x")), (None, None));
        assert_eq!((retry_after_s(&status), retry_after_s(&Status::internal("x"))), (None, None));
        let later = refused_for_now(Code::ResourceExhausted, Refusal::new("LATER", "later"), 7);
        assert_eq!(retry_after_s(&later), Some(7));
    }
}
