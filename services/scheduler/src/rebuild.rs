//! The scheduler's tables from the events: the same rows, written by the same functions that wrote them first.

use crate::domain::lifecycle;
use crate::handlers::advance;
use crate::store::{decisions, hosts, images, instances, quotas};
use crate::translate::{host, instance};
use async_trait::async_trait;
use bus::rebuild::{Rebuild, RebuildError};
use bus::{Envelope, Failure, Work};
use contracts::gateway::v1 as gateway;
use contracts::scheduler::v1 as said;
use contracts::storage::v1 as storage;
use kernel::Message;
use sqlx::AnyConnection;

/// The tables that a replay of the events must bring about again, row by row.
pub const STATE_TABLES: &[&str] = &["hosts", "instances", "images", "decisions", "quotas"];

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
        let folded = fold(work.tx(), &event.subject.service, &event.subject.name, &event.payload).await;
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
/// row changes nothing. `service` and `name` are those of the event's subject. Answers whether the event is one of
/// those the tables are made of.
pub async fn fold(tx: &mut AnyConnection, service: &str, name: &str, bytes: &[u8]) -> Result<bool, Failure> {
    match (service, name) {
        ("scheduler", "InstanceAccepted") => event::<said::InstanceAccepted>(bytes)?.instance.fold(tx).await,
        ("scheduler", "InstancePlaced") => event::<said::InstancePlaced>(bytes)?.instance.fold(tx).await,
        ("scheduler", "InstanceStarted") => event::<said::InstanceStarted>(bytes)?.instance.fold(tx).await,
        ("scheduler", "InstanceReady") => event::<said::InstanceReady>(bytes)?.instance.fold(tx).await,
        ("scheduler", "InstanceChanged") => event::<said::InstanceChanged>(bytes)?.instance.fold(tx).await,
        ("scheduler", "InstanceStopped") => event::<said::InstanceStopped>(bytes)?.instance.fold(tx).await,
        ("scheduler", "InstancePaused") => event::<said::InstancePaused>(bytes)?.instance.fold(tx).await,
        ("scheduler", "InstanceFailed") => event::<said::InstanceFailed>(bytes)?.instance.fold(tx).await,
        ("scheduler", "InstanceDeleted") => event::<said::InstanceDeleted>(bytes)?.instance.fold(tx).await,
        ("scheduler", "HostRegistered") => event::<said::HostRegistered>(bytes)?.host.fold(tx).await,
        ("scheduler", "HostChanged") => event::<said::HostChanged>(bytes)?.host.fold(tx).await,
        ("scheduler", "PlacementDecided") => event::<said::PlacementDecided>(bytes)?.decision.fold(tx).await,
        ("storage", "ImageImportStarted") => {
            event::<storage::ImageImportStarted>(bytes)?.image.fold(tx).await
        }
        ("storage", "ImageImported") => event::<storage::ImageImported>(bytes)?.image.fold(tx).await,
        ("storage", "ImageRejected") => event::<storage::ImageRejected>(bytes)?.image.fold(tx).await,
        ("storage", "ImageKept") => event::<storage::ImageKept>(bytes)?.image.fold(tx).await,
        ("storage", "ImageDeletionStarted") => {
            event::<storage::ImageDeletionStarted>(bytes)?.image.fold(tx).await
        }
        ("storage", "ImageDeleted") => event::<storage::ImageDeleted>(bytes)?.image.fold(tx).await,
        ("gateway", "TenantQuotaSet") => event::<gateway::TenantQuotaSet>(bytes)?.quota.fold(tx).await,
        _ => Ok(false),
    }
}

fn event<M: Message>(bytes: &[u8]) -> Result<M, Failure> {
    M::from_bytes(bytes).map_err(|error| Failure::Poison(format!("not a {}: {error}", M::NAME)))
}

/// A snapshot that becomes a row.
trait Fold {
    async fn fold(self, tx: &mut AnyConnection) -> Result<bool, Failure>;
}

impl<T: Fold> Fold for Option<T> {
    async fn fold(self, tx: &mut AnyConnection) -> Result<bool, Failure> {
        self.ok_or_else(|| Failure::Poison("the event carries no snapshot".to_owned()))?.fold(tx).await
    }
}

impl Fold for said::Instance {
    async fn fold(self, tx: &mut AnyConnection) -> Result<bool, Failure> {
        instances::restore(tx, &instance::instance(self)?).await?;
        Ok(true)
    }
}

impl Fold for said::Host {
    async fn fold(self, tx: &mut AnyConnection) -> Result<bool, Failure> {
        hosts::restore(tx, &host::host(self)?).await?;
        Ok(true)
    }
}

impl Fold for said::PlacementDecision {
    async fn fold(self, tx: &mut AnyConnection) -> Result<bool, Failure> {
        decisions::keep(tx, &self).await?;
        Ok(true)
    }
}

impl Fold for storage::Image {
    async fn fold(self, tx: &mut AnyConnection) -> Result<bool, Failure> {
        images::restore(tx, &self).await?;
        Ok(true)
    }
}

impl Fold for gateway::Quota {
    async fn fold(self, tx: &mut AnyConnection) -> Result<bool, Failure> {
        quotas::restore(tx, &self).await?;
        Ok(true)
    }
}
