//! Tables out of events: what an operator's rebuild feeds row by row, and what proves that the stream says everything.

use crate::store::{files, images, quotas, uses};
use crate::translate;
use async_trait::async_trait;
use bus::rebuild::{Rebuild, RebuildError};
use bus::{Envelope, Work};
use contracts::gateway::v1 as gateway;
use contracts::scheduler::v1 as scheduler;
use contracts::storage::v1 as wire;
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
    let image = match (subject.service.as_str(), subject.name.as_str()) {
        ("storage", "ImageImportStarted") => wire::ImageImportStarted::from_bytes(payload).map(|e| e.image),
        ("storage", "ImageImported") => wire::ImageImported::from_bytes(payload).map(|e| e.image),
        ("storage", "ImageRejected") => wire::ImageRejected::from_bytes(payload).map(|e| e.image),
        ("storage", "ImageKept") => wire::ImageKept::from_bytes(payload).map(|e| e.image),
        ("storage", "ImageDeletionStarted") => {
            wire::ImageDeletionStarted::from_bytes(payload).map(|e| e.image)
        }
        ("storage", "ImageDeleted") => wire::ImageDeleted::from_bytes(payload).map(|e| e.image),
        ("scheduler", name) => {
            let instance = match name {
                "InstanceAccepted" => {
                    scheduler::InstanceAccepted::from_bytes(payload).map(|e| (e.instance, true))
                }
                "InstanceRefused" => {
                    scheduler::InstanceRefused::from_bytes(payload).map(|e| (e.instance, false))
                }
                "InstanceDeleted" => {
                    scheduler::InstanceDeleted::from_bytes(payload).map(|e| (e.instance, false))
                }
                _ => return Ok(()),
            };
            let it = instance.and_then(|(instance, in_use)| instance_use(instance, in_use)).map_err(wrong)?;
            return Ok(uses::put(tx, &it).await?);
        }
        ("gateway", "TenantQuotaSet") => {
            let quota = gateway::TenantQuotaSet::from_bytes(payload).map(|event| event.quota);
            let quota =
                quota.and_then(|quota| quota.ok_or("an event without a quota".into())).map_err(wrong)?;
            return Ok(quotas::put(tx, &quota).await?);
        }
        _ => return Ok(()),
    };
    let image = image.and_then(|image| image.ok_or("an event without an image".into())).map_err(wrong)?;
    // an answer about an image that does not exist
    if image.revision == 0 {
        return Ok(());
    }
    let image = translate::from_wire(image).map_err(wrong)?;
    images::put(tx, &image).await?;
    Ok(files::follow(tx, &image).await?)
}

/// What an instance's snapshot says about its image.
pub fn instance_use(instance: Option<scheduler::Instance>, in_use: bool) -> Result<uses::Use, String> {
    let instance = instance.ok_or("an event without an instance")?;
    Ok(uses::Use {
        image_id: instance.spec.map(|spec| spec.image_id).unwrap_or_default(),
        instance_name: instance.name,
        in_use,
        revision: i64::try_from(instance.revision).unwrap_or(i64::MAX),
        instance_id: instance.id,
    })
}
