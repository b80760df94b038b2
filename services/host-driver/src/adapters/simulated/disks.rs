//! Disks that exist only as a word in the simulated world.

use super::world::World;
use crate::adapters::disks::Disks;
use crate::adapters::fault::Fault;
use crate::domain::machine::Paths;
use crate::domain::{Files, Role, VmSpec};
use async_trait::async_trait;
use kernel::{Bytes, InstanceId, Timestamp};
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
            .operate("prepare_disks", |_, files| {
                files.insert(instance, Files::Ready { generation });
                Ok(())
            })
            .await
    }

    async fn quarantine(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.quarantine(instance).await
    }

    async fn remove(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0
            .operate("remove_files", |_, files| {
                files.remove(&instance);
                Ok(())
            })
            .await
    }

    async fn evict_except(&self, _in_use: &BTreeSet<String>, _now: Timestamp) -> Result<usize, Fault> {
        Ok(0)
    }

    async fn capacity(&self) -> Result<Bytes, Fault> {
        Ok(self.0.capacity().2)
    }
}
