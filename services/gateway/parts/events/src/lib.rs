//! Events out of the platform and into it: the stream for readers, webhooks, events of other systems by the public
//! interface and by the broker, and the catalogue of what there is.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod api;
pub mod domain;
pub mod handlers;
pub mod reconcilers;
pub mod server;
pub mod store;
pub mod translate;
