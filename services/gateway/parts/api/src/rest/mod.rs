//! REST/JSON: a face of the gRPC services, derived from the `rest` option of each method.
//!
//! A request becomes a protobuf message by its descriptor, goes through the same services as gRPC in this process,
//! and the answer becomes JSON again. There is one function for each operation, whatever door it was called by.

pub mod answer;
pub mod call;
mod cloud_events;
pub mod console;
pub mod event_socket;
pub mod events;
pub mod fields;
pub mod frames;
pub mod lines;
pub mod openapi;
pub mod problem;
pub mod router;
pub mod sse;
pub mod upload;
