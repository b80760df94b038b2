//! `ImportImage`: check the request, keep it, and let the reconciler fetch the files.

use crate::Wakes;
use crate::domain::image::Phase;
use crate::domain::lifecycle;
use crate::store::{images, quotas, work as attempts};
use crate::translate::{self, ImportLimits};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::storage::v1::ImportImage;
use kernel::quota::{Amounts, Quota, judge};
use store::Store;

/// Obeys `ImportImage`.
pub struct ImportImageHandler {
    /// Of this service.
    pub store: Store,
    /// What a request may ask for.
    pub limits: ImportLimits,
    /// Woken when there is something to fetch.
    pub wakes: Wakes,
}

#[async_trait]
impl Handle<ImportImage> for ImportImageHandler {
    async fn handle(&self, work: &mut Work, message: ImportImage) -> Result<(), Failure> {
        let (request, mut verdict) = translate::request(message, self.limits).map_err(Failure::Poison)?;
        if let Some(seen) = images::load(work.tx(), request.id).await? {
            // the same request under another message id
            return match seen.tenant == request.tenant && seen.name == request.name {
                true => Ok(()),
                false => Err(Failure::Poison(format!("image {} exists already", seen.id))),
            };
        }
        self.store.lock(work.tx(), &format!("storage.name.{}.{}", request.tenant, request.name)).await?;
        if verdict.is_ok() && images::name_is_taken(work.tx(), &request.tenant, &request.name).await? {
            verdict = Err(lifecycle::name_taken(&request.name));
        }
        if verdict.is_ok() {
            let limits = quotas::lock(work.tx(), self.store.dialect(), &request.tenant).await?;
            if limits.of(Quota::Images).is_some() {
                let used = quotas::used(work.tx(), &request.tenant).await?;
                let one_more = Amounts::default().with(Quota::Images, 1);
                verdict = judge(&limits, &used, &one_more).map_err(|excess| excess.refusal);
            }
        }
        let (image, said) = lifecycle::begin(request, verdict, work.now());
        images::insert(work.tx(), &image).await?;
        if image.phase == Phase::Importing {
            let cause = work.cause().clone();
            attempts::begin(work.tx(), image.id, &cause).await?;
            let wake = self.wakes.imports.clone();
            work.after_commit(move || wake.notify_one());
        }
        translate::say(work, &image, said);
        Ok(())
    }
}
