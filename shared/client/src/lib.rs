//! The way to the gateway: connection, credentials, retries, waiting, uploads.

#![forbid(unsafe_code)]

mod connect;
mod failure;
mod retry;
mod scheme;
mod upload;
mod wait;

pub use connect::{Connect, Credentials, Gateway};
pub use failure::{Exit, Failure, is_transport};
pub use retry::{IdempotencyKey, Retries};
pub use upload::{LocalFile, upload};
pub use wait::{Waited, wait_for_operation};
