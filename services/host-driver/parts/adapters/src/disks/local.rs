//! Disks as files in a folder per VM: a qcow2 overlay on the cached image, and the seed.
//!
//! `<data>/instances/<id>/{disk.qcow2, seed.img, console.log, ready, unused}`. `ready` is written last and holds the
//! generation: without it everything in the folder is half-done and made again. `unused` lies there from the moment the
//! disk is made until a VM is about to run on it for the first time: a disk without it holds data of its owner.

use super::quarantine::QuarantineFolder;
use super::{Disks, InQuarantine, PutAside, Seed};
use crate::fault::Fault;
use crate::images::ImageCache;
use async_trait::async_trait;
use host_driver_domain::machine::Paths;
use host_driver_domain::plan::DISK_LOST;
use host_driver_domain::{Condition, DiskFormat, DropReason, Files, HostCause, Quarantined, Role, VmSpec};
use kernel::{Bytes, InstanceId, QuarantineId, Timestamp};
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) const READY: &str = "ready";
/// Lies beside a disk that no VM ever ran on. Without it, also in folders of versions that did not write it, one may have.
const UNUSED: &str = "unused";
const QEMU_IMG_LIMIT: Duration = Duration::from_secs(60);
/// With less room than this nothing can be made on a host, and guests begin to stand still.
const LEAST_ROOM: Bytes = Bytes(64 << 20);

/// The disks of one host.
pub struct LocalDisks {
    instances: PathBuf,
    quarantine: QuarantineFolder,
    images: ImageCache,
    blanks: Blanks,
}

impl LocalDisks {
    /// Disks below `data`, which is made when missing. QEMU's user must be able to walk there.
    pub fn open(data: &Path, images: ImageCache) -> std::io::Result<Self> {
        let disks = Self {
            instances: data.join("instances"),
            quarantine: QuarantineFolder::at(data.join("quarantine")),
            images,
            blanks: Blanks::default(),
        };
        for folder in [&disks.instances, disks.quarantine.path()] {
            std::fs::create_dir_all(folder)?;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))?;
        }
        Ok(disks)
    }

    fn folder(&self, instance: InstanceId) -> PathBuf {
        self.instances.join(instance.to_string())
    }

    fn image(&self, spec: &VmSpec, role: Role) -> Option<PathBuf> {
        spec.artifact(role).map(|a| self.images.path(&a.sha256))
    }

    /// Makes an empty overlay on the image, or an empty disk. Two of one size on one image are the same bytes: only the
    /// first costs two runs of qemu-img.
    async fn make_disk(&self, spec: &VmSpec, path: &Path) -> Result<(), Fault> {
        let kind = BlankKind {
            base: spec.artifact(Role::Disk).map(|base| (base.sha256.clone(), base.format)),
            size: spec.disk,
        };
        if let Some(bytes) = self.blanks.get(&kind) {
            return Ok(tokio::fs::write(path, bytes.as_slice()).await?);
        }
        self.make_disk_anew(spec, path).await?;
        if tokio::fs::metadata(path).await?.len() <= LARGEST_BLANK {
            self.blanks.put(kind, tokio::fs::read(path).await?);
        }
        Ok(())
    }

    async fn make_disk_anew(&self, spec: &VmSpec, path: &Path) -> Result<(), Fault> {
        let wanted = spec.disk;
        let mut arguments: Vec<OsString> = ["create", "-q", "-f", "qcow2"].map(OsString::from).to_vec();
        if let Some(base) = spec.artifact(Role::Disk) {
            let base_path = self.images.path(&base.sha256);
            let base_size = virtual_size(&base_path, base.format).await?;
            if wanted < base_size {
                return Err(Fault::permanent(
                    "DISK_TOO_SMALL",
                    format!("a disk of {wanted} was ordered, the image needs at least {base_size}"),
                ));
            }
            arguments.extend(["-F", base.format.name(), "-b"].map(OsString::from));
            arguments.push(base_path.into_os_string());
        }
        arguments.extend([path.as_os_str().to_owned(), wanted.0.to_string().into()]);
        qemu_img(&arguments).await.map(|_| ())
    }
}

/// An empty disk is this large at most; larger ones are made by qemu-img each time.
const LARGEST_BLANK: u64 = 4 << 20;
/// So many are remembered.
const BLANKS: usize = 16;

/// What makes two empty disks the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct BlankKind {
    base: Option<(String, DiskFormat)>,
    size: Bytes,
}

/// Empty disks as qemu-img made them.
#[derive(Default)]
struct Blanks(Mutex<HashMap<BlankKind, Arc<Vec<u8>>>>);

impl Blanks {
    fn known(&self) -> MutexGuard<'_, HashMap<BlankKind, Arc<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, kind: &BlankKind) -> Option<Arc<Vec<u8>>> {
        self.known().get(kind).cloned()
    }

    fn put(&self, kind: BlankKind, bytes: Vec<u8>) {
        let mut known = self.known();
        if known.len() >= BLANKS {
            known.clear();
        }
        known.insert(kind, Arc::new(bytes));
    }
}

