//! Who did what: one record for each call that changes something or is denied.
//!
//! A call has one [`Draft`], whatever door it comes in by. Requests that are taken on say their record in their own
//! transaction; all others are written by the [`ledger`], many in one transaction. A call that changes something runs to its
//! end whether its caller waits or not, so that there is one end to record.

mod draft;
pub mod layer;
mod ledger;
mod service;

pub use draft::{Answered, Draft, Drafts};
pub use ledger::{Ledger, ledger};
pub use service::Records;
