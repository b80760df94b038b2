//! The service on the bench: every case with each message delivered once and twice.
#![allow(clippy::unwrap_used)]

#[path = "service/away.rs"]
mod away;
#[path = "service/drift.rs"]
mod drift;
#[path = "service/every_step.rs"]
mod every_step;
#[path = "service/execs.rs"]
mod execs;
#[path = "service/faults.rs"]
mod faults;
#[path = "service/guests.rs"]
mod guests;
#[path = "service/kept.rs"]
mod kept;
#[path = "service/life.rs"]
mod life;
#[path = "service/rig.rs"]
mod rig;
