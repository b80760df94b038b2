//! How much each stream takes before it says no.

use serde::Deserialize;

/// Limits of the streams. At its limit a stream refuses what is new; the publisher's outbox keeps it, says so, and
/// tries again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamLimits {
    /// Messages in the work queue of one service.
    pub queue_messages: i64,
    /// Bytes in the work queue of one service; -1 = no limit. The broker sets them aside: it has to have as much room.
    pub queue_bytes: i64,
    /// Bytes of the log of events; -1 = the broker's disk is the limit.
    pub events_bytes: i64,
    /// Bytes of what other systems sent and nobody took yet; -1 = no limit. The broker sets them aside.
    pub outside_bytes: i64,
    /// Bytes of dead letters; beyond it the oldest go. -1 = no limit.
    pub dead_bytes: i64,
    /// Bytes of short-lived samples, in memory; beyond it the oldest go.
    pub telemetry_bytes: i64,
    /// Bytes of one message; -1 = the broker's own limit.
    pub message_bytes: i32,
    /// Messages that may wait in the outbox of one service; beyond it the gateway takes no new work.
    pub outbox_waiting: i64,
    /// Days for which commands and dead letters stay in the outbox after they were published, 1 to 29: what a broker
    /// loses after that is not sent again. Events stay.
    pub outbox_keep_days: u32,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            queue_messages: 2_000_000,
            queue_bytes: 256 << 20,
            events_bytes: -1,
            outside_bytes: 64 << 20,
            dead_bytes: 256 << 20,
            telemetry_bytes: 64 << 20,
            message_bytes: 8 << 20,
            outbox_waiting: 100_000,
            outbox_keep_days: 29,
        }
    }
}
