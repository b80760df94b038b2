//! What can go wrong, and how often.

use node::SERVICES;

/// One kind of mishap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// A service dies, and with it its relay.
    KillService,
    /// A service is held.
    HoldService,
    /// The broker dies.
    KillBroker,
    /// The broker is held.
    HoldBroker,
    /// Every connection breaks.
    CutNetwork,
    /// Messages come twice, late and out of order for a while.
    BadNetwork,
    /// A consumer of events is gone: everything is delivered to it again, from the first event.
    ForgetConsumer,
    /// Commands of long ago come again, when the broker does not know any more that it had them.
    OldCommands,
}

/// The durable consumers of events, by their names.
pub fn readers() -> Vec<&'static str> {
    SERVICES.iter().filter(|service| service.listens_to_events).map(|service| service.name).collect()
}

/// How often each happens, relative to the others.
pub(super) const CHANCES: [(Mishap, u32); 8] = [
    (Mishap::KillService, 30),
    (Mishap::HoldService, 15),
    (Mishap::KillBroker, 10),
    (Mishap::HoldBroker, 8),
    (Mishap::CutNetwork, 10),
    (Mishap::BadNetwork, 20),
    (Mishap::ForgetConsumer, 4),
    (Mishap::OldCommands, 6),
];

/// A mishap that changed nothing, and how that showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEffect {
    /// Which.
    pub mishap: Mishap,
    /// How it showed.
    pub why: String,
}

impl std::fmt::Display for NoEffect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the mishap {:?} had no effect: {}", self.mishap, self.why)
    }
}
