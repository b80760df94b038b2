//! The archive's table out of what it said.

use crate::store::segments;
use async_trait::async_trait;
use bus::rebuild::{Rebuild, RebuildError};
use bus::{Envelope, Work};
use contracts::archive::v1::SegmentArchived;
use kernel::Message;

/// How the table comes out of the events.
pub struct Tables;

#[async_trait]
impl Rebuild for Tables {
    fn service(&self) -> &'static str {
        crate::SERVICE.name
    }

    fn tables(&self) -> &'static [&'static str] {
        &["segments"]
    }

    async fn apply(&self, work: &mut Work, event: &Envelope) -> Result<(), RebuildError> {
        if event.subject.service != crate::SERVICE.name || event.subject.name != SegmentArchived::NAME {
            return Ok(());
        }
        let said = SegmentArchived::from_bytes(&event.payload)
            .map_err(|error| RebuildError::event(event, error.to_string()))?;
        let segment =
            said.segment.ok_or_else(|| RebuildError::event(event, "a segment that says nothing"))?;
        Ok(segments::put(work.tx(), &segment).await?)
    }
}
