//! The words every Berth crate speaks: ids, quantities, quotas, time, refusals and what a message is.
//! Pure: no runtime, no database, no IO besides the system clock behind [`Clock`].
#![forbid(unsafe_code)]

mod clock;
mod excerpt;
mod id;
pub mod labels;
mod message;
pub mod names;
pub mod public_keys;
mod quantity;
pub mod quota;
mod refusal;
mod subject;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use excerpt::excerpt;
pub use id::{
    AuditId, CorrelationId, HostId, ImageId, InstanceId, InvalidId, MessageId, ObjectId, OperationId,
    QuarantineId, TokenId, UploadId, UserId, WebhookId,
};
pub use message::{Kind, Message};
pub use quantity::{Bytes, MilliVcpus, Money};
pub use refusal::Refusal;
pub use subject::{InvalidSubject, PLATFORM, Subject};
