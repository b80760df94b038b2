//! One file per message.

mod delete_image;
mod import_image;
mod instance_accepted;
mod instance_deleted;
mod instance_refused;
mod tenant_quota_set;

pub use delete_image::DeleteImageHandler;
pub use import_image::ImportImageHandler;
pub use instance_accepted::InstanceAcceptedHandler;
pub use instance_deleted::InstanceDeletedHandler;
pub use instance_refused::InstanceRefusedHandler;
pub use tenant_quota_set::TenantQuotaSetHandler;

use crate::rebuild;
use bus::{Failure, Work};
use contracts::scheduler::v1::Instance;

/// Takes note of an instance's use of its image.
async fn note_use(work: &mut Work, instance: Option<Instance>, in_use: bool) -> Result<(), Failure> {
    let instance = instance.ok_or_else(|| Failure::Poison("an event without an instance".to_owned()))?;
    Ok(crate::store::uses::put(work.tx(), &rebuild::instance_use(instance, in_use)).await?)
}
