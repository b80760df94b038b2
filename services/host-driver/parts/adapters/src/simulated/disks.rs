//! Disks that exist only as a word in the simulated world.

use super::world::World;
use crate::disks::{Disks, InQuarantine, PutAside};
use crate::fault::Fault;
use async_trait::async_trait;
use host_driver_domain::machine::Paths;
use host_driver_domain::{Condition, DropReason, Files, HostCause, Quarantined, Role, VmSpec};
use kernel::{Bytes, InstanceId, QuarantineId, Timestamp};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The disks of a simulated host.
pub struct SimulatedDisks(pub Arc<World>);

#[async_trait]
impl Disks for SimulatedDisks {
    fn durable(&self) -> bool {
        // a host in memory is empty at each start, and everything on it is made again
        self.0.is_kept()
    }

    fn paths(&self, spec: &VmSpec) -> Paths {
        let folder = PathBuf::from("/simulated").join(spec.instance.to_string());
        let image = |role| spec.artifact(role).map(|a| PathBuf::from("/simulated/images").join(&a.sha256));
        Paths {
            disk: folder.join("disk.qcow2"),
            seed: folder.join("seed.img"),
            kernel: image(Role::Kernel),
            initramfs: image(Role::Initramfs),
            console_log: folder.join("console.log"),
        }
    }

    async fn observe(&self, spec: &VmSpec) -> Result<Files, Fault> {
        let instance = spec.instance;
        self.0
            .operate("observe_files", |_, files| Ok(files.get(&instance).copied().unwrap_or(Files::Missing)))
            .await
    }

    async fn fetch(&self, spec: &VmSpec) -> Result<(), Fault> {
        if spec.artifact(Role::Disk).is_none() && spec.artifact(Role::Kernel).is_none() {
            return Err(Fault::permanent(
                "NO_IMAGE",
                "the image has neither a disk nor a kernel: nothing to boot",
            ));
        }
        self.0.operate("fetch_image", |_, _| Ok(())).await
    }

    async fn prepare(&self, spec: &VmSpec, generation: u64, _user_data: Option<&[u8]>) -> Result<(), Fault> {
        let base = spec.artifact(Role::Disk).map_or(Bytes(0), |a| a.virtual_size);
        if spec.disk < base {
            return Err(Fault::permanent(
                "DISK_TOO_SMALL",
                format!("a disk of {} was ordered, the image needs at least {base}", spec.disk),
            ));
        }
        let instance = spec.instance;
        self.0
            .operate_on("prepare_disks", |state| {
                // a disk that is there is kept, as it was used or not
                if state.disks.files.insert(instance, Files::Ready { generation }).is_none() {
                    state.disks.ran.remove(&instance);
                }
                Ok(())
            })
            .await
    }

    async fn holds(&self, instance: InstanceId) -> Result<bool, Fault> {
        self.0.operate_on("holds", |state| Ok(state.disks.files.contains_key(&instance))).await
    }

    async fn has_run(&self, instance: InstanceId) -> Result<bool, Fault> {
        self.0.operate_on("has_run", |state| Ok(state.disks.ran.contains(&instance))).await
    }

    async fn note_run(&self, instance: InstanceId) -> Result<bool, Fault> {
        self.0.operate_on("note_run", |state| Ok(state.disks.ran.insert(instance))).await
    }

    async fn forget_run(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0
            .operate_on("forget_run", |state| {
                state.disks.ran.remove(&instance);
                Ok(())
            })
            .await
    }

    async fn quarantine(&self, put: &PutAside) -> Result<Option<Quarantined>, Fault> {
        self.0
            .operate_on("quarantine", |state| {
                let Some(files) = state.disks.files.remove(&put.instance) else { return Ok(None) };
                let made_for = match files {
                    Files::Ready { generation } | Files::Lost { generation } => Some(generation),
                    Files::Missing | Files::Partial => None,
                };
                state.disks.ran.remove(&put.instance);
                let item = put.item(QuarantineId::new(), made_for, Bytes(1 << 20));
                state.disks.quarantine.push(item.clone());
                Ok(Some(item))
            })
            .await
    }

    async fn take_back(&self, id: QuarantineId, instance: InstanceId, generation: u64) -> Result<(), Fault> {
        self.0
            .operate_on("take_back", |state| {
                let disks = &mut state.disks;
                let held = disks
                    .quarantine
                    .iter()
                    .position(|item| item.id == id && item.instance == instance && item.dropping.is_none());
                let Some(at) = held else {
                    let message = format!("this host holds no files in quarantine under {id}");
                    return Err(Fault::permanent("QUARANTINE_GONE", message));
                };
                if disks.files.contains_key(&instance) {
                    return Err(Fault::Failed("the VM has files: they are put aside first".into()));
                }
                disks.quarantine.remove(at);
                disks.files.insert(instance, Files::Ready { generation });
                disks.ran.insert(instance);
                Ok(())
            })
            .await
    }

    async fn quarantined(&self) -> Result<InQuarantine, Fault> {
        let items = self.0.operate_on("quarantined", |state| Ok(state.disks.quarantine.clone())).await?;
        Ok(InQuarantine { items, unreadable: Vec::new() })
    }

    async fn condemn(&self, id: QuarantineId, reason: DropReason) -> Result<(), Fault> {
        self.0
            .operate_on("condemn", |state| {
                let item = state.disks.quarantine.iter_mut().find(|item| item.id == id);
                item.ok_or(Fault::NotFound)?.dropping = Some(reason);
                Ok(())
            })
            .await
    }

    async fn drop_quarantined(&self, id: QuarantineId) -> Result<(), Fault> {
        self.0
            .operate_on("drop_quarantined", |state| {
                state.disks.quarantine.retain(|item| item.id != id || item.dropping.is_none());
                Ok(())
            })
            .await
    }

    async fn remove(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0
            .operate_on("remove_files", |state| {
                state.disks.files.remove(&instance);
                state.disks.ran.remove(&instance);
                Ok(())
            })
            .await
    }

    async fn conditions(&self) -> Vec<Condition> {
        self.0.conditions().into_iter().filter(|found| found.cause == HostCause::Storage).collect()
    }

    async fn evict_except(&self, _in_use: &BTreeSet<String>, _now: Timestamp) -> Result<usize, Fault> {
        Ok(0)
    }

    async fn capacity(&self) -> Result<Bytes, Fault> {
        Ok(self.0.capacity().2)
    }
}
