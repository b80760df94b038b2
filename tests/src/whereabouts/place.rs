//! The places in which something can be held up.

use std::fmt;
use std::time::Duration;

/// Where something is held up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nobody has written it down: the request is not answered, or was lost with its answer.
    Nowhere,
    /// Decided and committed, but the relay has not published it.
    Outbox {
        /// Whose outbox: "gateway".
        service: String,
        /// Number of the row.
        row: i64,
        /// Since it was committed.
        waiting: Duration,
    },
    /// In a stream; the consumer was not given it yet.
    Stream {
        /// "CMD_SCHEDULER".
        stream: String,
        /// Its place there.
        sequence: u64,
        /// Who is to take it.
        consumer: String,
        /// How many requests for messages the consumer has open: 0 = nobody asks.
        asking: usize,
    },
    /// The consumer was given it, and has neither taken nor acknowledged it.
    Delivered {
        /// "CMD_SCHEDULER".
        stream: String,
        /// Its place there.
        sequence: u64,
        /// Who is to take it.
        consumer: String,
        /// Attempts that were counted; 0 = it never failed there.
        attempts: i64,
        /// Why the last one failed, "" = not known.
        error: String,
    },
    /// Published and gone, though somebody who wants it has not taken it.
    Lost {
        /// "CMD_SCHEDULER".
        stream: String,
        /// Where it was.
        sequence: u64,
        /// Who did not take it, "" = not known.
        consumer: String,
        /// How that is known.
        why: String,
    },
    /// The consumer gave it up.
    Dead {
        /// Who could not take it.
        consumer: String,
        /// Why.
        reason: String,
    },
    /// Everything was taken, and somebody still does not know the newest.
    Behind {
        /// Who: "gateway".
        who: String,
        /// Whose state it has an old one of: "scheduler".
        whose: String,
        /// Revision that it knows; 0 = none.
        knows: u64,
        /// Revision that there is.
        there_is: u64,
    },
    /// The scheduler has no host for the instance.
    Unplaced {
        /// Why not.
        reason: String,
    },
    /// The host has its order and has not fulfilled it.
    Host {
        /// Which.
        host: String,
        /// Failed attempts.
        attempts: i64,
        /// What failed, "" = nothing did.
        failure: String,
    },
    /// Everybody has it: nothing is under way.
    Settled,
}

impl Place {
    /// The place without what differs from one message to the next, so that many late ones can be counted by it.
    pub fn in_short(&self) -> String {
        match self {
            Self::Nowhere => "written down by nobody".to_owned(),
            Self::Outbox { service, .. } => format!("in the outbox of {service}"),
            Self::Stream { stream, consumer, .. } => format!("in {stream}, not delivered to {consumer}"),
            Self::Delivered { stream, consumer, .. } => {
                format!("in {stream}, delivered, not acknowledged by {consumer}")
            }
            Self::Lost { stream, consumer, .. } => format!("LOST from {stream} to {consumer}"),
            Self::Dead { consumer, .. } => format!("a dead letter of {consumer}"),
            Self::Behind { who, whose, .. } => format!("{who} is behind what {whose} has"),
            Self::Unplaced { .. } => "without a host".to_owned(),
            Self::Host { host, .. } => format!("with host {host}"),
            Self::Settled => "settled by now".to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => write!(f, "is written down by nobody"),
            Self::Outbox { service, row, waiting } => write!(
                f,
                "is committed in the outbox of {service}, row {row}, not published, waiting {:.1} s",
                waiting.as_secs_f64()
            ),
            Self::Stream { stream, sequence, consumer, asking } => write!(
                f,
                "is published at {stream} {sequence}, not delivered to {consumer} (open requests for messages: {asking})"
            ),
            Self::Delivered { stream, sequence, consumer, attempts, error } => {
                write!(f, "is published at {stream} {sequence}, delivered, not acknowledged by {consumer}")?;
                if *attempts > 0 {
                    write!(f, ", attempts {attempts}, the last: {error}")?;
                }
                Ok(())
            }
            Self::Lost { stream, sequence, consumer, why } => {
                write!(f, "was published at {stream} {sequence} and is LOST to {consumer}: {why}")
            }
            Self::Dead { consumer, reason } => write!(f, "is a dead letter of {consumer}: {reason}"),
            Self::Behind { who, whose, knows, there_is } => write!(
                f,
                "no message is under way, and {who} knows revision {knows} of what {whose} has in revision {there_is}"
            ),
            Self::Unplaced { reason } => write!(f, "waits in the scheduler for a host: {reason}"),
            Self::Host { host, attempts, failure } => {
                write!(f, "is ordered from host {host}, which works on it; failed attempts: {attempts}")?;
                if failure.is_empty() { Ok(()) } else { write!(f, ", says {failure}") }
            }
            Self::Settled => write!(f, "is settled: nothing is under way"),
        }
    }
}
