//! Who did what: one record for each call that changes something or is denied.
//!
//! A call has one [`Draft`], whatever door it comes in by. Requests that are taken on say their record in their own
//! transaction; all others are written by the [`ledger`], many in one transaction. A draft that everybody let go of
//! without a record writes one itself: the caller went away.

mod draft;
pub mod layer;
mod ledger;
mod service;

pub use draft::{Draft, Drafts};
pub use ledger::{Ledger, ledger};
pub use service::Records;
