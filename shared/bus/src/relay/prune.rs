//! Removing what nobody will ask for again.

use super::Relay;
use crate::fail::FailPoint;
use crate::watchdog::Pulse;
use crate::{inbox, outbox};
use kernel::Timestamp;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long handled messages are remembered. A command older than that is never sent again, whatever the broker lost:
/// nobody would know any more that it was obeyed.
pub(super) const INBOX_KEEP: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 3600;
pub(super) const EVERY: Duration = Duration::from_secs(3600);
/// Rows removed in one transaction.
const AT_ONCE: i64 = 10_000;

impl Relay {
    pub(super) async fn pruning(&self, stop: &CancellationToken, pulse: &Pulse) {
        loop {
            pulse.rests();
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(self.prune_every) => {} }
            pulse.works(|_| "removing old rows of inbox and outbox".to_owned());
            match self.prune(pulse).await {
                Ok(()) => self.report.part("pruning").well("old rows are removed"),
                Err(error) => {
                    tracing::warn!(service = self.desk.service(), %error, "inbox and outbox not pruned");
                    let detail = format!("old rows are not removed: {error}");
                    self.report.part("pruning").unwell(crate::Trouble::of_store(&error), detail);
                }
            }
        }
    }

    /// Removes what nobody will ask for again: see [`INBOX_KEEP`] and `StreamLimits::outbox_keep_days`.
    async fn prune(&self, pulse: &Pulse) -> Result<(), store::StoreError> {
        let now = self.desk.clock().now().micros();
        let before = |age: Duration| Timestamp(now - age.as_micros() as i64);
        let days = u64::from(self.connection.limits().outbox_keep_days.clamp(1, 29));
        let (handled, sent) = (before(INBOX_KEEP), before(Duration::from_secs(days * DAY)));
        loop {
            let mut tx = self.desk.store().begin().await?;
            let of_inbox = inbox::prune(&mut tx, handled, AT_ONCE).await?;
            let of_outbox = outbox::prune(&mut tx, sent, AT_ONCE).await?;
            FailPoint::Pruned.reached().await;
            tx.commit().await?;
            pulse.beats();
            if of_inbox.max(of_outbox) < AT_ONCE as u64 {
                return Ok(());
            }
        }
    }
}
