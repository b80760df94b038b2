//! From names to objects, through the read model, within the caller's tenant.

use super::Api;
use crate::domain::public_keys;
use crate::store::{hosts, images, instances};
use contracts::Object as _;
use contracts::scheduler::v1::{Host, Instance, InstancePhase, SshKey};
use contracts::storage::v1::Image;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::names;
use gateway_api::store::operations;
use gateway_api::translate::status;
use kernel::{InstanceId, Refusal};
use prost::Message as _;
use std::time::Duration;
use tonic::{Code, Status};

/// How long an object that was just accepted may take to show in the read model.
const OWN_WRITES: Duration = Duration::from_secs(3);

impl Api {
    /// An instance by name or id, deleted ones by id only.
    pub(super) async fn instance(&self, caller: &Caller, name: &str) -> Result<Instance, Status> {
        names::reference("instance", name).map_err(status::invalid)?;
        let missing = || status::not_found("instance", "instance", name);
        let find = || instances::find(self.desk.store().reader(), &caller.tenant, name);
        if let Some(found) = find().await.map_err(status::broken)? {
            return Ok(found);
        }
        if name.parse::<InstanceId>().is_err() {
            return Err(missing());
        }
        // whoever was just told this id may use it at once: the scheduler's word of it is on its way
        let end = tokio::time::Instant::now() + OWN_WRITES;
        let mut listener = self.wakeups.listen();
        while self.is_being_created(caller, name).await? && tokio::time::Instant::now() < end {
            let _ = tokio::time::timeout_at(end, listener.changed(name)).await;
            if let Some(found) = find().await.map_err(status::broken)? {
                return Ok(found);
            }
        }
        find().await.map_err(status::broken)?.ok_or_else(missing)
    }

    async fn is_being_created(&self, caller: &Caller, id: &str) -> Result<bool, Status> {
        let reader = self.desk.store().reader();
        let found = operations::unfinished(reader, &caller.tenant, "CreateInstance", id).await;
        Ok(found.map_err(status::broken)?.is_some())
    }

    /// An instance that is not deleted.
    pub(super) async fn living_instance(&self, caller: &Caller, name: &str) -> Result<Instance, Status> {
        let found = self.instance(caller, name).await?;
        if found.phase == InstancePhase::Deleted as i32 {
            return Err(status::not_found("instance", "instance", name));
        }
        Ok(found)
    }

    /// An image by name or id.
    pub(super) async fn image(&self, caller: &Caller, name: &str) -> Result<Image, Status> {
        names::reference("image", name).map_err(status::invalid)?;
        let found =
            images::find(self.desk.store().reader(), &caller.tenant, name).await.map_err(status::broken)?;
        found.ok_or_else(|| status::not_found("image", "image", name))
    }

    /// Public keys of which some are called by the names under which the tenant keeps them: all as keys.
    pub(super) async fn public_keys(
        &self,
        caller: &Caller,
        keys: Vec<String>,
    ) -> Result<Vec<String>, Status> {
        public_keys::count("ssh_authorized_keys", &keys).map_err(status::invalid)?;
        let mut lines = Vec::with_capacity(keys.len());
        for (index, key) in keys.into_iter().enumerate() {
            // a key has blanks, a name has none
            if kernel::format::name(&key).is_err() {
                lines.push(key);
                continue;
            }
            let found = objects::find(self.desk.store().reader(), SshKey::KIND, &caller.tenant, &key).await;
            let found = found.map_err(status::broken)?.filter(|found| !found.gone);
            let missing = || status::not_found("ssh key", &format!("ssh_authorized_keys[{index}]"), &key);
            let kept = SshKey::decode(found.ok_or_else(missing)?.snapshot.as_slice());
            lines.push(kept.map_err(status::broken)?.public_key);
        }
        Ok(lines)
    }

    /// A host by name or id.
    pub(super) async fn host(&self, name: &str) -> Result<Host, Status> {
        names::reference("host", name).map_err(status::invalid)?;
        let found = hosts::find(self.desk.store().reader(), name).await.map_err(status::broken)?;
        found.ok_or_else(|| status::not_found("host", "host", name))
    }

    /// The host on which an instance runs now; a refusal when it does not run.
    pub(super) async fn host_of(&self, found: &Instance) -> Result<Host, Status> {
        let runs =
            matches!(InstancePhase::try_from(found.phase), Ok(InstancePhase::Running | InstancePhase::Ready));
        if !runs || found.host_id.is_empty() {
            let phase = InstancePhase::try_from(found.phase).map_or("unknown", |p| p.as_str_name());
            let phase = phase.trim_start_matches("INSTANCE_PHASE_").to_lowercase();
            let refusal =
                Refusal::new("INSTANCE_NOT_RUNNING", format!("{} is not running, it is {phase}", found.name));
            return Err(status::refused(Code::FailedPrecondition, refusal, "instance"));
        }
        let host = hosts::find(self.desk.store().reader(), &found.host_id).await.map_err(status::broken)?;
        // which host it is, is not for everybody who may use the instance
        let unknown = || {
            let text = format!("the host of {} has not shown itself yet; try again", found.name);
            Refusal::new("HOST_UNKNOWN", text)
        };
        host.filter(|h| !h.agent_id.is_empty())
            .ok_or_else(|| status::refused(Code::Unavailable, unknown(), ""))
    }
}
