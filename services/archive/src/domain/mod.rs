//! When a segment is due, decided without clock, database or network.

pub mod due;
