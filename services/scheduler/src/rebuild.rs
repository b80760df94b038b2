//! The scheduler's tables from the events: the same rows, written by the same functions that wrote them first.

use crate::domain::lifecycle;
use crate::handlers::advance;
use crate::store::{decisions, hosts, images, instances, quotas};
use crate::translate::{host, instance};
use async_trait::async_trait;
use bus::rebuild::{Rebuild, RebuildError};
use bus::{Envelope, Failure, Work};
use bytes::Bytes;
use contracts::{Content, Snapshot, Statement, Told};
use kernel::Subject;
use sqlx::AnyConnection;

/// The tables that a replay of the events must bring about again, row by row.
pub const STATE_TABLES: &[&str] =
    &["hosts", "instances", "images", "decisions", "quotas", "objects", "object_terms", "objects_forgotten"];

/// How the scheduler's tables come out of the events.
pub struct Tables;

#[async_trait]
impl Rebuild for Tables {
    fn service(&self) -> &'static str {
        crate::SERVICE.name
    }

    fn tables(&self) -> &'static [&'static str] {
        STATE_TABLES
    }

    async fn apply(&self, work: &mut Work, event: &Envelope) -> Result<(), RebuildError> {
        let folded = fold(work.tx(), &event.subject, &event.payload).await;
        folded.map(|_| ()).map_err(|failure| RebuildError::failed(event, failure))
    }

    /// Every host is told its orders again: what was decided is in the events, what was sent may never have left. A host
    /// that has an order already passes over it.
    async fn finish(&self, work: &mut Work) -> Result<(), RebuildError> {
        let failed =
            |failure: Failure| RebuildError::Stream(format!("telling hosts their orders: {failure}"));
        for (host, _) in hosts::states(work.tx()).await.map_err(failed)? {
            let host = host.parse().map_err(|e| RebuildError::Stream(format!("host {host}: {e}")))?;
            for instance in instances::on_host(work, host).await.map_err(failed)? {
                if let Some(intent) = lifecycle::intent(&instance) {
                    advance::tell_by_table(work, &instance, intent).await.map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

/// Takes one event into the tables. Events may come twice and out of order: a snapshot that is not newer than the
/// row changes nothing. Answers whether the event is one of those the tables are made of.
pub async fn fold(tx: &mut AnyConnection, subject: &Subject, payload: &Bytes) -> Result<bool, Failure> {
    let told = Told::of(subject, payload).map_err(|error| Failure::Poison(error.to_string()))?;
    match told.content {
        Content::Snapshot(Snapshot::Instance(it)) => instances::restore(tx, &instance::instance(*it)?).await,
        Content::Snapshot(Snapshot::Host(it)) => hosts::restore(tx, &host::host(*it)?).await,
        Content::Snapshot(Snapshot::Image(it)) => images::restore(tx, &it).await,
        Content::Snapshot(Snapshot::Quota(it)) => quotas::restore(tx, &it).await,
        Content::Snapshot(it @ Snapshot::SshKey(_)) => {
            objects::restore(tx, &it, &told.bytes).await.map_err(Failure::from)
        }
        Content::Other(Statement::PlacementDecided(event)) => {
            let decision =
                event.decision.ok_or_else(|| Failure::Poison("decision: is missing".to_owned()))?;
            decisions::keep(tx, &decision).await.map(|()| true)
        }
        Content::Forgotten(forgotten) => {
            objects::forget(tx, &forgotten).await.map(|()| true).map_err(Failure::from)
        }
        // other services' tables are made of them
        Content::Snapshot(_) | Content::Mention(_) | Content::Refused | Content::Other(_) => {
            return Ok(false);
        }
    }?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Database, unknown_events};

    /// Were it passed over, the tables would lack what it says, and nobody would know.
    #[tokio::test]
    async fn an_event_nobody_knows_is_an_error() {
        let database = Database::sqlite(crate::MIGRATIONS).await;
        let mut tx = database.store.begin().await.expect("tx");
        for subject in unknown_events() {
            // as every event of an object: nothing but the object
            let taken = fold(&mut tx, &subject, &Bytes::from_static(b"\x0a\x00")).await;
            assert!(taken.is_err(), "{subject}: {taken:?}");
        }
        drop(tx);
        database.remove().await;
    }
}
