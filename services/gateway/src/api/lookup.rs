//! From names to objects, through the read model, within the caller's tenant.

use super::Api;
use crate::store::{hosts, images, instances};
use async_trait::async_trait;
use contracts::scheduler::v1::{Host, Instance, InstancePhase, SshKey};
use contracts::storage::v1::Image;
use contracts::{Object, ObjectKind};
use gateway_api::api::lookup::OwnTables;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::public_keys;
use gateway_api::domain::violation::Violation;
use gateway_api::translate::status;
use kernel::public_keys::authorized_keys;
use kernel::{ObjectId, PLATFORM, Refusal};
use objects::Found;
use prost::Message as _;
use tonic::{Code, Status};

impl Api {
    /// An instance by name or id, deleted ones by id only.
    pub(super) async fn instance(&self, caller: &Caller, name: &str) -> Result<Instance, Status> {
        let (db, tenant) = (self.desk.store().reader(), caller.tenant.as_str());
        let look = || instances::find(db, tenant, name);
        self.lookup.there(Instance::KIND, tenant, ("instance", name), look).await
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
        let (db, tenant) = (self.desk.store().reader(), caller.tenant.as_str());
        self.lookup.there(Image::KIND, tenant, ("image", name), || images::find(db, tenant, name)).await
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
            // a key has blanks, a name or an id has none
            if kernel::names::name(&key).is_err() && key.parse::<ObjectId>().is_err() {
                let several = key.trim().contains('\n');
                match authorized_keys(&key) {
                    Ok(keys) => lines.extend(keys.into_iter().map(str::to_owned)),
                    Err(why) if several => {
                        let at = format!("ssh_authorized_keys[{index}]");
                        return Err(status::invalid(Violation::new(at, why)));
                    }
                    // said with the other fields of the request
                    Err(_) => lines.push(key),
                }
                continue;
            }
            let at = format!("ssh_authorized_keys[{index}]");
            let kept = self.lookup.find(SshKey::KIND, &caller.tenant, (&at, &key)).await?;
            if kept.gone {
                return Err(status::not_found("ssh key", &at, &key));
            }
            let kept = SshKey::decode(kept.snapshot.as_slice()).map_err(status::broken)?;
            lines.push(kept.public_key);
        }
        Ok(lines)
    }

    /// A host by name or id.
    pub(super) async fn host(&self, name: &str) -> Result<Host, Status> {
        let db = self.desk.store().reader();
        self.lookup.there(Host::KIND, PLATFORM, ("host", name), || hosts::find(db, name)).await
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

/// The tables that instances, images and hosts have of their own.
pub struct Tables;

#[async_trait]
impl OwnTables for Tables {
    async fn find(
        &self,
        db: &sqlx::AnyPool,
        kind: &ObjectKind,
        tenant: &str,
        name_or_id: &str,
    ) -> Result<Option<Found>, sqlx::Error> {
        Ok(match kind {
            kind if kind == Instance::KIND => instances::find(db, tenant, name_or_id).await?.map(as_found),
            kind if kind == Image::KIND => images::find(db, tenant, name_or_id).await?.map(as_found),
            kind if kind == Host::KIND => hosts::find(db, name_or_id).await?.map(as_found),
            _ => None,
        })
    }
}

fn as_found<O: Object>(object: O) -> Found {
    Found {
        id: object.id().to_owned(),
        name: object.name().to_owned(),
        revision: object.revision(),
        created_at_us: object.created_at_us(),
        gone: object.gone_at_us() > 0,
        snapshot: object.encode_to_vec(),
    }
}
