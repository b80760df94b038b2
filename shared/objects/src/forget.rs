//! What is gone for long is not kept for ever: its owner says so, and whoever has rows of it removes them.

use crate::owned::Kind;
use crate::store;
use bus::{Cause, Desk};
use contracts::{Forgotten, Object, OwnObject};
use kernel::PLATFORM;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use sqlx::AnyConnection;
use std::time::Duration;

/// Rows that go in one transaction, at least when no more went in the same microsecond.
const BATCH: i64 = 1_000;

/// Forgets what is gone for long.
#[derive(Clone)]
pub struct Forgetting {
    desk: Desk,
    keep: Duration,
    forgotten: Counter<u64>,
}

impl Forgetting {
    /// Keeps objects for so long after they went.
    pub fn new(desk: Desk, keep: Duration, meter: &Meter) -> Self {
        let forgotten = meter
            .u64_counter("berth_objects_forgotten")
            .with_description(
                "Objects that were gone for long and of which nothing is kept any more, by kind.",
            )
            .build();
        Self { desk, keep, forgotten }
    }

    /// Forgets those of a kind, all that are due.
    pub async fn pass<K: Kind>(&self) -> anyhow::Result<()> {
        while self.batch::<K>(BATCH).await? {}
        Ok(())
    }

    /// Forgets at least so many, if so many are due. Answers whether there are more.
    async fn batch<K: Kind>(&self, most: i64) -> anyhow::Result<bool> {
        let kind = K::Object::KIND;
        let keep_us = i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX);
        let due = self.desk.clock().now().micros().saturating_sub(keep_us);
        let gone = store::gone_before(self.desk.store().reader(), kind, due, most).await?;
        let Some(last) = gone.last() else { return Ok(false) };
        let more = i64::try_from(gone.len()).is_ok_and(|count| count == most);
        let before_us = if more { last + 1 } else { due };
        let mut work = self.desk.begin(Cause::own(self.desk.service()).for_tenant(PLATFORM)).await?;
        forget(work.tx(), &Forgotten { kind: kind.name.to_owned(), gone_before_us: before_us }).await?;
        work.say(&K::Object::forgotten(before_us));
        work.commit().await?;
        self.forgotten.add(gone.len() as u64, &[KeyValue::new("kind", kind.name)]);
        tracing::info!(
            kind = kind.name,
            objects = gone.len(),
            "objects that were gone for long are forgotten"
        );
        Ok(more)
    }
}

/// Removes what is not kept any more, and remembers that it is not: what is heard of it later writes no row.
pub async fn forget(tx: &mut AnyConnection, forgotten: &Forgotten) -> Result<(), sqlx::Error> {
    store::forget(tx, &forgotten.kind, forgotten.gone_before_us).await
}
