//! Tables out of events: what an operator's rebuild feeds row by row, and what proves that the stream says everything.

use crate::store::{files, images, quotas, uses};
use crate::translate;
use async_trait::async_trait;
use bus::rebuild::{Rebuild, RebuildError};
use bus::{Envelope, Work};
use bytes::Bytes;
use contracts::scheduler::v1::{Instance, InstanceAccepted, InstanceDeleted};
use contracts::{Content, Snapshot, Told};
use kernel::{Message, Subject};
use sqlx::AnyConnection;

/// Tables that are a function of the events alone. The others hold work in hand and may start empty.
pub const STATE_TABLES: &[&str] = &["images", "image_files", "image_uses", "quotas"];

/// How the tables come out of the events.
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
        apply(work.tx(), &event.subject, &event.payload).await
    }
}

/// Applies one event of the stream to the tables; events that do not concern them are passed over. Events come in the
/// order of the stream; coming twice does no harm.
pub async fn apply(tx: &mut AnyConnection, subject: &Subject, payload: &[u8]) -> Result<(), RebuildError> {
    let wrong = |reason: String| RebuildError::Event { subject: subject.to_string(), reason };
    let told =
        Told::of(subject, &Bytes::copy_from_slice(payload)).map_err(|error| wrong(error.to_string()))?;
    match told.content {
        // an answer about an image that does not exist
        Content::Snapshot(Snapshot::Image(image)) if image.revision == 0 => Ok(()),
        Content::Snapshot(Snapshot::Image(image)) => {
            let image = translate::from_wire(*image).map_err(wrong)?;
            images::put(tx, &image).await?;
            Ok(files::follow(tx, &image).await?)
        }
        Content::Snapshot(Snapshot::Instance(instance)) => {
            // the two events between which it uses its image; what happens to it meanwhile changes nothing here
            let in_use = match subject.name.as_str() {
                InstanceAccepted::NAME => true,
                InstanceDeleted::NAME => false,
                _ => return Ok(()),
            };
            put_use(tx, *instance, in_use).await
        }
        Content::Mention(Snapshot::Instance(instance)) => put_use(tx, *instance, false).await,
        Content::Snapshot(Snapshot::Quota(quota)) => Ok(quotas::put(tx, &quota).await?),
        // other services' tables are made of them
        Content::Snapshot(_)
        | Content::Mention(_)
        | Content::Refused
        | Content::Forgotten(_)
        | Content::Other(_) => Ok(()),
    }
}

async fn put_use(tx: &mut AnyConnection, instance: Instance, in_use: bool) -> Result<(), RebuildError> {
    Ok(uses::put(tx, &instance_use(instance, in_use)).await?)
}

/// What an instance's snapshot says about its image.
pub fn instance_use(instance: Instance, in_use: bool) -> uses::Use {
    uses::Use {
        image_id: instance.spec.map(|spec| spec.image_id).unwrap_or_default(),
        instance_name: instance.name,
        in_use,
        revision: i64::try_from(instance.revision).unwrap_or(i64::MAX),
        instance_id: instance.id,
    }
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
            let taken = apply(&mut tx, &subject, b"\x0a\x00").await;
            assert!(taken.is_err(), "{subject}: {taken:?}");
        }
        drop(tx);
        database.remove().await;
    }
}
