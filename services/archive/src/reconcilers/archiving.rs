//! Carries the event stream into the archive, segment by segment. Each pass begins where the table ends, so that a
//! process that was killed at any line goes on without a gap and without anything twice.

use crate::adapters::key::Key;
use crate::adapters::seal::{self, Draft, Sealed};
use crate::adapters::vault::Vault;
use crate::domain::due::{Backlog, Due, SegmentLimits};
use crate::metrics::Metrics;
use crate::store::segments;
use crate::translate;
use anyhow::Context;
use bus::watch::{self, Cursor, Gap, Item, Query};
use bus::{Cause, Connection, Desk};
use contracts::archive::v1::{Segment, SegmentArchived};
use kernel::{PLATFORM, Timestamp};
use std::sync::Mutex;

/// What archives.
pub struct Archiving {
    /// Tables, clock and way out.
    pub(crate) desk: Desk,
    /// The stream.
    pub(crate) bus: Connection,
    /// Where segments go.
    pub(crate) vault: Vault,
    /// Signs them.
    pub(crate) key: Key,
    /// When they are sealed.
    pub(crate) limits: SegmentLimits,
    /// Numbers for operators.
    pub(crate) metrics: Metrics,
    /// Since when there are events that are not archived.
    pub(crate) waiting_since: Mutex<Option<Timestamp>>,
}

/// How many events of the stream no segment holds.
fn behind(newest: Option<&Segment>, extent: &watch::Extent) -> u64 {
    match newest {
        Some(segment) if segment.incarnation == extent.incarnation => {
            extent.last.saturating_sub(segment.last_sequence)
        }
        _ => extent.last,
    }
}

impl Archiving {
    /// The same with another place to write to.
    #[must_use]
    pub fn writing_to(self, vault: Vault) -> Self {
        Self { vault, ..self }
    }

    /// Archives what is due.
    pub async fn pass(&self) -> anyhow::Result<()> {
        // before the place of the archive is asked for anything: how far it is behind matters most while that is away
        let known = segments::newest(self.desk.store().reader()).await?;
        let extent = watch::extent(&self.bus).await?;
        self.metrics.lag(behind(known.as_ref(), &extent));
        self.tell_size().await?;
        let before = self.adopt().await?;
        let after = before.as_ref().map_or(0, |segment| segment.last_sequence);
        let same = before.as_ref().is_none_or(|segment| segment.incarnation == extent.incarnation);
        let events = behind(before.as_ref(), &extent);
        self.metrics.lag(events);
        let rolled_back = same && after > extent.last;
        let now = self.desk.clock().now();
        let backlog =
            Backlog { events, since: self.since(events > 0, now), another_stream: !same || rolled_back };
        let due = self.limits.due(backlog, now);
        if due != Due::Later {
            self.read(before, &extent, due).await?;
        }
        self.tell_size().await
    }

    async fn tell_size(&self) -> anyhow::Result<()> {
        let (segments, bytes) = segments::size(self.desk.store().reader()).await?;
        self.metrics.size(segments, bytes);
        Ok(())
    }

    fn since(&self, waiting: bool, now: Timestamp) -> Option<Timestamp> {
        let mut since = self.waiting_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *since = if waiting { Some(since.unwrap_or(now)) } else { None };
        *since
    }

    fn begin_to_wait_again(&self) {
        let mut since = self.waiting_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *since = None;
    }

    /// The newest segment. One that was written just before a crash and never entered is entered now; one that does not
    /// follow from the table is somebody else's, and nothing is written over it.
    async fn adopt(&self) -> anyhow::Result<Option<Segment>> {
        let mut newest = segments::newest(self.desk.store().reader()).await?;
        if let Some(Segment { number, .. }) = &newest
            && self.vault.head(*number).await?.is_none()
        {
            anyhow::bail!(
                "segment {number} was written and is not in the archive any more: is its disk mounted? Nothing is archived \
                 until it is back"
            );
        }
        loop {
            let number = newest.as_ref().map_or(1, |segment| segment.number + 1);
            let Some(head) = self.vault.head(number).await? else { return Ok(newest) };
            let segment = seal::checkpoint(&head, number, newest.as_ref(), &self.key.public()).context(
                "the archive holds a segment that this service did not write; give it a place of its own",
            )?;
            let file = self.vault.file(number).await?.unwrap_or_default();
            seal::open(&segment, &file).context("a segment that was written before a crash")?;
            tracing::info!(segment = number, "entering a segment that was written before");
            self.enter(&segment).await?;
            newest = Some(segment);
        }
    }

    async fn read(
        &self,
        mut before: Option<Segment>,
        extent: &watch::Extent,
        due: Due,
    ) -> anyhow::Result<()> {
        let mut draft = Draft::default();
        let mut at = before
            .as_ref()
            .map(|s| Cursor { incarnation: s.incarnation.clone(), after: s.last_sequence })
            .unwrap_or_else(|| Cursor { incarnation: extent.incarnation.clone(), after: 0 });
        if before.is_none() && extent.first > 1 {
            let reason = format!("events 1 to {} were gone before the archive began", extent.first - 1);
            at.after = extent.first - 1;
            draft.push(translate::gap(Gap::NotKept, &reason, at.after));
        }
        let mut items = watch::watch(self.bus.clone(), Query { cursor: at.clone(), ..Query::default() });
        while let Some(item) = items.recv().await {
            match item? {
                Item::Event { sequence, incarnation, envelope } => {
                    draft.push(translate::event(sequence, &envelope));
                    at = Cursor { incarnation, after: sequence };
                }
                Item::Gap { kind, reason, resync } => {
                    if resync.incarnation != at.incarnation && !draft.is_empty() {
                        // a segment is of one stream
                        before = Some(self.close(std::mem::take(&mut draft), before, &at).await?);
                    }
                    draft.push(translate::gap(kind, &reason, resync.after));
                    at = resync;
                }
            }
            if self.limits.full(draft.len(), draft.bytes()) {
                before = Some(self.close(std::mem::take(&mut draft), before, &at).await?);
            }
        }
        let worth = draft.entries().iter().any(|entry| !translate::own(entry));
        if due == Due::All && worth {
            self.close(draft, before, &at).await?;
        }
        self.begin_to_wait_again();
        Ok(())
    }

    async fn close(&self, draft: Draft, before: Option<Segment>, at: &Cursor) -> anyhow::Result<Segment> {
        let now = self.desk.clock().now().micros();
        let place = (at.incarnation.as_str(), at.after, now);
        let Sealed { segment, file, head } =
            seal::seal(&draft, before.as_ref(), place, translate::occurred_at, &self.key)?;
        self.vault.put(segment.number, file, head).await?;
        self.enter(&segment).await?;
        tracing::info!(
            segment = segment.number,
            entries = segment.entries,
            bytes = segment.bytes,
            "archived"
        );
        Ok(segment)
    }

    async fn enter(&self, segment: &Segment) -> anyhow::Result<()> {
        let mut work = self.desk.begin(Cause::own(crate::SERVICE.name)).await?;
        segments::put(work.tx(), segment).await?;
        let said = SegmentArchived { name: segment.number.to_string(), segment: Some(segment.clone()) };
        work.say_for(PLATFORM, &said);
        Ok(work.commit().await?)
    }
}