#[async_trait]
impl Disks for LocalDisks {
    fn durable(&self) -> bool {
        true
    }

    fn paths(&self, spec: &VmSpec) -> Paths {
        let folder = self.folder(spec.instance);
        Paths {
            disk: folder.join("disk.qcow2"),
            seed: folder.join("seed.img"),
            kernel: self.image(spec, Role::Kernel),
            initramfs: self.image(spec, Role::Initramfs),
            console_log: folder.join("console.log"),
        }
    }

    async fn observe(&self, spec: &VmSpec) -> Result<Files, Fault> {
        let folder = self.folder(spec.instance);
        if !exists(&folder).await? {
            return Ok(Files::Missing);
        }
        let ready = match tokio::fs::read_to_string(folder.join(READY)).await {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Files::Partial),
            read => read?,
        };
        let Ok(generation) = ready.trim().parse() else { return Ok(Files::Partial) };
        let paths = self.paths(spec);
        if !exists(&paths.disk).await? {
            return Ok(Files::Lost { generation });
        }
        let needed = [Some(paths.seed), paths.kernel, paths.initramfs, self.image(spec, Role::Disk)];
        for path in needed.into_iter().flatten() {
            if !exists(&path).await? {
                return Ok(Files::Partial);
            }
        }
        Ok(Files::Ready { generation })
    }

    async fn fetch(&self, spec: &VmSpec) -> Result<(), Fault> {
        if spec.artifact(Role::Disk).is_none() && spec.artifact(Role::Kernel).is_none() {
            return Err(Fault::permanent(
                "NO_IMAGE",
                "the image has neither a disk nor a kernel: nothing to boot",
            ));
        }
        for artifact in &spec.artifacts {
            self.images.fetch(&artifact.sha256, artifact.size).await?;
        }
        Ok(())
    }

    async fn prepare(&self, spec: &VmSpec, generation: u64, user_data: Option<&[u8]>) -> Result<(), Fault> {
        let folder = self.folder(spec.instance);
        tokio::fs::create_dir_all(&folder).await?;
        tokio::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o711)).await?;
        let paths = self.paths(spec);
        let disk = async {
            // a disk that is there holds the guest's data: an unfinished one has another name
            if exists(&paths.disk).await? {
                return Ok(());
            }
            // `ready` was written after the disk had its name: without the disk, the guest's data are gone
            if exists(&folder.join(READY)).await? {
                return Err(Fault::permanent("DISK_LOST", DISK_LOST));
            }
            let unfinished = folder.join("disk.new");
            let _ = tokio::fs::remove_file(&unfinished).await;
            self.make_disk(spec, &unfinished).await?;
            // before the disk has its name: a disk without this file has been used
            tokio::fs::write(folder.join(UNUSED), b"").await?;
            Ok(keep(&unfinished, &paths.disk, 0o600).await?)
        };
        let seed = async {
            let seed = Seed {
                instance_id: spec.instance.to_string(),
                hostname: &spec.hostname,
                ssh_authorized_keys: &spec.ssh_authorized_keys,
                user_data,
            };
            Ok::<_, Fault>(write(&paths.seed, &seed.image()?, 0o600).await?)
        };
        // side by side: each waits for the disk of the host
        tokio::try_join!(disk, seed)?;
        // its bytes need no sync: lost, the disk under its name is kept and everything else is written again
        tokio::fs::write(folder.join(READY), format!("{generation}\n")).await?;
        tokio::try_join!(sync_folder(&folder), sync_folder(&self.instances))?;
        Ok(())
    }

    async fn holds(&self, instance: InstanceId) -> Result<bool, Fault> {
        Ok(exists(&self.folder(instance)).await?)
    }

    async fn has_run(&self, instance: InstanceId) -> Result<bool, Fault> {
        let folder = self.folder(instance);
        // half-made files have no disk under its name
        let made = exists(&folder.join("disk.qcow2")).await? || exists(&folder.join(READY)).await?;
        Ok(made && !exists(&folder.join(UNUSED)).await?)
    }

    async fn note_run(&self, instance: InstanceId) -> Result<bool, Fault> {
        let folder = self.folder(instance);
        match tokio::fs::remove_file(folder.join(UNUSED)).await {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            removed => {
                removed?;
                sync_folder(&folder).await?;
                Ok(true)
            }
        }
    }

    async fn forget_run(&self, instance: InstanceId) -> Result<(), Fault> {
        let folder = self.folder(instance);
        tokio::fs::write(folder.join(UNUSED), b"").await?;
        Ok(sync_folder(&folder).await?)
    }

    async fn quarantine(&self, put: &PutAside) -> Result<Option<Quarantined>, Fault> {
        self.quarantine.take(&self.folder(put.instance), put).await
    }

    async fn take_back(&self, id: QuarantineId, instance: InstanceId, generation: u64) -> Result<(), Fault> {
        self.quarantine.give_back(id, &self.folder(instance), generation).await
    }

    async fn quarantined(&self) -> Result<InQuarantine, Fault> {
        self.quarantine.all().await
    }

    async fn condemn(&self, id: QuarantineId, reason: DropReason) -> Result<(), Fault> {
        self.quarantine.condemn(id, reason).await
    }

    async fn drop_quarantined(&self, id: QuarantineId) -> Result<(), Fault> {
        self.quarantine.remove(id).await
    }

    async fn remove(&self, instance: InstanceId) -> Result<(), Fault> {
        let folder = self.folder(instance);
        // without `ready` a removal that is cut short leaves nothing that looks whole
        ignore_missing(tokio::fs::remove_file(folder.join(READY)).await)?;
        ignore_missing(tokio::fs::remove_dir_all(&folder).await)?;
        Ok(sync_folder(&self.instances).await?)
    }

    async fn evict_except(&self, in_use: &BTreeSet<String>, now: Timestamp) -> Result<usize, Fault> {
        Ok(self.images.evict_except(in_use, now).await?)
    }

    async fn conditions(&self) -> Vec<Condition> {
        let mut found: Vec<Condition> = self.images.condition().await.into_iter().collect();
        if let Ok((_, free)) = self.space().await
            && free < LEAST_ROOM
        {
            let message = format!("{free} are free on the file system of {}", self.instances.display());
            found.push(Condition { cause: HostCause::Storage, message });
        }
        found
    }

    async fn capacity(&self) -> Result<Bytes, Fault> {
        Ok(self.space().await?.0)
    }
}

