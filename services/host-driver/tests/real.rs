//! The whole service over a real broker: on simulated hosts, and on QEMU with things done behind its back.
#![allow(clippy::unwrap_used)]

#[path = "real/guests.rs"]
mod guests;
#[path = "real/halting.rs"]
mod halting;
#[path = "real/killed.rs"]
mod killed;
#[path = "real/proxy.rs"]
mod proxy;
#[path = "real/qemu.rs"]
mod qemu;
#[path = "real/service.rs"]
mod service;
#[path = "real/simulated.rs"]
mod simulated;
#[allow(dead_code)]
#[path = "suite/subject.rs"]
mod subject;
