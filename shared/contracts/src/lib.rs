//! The types generated from `proto/`, what each message on the bus is, and a way to read any of them by name.
#![allow(missing_docs, clippy::all, clippy::unwrap_used)] // generated from documented .proto files

mod generated {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));
}
pub use generated::berth::*;

mod canonical;
mod catalogue;
pub mod check;
pub mod codec;
mod command;
pub mod comments;
mod object;
mod op;
mod question;
mod quota;
mod redact;
mod reflect;
mod refusal;
pub mod status;
mod told;

pub use canonical::canonical;
pub use catalogue::*;
pub use command::{Command, Does, Op, OwnObject, Stamp};
pub use object::{Object, ObjectKind};
pub use op::{dashed, op};
pub use question::Question;
pub use redact::{REDACTED, is_secret, redacted_json};
pub use reflect::{Body, DESCRIPTORS, Method, json_of, json_of_struct, methods, pool, to_json, to_struct};
pub use told::{Carried, Content, Forgotten, NotKnown, Told, known};