impl LocalDisks {
    /// Size of the file system that the disks are on, and what of it is free.
    async fn space(&self) -> Result<(Bytes, Bytes), Fault> {
        let folder = self.instances.clone();
        let space = tokio::task::spawn_blocking(move || {
            let disks = sysinfo::Disks::new_with_refreshed_list().ok()?;
            // the file system with the longest mount point above the folder
            let holding = disks.iter().filter(|d| folder.starts_with(d.mount_point()));
            let holding = holding.max_by_key(|d| d.mount_point().as_os_str().len())?;
            Some((Bytes(holding.total_space()), Bytes(holding.available_space())))
        });
        match space.await {
            Ok(Some(space)) => Ok(space),
            _ => Err(Fault::Failed(format!(
                "cannot tell how large the file system of {} is",
                self.instances.display()
            ))),
        }
    }
}

pub(super) async fn exists(path: &Path) -> std::io::Result<bool> {
    tokio::fs::try_exists(path).await
}

pub(super) fn ignore_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Bytes the guest sees of a base image. A raw image says it by its length; qcow2 is asked for.
async fn virtual_size(path: &Path, format: DiskFormat) -> Result<Bytes, Fault> {
    let arguments = ["info", "-U", "--output=json", "-f", format.name()].map(OsStr::new);
    let output = qemu_img(&[&arguments[..], &[path.as_os_str()]].concat()).await?;
    let info: serde_json::Value =
        serde_json::from_slice(&output).map_err(|e| Fault::Failed(format!("qemu-img info: {e}")))?;
    if info.get("backing-filename").is_some() {
        return Err(Fault::permanent(
            "IMAGE_HAS_BACKING_FILE",
            "the image's disk refers to another file: it is not whole",
        ));
    }
    let size = info["virtual-size"]
        .as_u64()
        .ok_or_else(|| Fault::Failed("qemu-img info names no virtual size".into()))?;
    Ok(Bytes(size))
}

async fn qemu_img<A: AsRef<OsStr>>(arguments: &[A]) -> Result<Vec<u8>, Fault> {
    let run = tokio::process::Command::new("qemu-img").args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(QEMU_IMG_LIMIT, run)
        .await
        .map_err(|_| Fault::Failed(format!("qemu-img did not finish within {} s", QEMU_IMG_LIMIT.as_secs())))?
        .map_err(|e| {
            let message = format!("qemu-img does not run: {e}; install the package qemu-utils");
            Fault::host(HostCause::System, message)
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Fault::said(format!("qemu-img: {}", said.trim().chars().take(300).collect::<String>())))
}

/// Writes a file as a whole or not at all.
pub(super) async fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    tokio::fs::write(&unfinished, bytes).await?;
    keep(&unfinished, path, mode).await
}

/// Makes a finished file durable under its name.
async fn keep(unfinished: &Path, path: &Path, mode: u32) -> std::io::Result<()> {
    let file = tokio::fs::File::open(unfinished).await?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).await?;
    file.sync_all().await?;
    tokio::fs::rename(unfinished, path).await
}

pub(super) async fn sync_folder(folder: &Path) -> std::io::Result<()> {
    tokio::fs::File::open(folder).await?.sync_all().await
}
