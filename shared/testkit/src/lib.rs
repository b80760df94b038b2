//! What tests stand on: a real nats-server and real databases per test, waiting without sleeping, and a bench on
//! which a service gets every message twice. A dev-dependency only.
#![forbid(unsafe_code)]

mod bench;
mod database;
mod eventually;
mod laws;
mod nats;
mod port;
mod publish;
mod small_disk;
mod unknown;

pub use bench::{Bench, Said};
pub use database::{Database, databases};
pub use eventually::{eventually, eventually_ok};
pub use laws::{Samples, laws};
pub use nats::{Block, NatsServer};
pub use port::free_port;
pub use publish::publish;
pub use small_disk::SmallDisk;
pub use unknown::unknown_events;
