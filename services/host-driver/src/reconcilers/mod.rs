//! One file per loop. Each makes the world match the tables, is idempotent, and may be killed at any line.

pub mod attention;
pub mod books;
pub mod console;
pub mod execs;
pub mod host;
pub mod images;
pub mod orphans;
pub mod quarantine;
pub mod visit;
pub mod vms;
