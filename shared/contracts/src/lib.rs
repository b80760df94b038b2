//! The types generated from `proto/`, what each message on the bus is, and a way to read any of them by name.
#![allow(missing_docs, clippy::all, clippy::unwrap_used)] // generated from documented .proto files

mod generated {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));
}
pub use generated::berth::*;

mod catalogue;
mod object;
mod question;
mod quota;
mod reflect;
mod refusal;
pub mod status;
mod told;

pub use catalogue::{
    ANSWERING, CATALOGUE, Carries, Entry, KINDS, QUEUES, Snapshot, Statement, entry, events_of,
};
pub use object::{Object, ObjectKind};
pub use question::Question;
pub use reflect::{
    Body, DESCRIPTORS, Method, REDACTED, json_of, json_of_struct, methods, pool, redacted_json, to_json,
    to_struct,
};
pub use told::{Carried, Content, NotKnown, Told, known};
