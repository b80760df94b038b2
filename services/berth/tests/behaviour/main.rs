//! The program as a user sees it, against a gateway that answers what each test says.
#![allow(clippy::unwrap_used, missing_docs)]

mod changing;
mod exits;
mod fake;
mod running;
mod services;
mod streams;
mod trust;
mod uploads;
