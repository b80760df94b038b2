//! Between the wire and the domain, in both directions; everything that comes in is checked here.

pub mod incoming;
pub mod outgoing;
