//! What the owners would refuse, refused at once with the right code.

use super::Api;
use crate::domain::admission::{self, Verb};
use crate::store::{images, instances};
use crate::translate::admission as translate;
use contracts::scheduler::v1::Instance;
use contracts::storage::v1::{ArtifactSource, Image, artifact_source};
use gateway_api::domain::caller::Caller;
use gateway_api::store::{operations, uploads};
use gateway_api::translate::status;
use kernel::Refusal;
use tonic::{Code, Status};

fn taken(refusal: Refusal) -> Status {
    status::refused(Code::AlreadyExists, refusal, "name")
}

impl Api {
    /// Whether the instance can do what is wanted of it.
    pub(super) async fn check_verb(&self, verb: Verb, found: &Instance) -> Result<(), Status> {
        let Some(verdict) = admission::request(verb, &translate::seen(found)) else { return Ok(()) };
        if verdict.for_good || self.is_current(found).await? {
            return Err(status::refused(Code::FailedPrecondition, verdict.refusal, "instance"));
        }
        Ok(())
    }

    /// Whether the read model shows the instance as the newest request left it. When an older request is still on its
    /// way the state is about to change, and only the owner, who obeys in order, can judge.
    async fn is_current(&self, found: &Instance) -> Result<bool, Status> {
        let reader = self.desk.store().reader();
        let newest = operations::newest_unfinished(reader, &found.tenant, &found.id).await;
        let busy_with = found.operation.as_ref().map(|operation| operation.operation_id.as_str());
        Ok(newest.map_err(status::broken)?.is_none_or(|id| Some(id.as_str()) == busy_with))
    }

    /// Whether the name of a new instance is free.
    pub(super) async fn check_instance_name(&self, caller: &Caller, name: &str) -> Result<(), Status> {
        let holder = instances::holder_of_name(self.desk.store().reader(), &caller.tenant, name).await;
        match holder.map_err(status::broken)? {
            Some(holder) if self.is_current(&holder).await? => {
                Err(taken(admission::name_taken("instance", name, &holder.id)))
            }
            _ => Ok(()),
        }
    }

    /// Whether an instance with a disk of this size can boot from the image; `size_field` said how big it is.
    pub(super) fn check_boot(
        &self,
        image: &Image,
        name: &str,
        disk_bytes: u64,
        size_field: &str,
    ) -> Result<(), Status> {
        let phase = translate::image_phase(image);
        let verdict = admission::image(&image.name, phase, disk_bytes, image.min_disk_bytes);
        verdict.map_or(Ok(()), |verdict| Err(translate::image_refused(verdict, name, size_field)))
    }

    /// Whether the name of a new image is free and its uploads are there.
    pub(super) async fn check_import(
        &self,
        caller: &Caller,
        name: &str,
        sources: &[ArtifactSource],
    ) -> Result<(), Status> {
        let holder = images::holder_of_name(self.desk.store().reader(), &caller.tenant, name).await;
        if let Some(holder) = holder.map_err(status::broken)? {
            return Err(taken(admission::name_taken("image", name, &holder)));
        }
        for (index, source) in sources.iter().enumerate() {
            let Some(artifact_source::Source::UploadId(id)) = &source.source else { continue };
            let reader = self.desk.store().reader();
            let own = uploads::is_of(reader, id, &caller.tenant).await.map_err(status::broken)?;
            if !own || !self.staging.holds(id).await.map_err(status::broken)? {
                return Err(status::upload_unknown(id, &format!("sources[{index}].upload_id")));
            }
        }
        Ok(())
    }

    /// Whether no instance of the tenant boots from the image.
    pub(super) async fn check_unused(&self, image: &Image) -> Result<(), Status> {
        let limit = i64::try_from(admission::USERS_NAMED + 1).unwrap_or(i64::MAX);
        let users =
            instances::names_on_image(self.desk.store().reader(), &image.tenant, &image.id, limit).await;
        match admission::image_in_use(&users.map_err(status::broken)?) {
            Some(refusal) => Err(status::refused(Code::FailedPrecondition, refusal, "image")),
            None => Ok(()),
        }
    }
}
