//! Places at which a process may die, by name, so that tests can make it die at each of them.
//!
//! In a release build there is nothing here: a point is an empty function.

/// Every step between receiving a message and having acknowledged what it led to. A new step gets a new name, and the
/// test that goes through all names covers it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::EnumIter,
    strum::EnumString,
    strum::Display,
)]
pub enum FailPoint {
    /// A batch was taken from the consumer.
    Received,
    /// The attempt at a message that was delivered before is counted and committed.
    AttemptCounted,
    /// A batch's messages are in the inbox, nothing is committed.
    BatchClaimed,
    /// One message is in the inbox, nothing is committed.
    Claimed,
    /// The handler has written its rows, nothing is committed.
    Handled,
    /// What the work says is in the outbox, nothing is committed.
    OutboxWritten,
    /// Everything is committed, nobody was told.
    Committed,
    /// The first acknowledgement of a batch is sent.
    Acknowledged,
    /// The relay has read what waits.
    OutboxRead,
    /// A batch is sent to the stream, not yet committed there.
    BatchSent,
    /// Single messages are sent, no acknowledgement was read.
    Sent,
    /// The stream has everything, nothing is marked.
    Published,
    /// The marks are written, not committed.
    MarkWritten,
    /// The marks are committed.
    Marked,
    /// A stream lacks what it had acknowledged; nothing is written down.
    LossNoticed,
    /// Lost rows wait again, and the event that says so.
    RefillWritten,
    /// The streams were asked what they are; nothing is compared.
    StreamsSeen,
    /// Rows that are in the stream though nobody marked them are marked, not committed.
    Adopted,
    /// The audit has found holes; nothing is written down.
    HolesNoticed,
    /// The whole stream is compared; it is not written down.
    Audited,
    /// Old rows are removed, not committed.
    Pruned,
    /// A command queue is about to be cleared of what was obeyed.
    Swept,
}

impl FailPoint {
    /// The process is at this point. It goes on, unless a test wants it to end here.
    #[inline]
    pub async fn reached(self) {
        #[cfg(debug_assertions)]
        debug::reached(self).await;
    }
}

#[cfg(debug_assertions)]
pub use debug::on_reached;

#[cfg(debug_assertions)]
mod debug {
    use super::FailPoint;
    use std::sync::{Arc, OnceLock, PoisonError, RwLock};

    type Hook = Arc<dyn Fn(FailPoint) -> bool + Send + Sync>;
    static HOOK: RwLock<Option<Hook>> = RwLock::new(None);

    /// Asks `hook` at every point; "true" stops the task there for ever, as if the process had ended: whoever set the
    /// hook drops the tasks then.
    pub fn on_reached(hook: impl Fn(FailPoint) -> bool + Send + Sync + 'static) {
        *HOOK.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    pub(super) async fn reached(point: FailPoint) {
        if named() == Some(point) {
            // as with kill -9: nothing is flushed, no destructor runs
            std::process::abort();
        }
        let hook = HOOK.read().unwrap_or_else(PoisonError::into_inner).clone();
        if hook.is_some_and(|hook| hook(point)) {
            std::future::pending::<()>().await;
        }
    }

    /// `BERTH_FAIL_POINT=Committed`: the process ends the first time it gets there.
    fn named() -> Option<FailPoint> {
        static NAMED: OnceLock<Option<FailPoint>> = OnceLock::new();
        *NAMED.get_or_init(|| std::env::var("BERTH_FAIL_POINT").ok()?.parse().ok())
    }
}
