//! Disks and the image cache on a real file system, with the real qemu-img.
#![allow(clippy::unwrap_used)]

use host_driver::adapters::{Disks, Fault, ImageCache, LocalDisks, PutAside};
use host_driver::domain::{
    Artifact, DiskFormat, DropReason, Files, QuarantineReason, Quarantined, RestartPolicy, Role, VmSpec,
};
use kernel::{Bytes, InstanceId, MilliVcpus, Timestamp};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

struct Place {
    folder: tempfile::TempDir,
    images: ImageCache,
    disks: LocalDisks,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}/datastore", folder.path().display());
        let images = ImageCache::open(&folder.path().join("data"), &url).unwrap();
        let disks = LocalDisks::open(&folder.path().join("data"), images.clone()).unwrap();
        Self { folder, images, disks }
    }

    /// Puts bytes into the datastore under `name`, which need not be their digest.
    fn offer_as(&self, name: &str, bytes: &[u8]) {
        let images = self.folder.path().join("datastore/images");
        std::fs::create_dir_all(&images).unwrap();
        std::fs::write(images.join(name), bytes).unwrap();
    }

    fn offer(&self, bytes: &[u8]) -> String {
        let sha256 = hex::encode(Sha256::digest(bytes));
        self.offer_as(&sha256, bytes);
        sha256
    }

    /// A disk image of 8 MiB in the datastore.
    fn base(&self, format: DiskFormat) -> Artifact {
        let made = self.folder.path().join("base");
        let run = Command::new("qemu-img")
            .args(["create", "-q", "-f", format.name()])
            .arg(&made)
            .arg("8M")
            .status();
        assert!(run.expect("qemu-img: install qemu-utils").success());
        let bytes = std::fs::read(&made).unwrap();
        let sha256 = self.offer(&bytes);
        Artifact {
            role: Role::Disk,
            sha256,
            size: Bytes(bytes.len() as u64),
            format,
            virtual_size: Bytes(8 * MIB),
        }
    }
}

fn spec(artifacts: Vec<Artifact>, disk: Bytes) -> VmSpec {
    VmSpec {
        instance: InstanceId::new(),
        tenant: "acme".into(),
        name: "web-1".into(),
        vcpus: MilliVcpus(1000),
        memory: Bytes(128 * MIB),
        disk,
        artifacts,
        kernel_cmdline: String::new(),
        guest_agent: false,
        hostname: "web-1".into(),
        ssh_authorized_keys: Vec::new(),
        user_data: None,
        restart_policy: RestartPolicy::Always,
        driver: None,
    }
}

fn info(path: &Path) -> serde_json::Value {
    let output = Command::new("qemu-img").args(["info", "--output=json"]).arg(path).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_disk_is_an_overlay_of_the_ordered_size() {
    for format in [DiskFormat::Raw, DiskFormat::Qcow2] {
        let place = Place::new();
        let spec = spec(vec![place.base(format)], Bytes(32 * MIB));
        place.disks.fetch(&spec).await.unwrap();
        place.disks.prepare(&spec, 4, Some(b"#!/bin/sh\n")).await.unwrap();
        assert_eq!(place.disks.observe(&spec).await, Ok(Files::Ready { generation: 4 }));
        let disk = info(&place.disks.paths(&spec).disk);
        assert_eq!((disk["virtual-size"].as_u64(), disk["format"].as_str()), (Some(32 * MIB), Some("qcow2")));
        assert_eq!(disk["backing-filename-format"].as_str(), Some(format.name()));
    }
}

#[tokio::test]
async fn a_disk_smaller_than_its_image_is_refused() {
    let place = Place::new();
    // the digest is right and the size is not said: qemu-img is asked
    let base = Artifact { virtual_size: Bytes(0), ..place.base(DiskFormat::Qcow2) };
    let spec = spec(vec![base], Bytes(4 * MIB));
    place.disks.fetch(&spec).await.unwrap();
    let Err(Fault::Permanent(refusal)) = place.disks.prepare(&spec, 1, None).await else { panic!("taken") };
    assert_eq!(refusal.code, "DISK_TOO_SMALL");
    assert_eq!(place.disks.observe(&spec).await, Ok(Files::Partial));
}

#[tokio::test]
async fn an_image_that_leans_on_another_file_is_refused() {
    let place = Place::new();
    let secret = place.folder.path().join("secret");
    std::fs::write(&secret, [1u8; 4096]).unwrap();
    let leaning = place.folder.path().join("leaning");
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .args([&secret, &leaning])
        .status();
    assert!(made.unwrap().success());
    let sha256 = place.offer(&std::fs::read(&leaning).unwrap());
    let base = Artifact {
        role: Role::Disk,
        sha256,
        size: Bytes(0),
        format: DiskFormat::Qcow2,
        virtual_size: Bytes(0),
    };
    let spec = spec(vec![base], Bytes(32 * MIB));
    place.disks.fetch(&spec).await.unwrap();
    let Err(Fault::Permanent(refusal)) = place.disks.prepare(&spec, 1, None).await else { panic!("taken") };
    assert_eq!(refusal.code, "IMAGE_HAS_BACKING_FILE");
}

#[tokio::test]
async fn work_that_was_cut_short_is_finished_and_data_are_kept() {
    let place = Place::new();
    let spec = spec(vec![place.base(DiskFormat::Raw)], Bytes(16 * MIB));
    place.disks.fetch(&spec).await.unwrap();
    place.disks.prepare(&spec, 1, None).await.unwrap();
    let paths = place.disks.paths(&spec);
    let written =
        Command::new("qemu-io").args(["-f", "qcow2", "-c", "write -P 7 0 4096"]).arg(&paths.disk).output();
    assert!(written.expect("qemu-io: install qemu-utils").status.success());
    let before = std::fs::read(&paths.disk).unwrap();
    let folder = paths.disk.parent().unwrap();
    std::fs::remove_file(folder.join("ready")).unwrap();
    std::fs::remove_file(&paths.seed).unwrap();
    std::fs::write(folder.join("disk.new"), b"half a disk").unwrap();
    assert_eq!(place.disks.observe(&spec).await, Ok(Files::Partial));
    place.disks.prepare(&spec, 1, None).await.unwrap();
    assert_eq!(place.disks.observe(&spec).await, Ok(Files::Ready { generation: 1 }));
    assert_eq!(std::fs::read(&paths.disk).unwrap(), before, "what the guest wrote is still there");
}

#[tokio::test]
async fn a_disk_that_is_lost_is_not_made_anew() {
    let place = Place::new();
    let spec = spec(vec![place.base(DiskFormat::Raw)], Bytes(16 * MIB));
    place.disks.fetch(&spec).await.unwrap();
    place.disks.prepare(&spec, 1, None).await.unwrap();
    let disk = place.disks.paths(&spec).disk;
    std::fs::remove_file(&disk).unwrap();
    assert_eq!(place.disks.observe(&spec).await, Ok(Files::Lost { generation: 1 }));
    let Err(Fault::Permanent(refusal)) = place.disks.prepare(&spec, 1, None).await else { panic!("made") };
    assert_eq!((refusal.code.as_str(), disk.exists()), ("DISK_LOST", false));
    place.disks.remove(spec.instance).await.unwrap();
    assert_eq!(place.disks.observe(&spec).await, Ok(Files::Missing));
}

/// A VM that ran, and its files put aside.
async fn put_aside(place: &Place) -> (VmSpec, Quarantined) {
    let spec = spec(vec![place.base(DiskFormat::Raw)], Bytes(16 * MIB));
    place.disks.fetch(&spec).await.unwrap();
    place.disks.prepare(&spec, 1, None).await.unwrap();
    assert_eq!(place.disks.note_run(spec.instance).await, Ok(true));
    let put = PutAside {
        instance: spec.instance,
        tenant: spec.tenant.clone(),
        name: spec.name.clone(),
        generation: 1,
        images: Vec::new(),
        reason: QuarantineReason::Deleted,
        at: Timestamp(1),
    };
    let item = place.disks.quarantine(&put).await.unwrap().expect("there were files");
    (spec, item)
}

#[tokio::test]
async fn giving_files_back_that_is_cut_short_is_done_again() {
    let place = Place::new();
    let (spec, item) = put_aside(&place).await;
    let instances = place.folder.path().join("data/instances");
    let away = place.folder.path().join("away");
    std::fs::rename(&instances, &away).unwrap();
    assert!(place.disks.take_back(item.id, spec.instance, 2).await.is_err(), "there is no place for them");
    assert_eq!(
        place.disks.quarantined().await.unwrap().items,
        std::slice::from_ref(&item),
        "they still say what they are"
    );
    std::fs::rename(&away, &instances).unwrap();
    assert!(place.disks.take_back(item.id, InstanceId::new(), 2).await.is_err(), "another's");
    place.disks.take_back(item.id, spec.instance, 2).await.unwrap();
    assert_eq!(place.disks.observe(&spec).await, Ok(Files::Ready { generation: 2 }));
    assert_eq!(place.disks.has_run(spec.instance).await, Ok(true));
}

#[tokio::test]
async fn what_does_not_say_what_it_is_is_not_gone_and_nobodys_to_remove() {
    let place = Place::new();
    let (spec, item) = put_aside(&place).await;
    let folder = place.folder.path().join("data/quarantine").join(item.id.to_string());
    let said = std::fs::read(folder.join("quarantine.json")).unwrap();
    for damaged in [&b""[..], b"{", &said[..said.len() / 2], b"\xff"] {
        std::fs::write(folder.join("quarantine.json"), damaged).unwrap();
        let found = place.disks.quarantined().await.unwrap();
        assert_eq!((found.items, found.unreadable), (vec![], vec![item.id]));
        assert!(place.disks.condemn(item.id, DropReason::Ordered).await.is_err());
        assert!(place.disks.drop_quarantined(item.id).await.is_err());
        assert!(place.disks.take_back(item.id, spec.instance, 2).await.is_err());
        assert!(folder.join("disk.qcow2").exists(), "nobody knows whose it is");
    }
    std::fs::write(folder.join("quarantine.json"), said).unwrap();
    assert_eq!(place.disks.quarantined().await.unwrap().items, std::slice::from_ref(&item));
    place.disks.condemn(item.id, DropReason::Ordered).await.unwrap();
    assert!(place.disks.take_back(item.id, spec.instance, 2).await.is_err(), "condemned");
    place.disks.drop_quarantined(item.id).await.unwrap();
    assert!(!folder.exists());
    // a removal may be cut short when everything has gone but the folder
    std::fs::create_dir(&folder).unwrap();
    let found = place.disks.quarantined().await.unwrap();
    assert!(found.items.is_empty() && found.unreadable.is_empty() && !folder.exists());
}

#[tokio::test]
async fn a_damaged_file_never_gets_its_name() {
    let place = Place::new();
    let claimed = "a".repeat(64);
    place.offer_as(&claimed, b"something else");
    let Err(Fault::Permanent(refusal)) = place.images.fetch(&claimed, Bytes(0)).await else {
        panic!("taken")
    };
    assert_eq!(refusal.code, "IMAGE_DIGEST_MISMATCH");
    let sha256 = place.offer(b"fourteen bytes");
    let Err(Fault::Permanent(refusal)) = place.images.fetch(&sha256, Bytes(15)).await else {
        panic!("taken")
    };
    assert_eq!(refusal.code, "IMAGE_SIZE_MISMATCH");
    let cache = std::fs::read_dir(place.folder.path().join("data/images")).unwrap();
    assert_eq!(cache.count(), 0);
    // what is not there yet may come
    assert!(matches!(place.images.fetch(&"b".repeat(64), Bytes(0)).await, Err(Fault::Failed(_))));
}

#[tokio::test]
async fn a_file_is_linked_not_copied_and_fetched_by_one_at_a_time() {
    let place = Place::new();
    let sha256 = place.offer(&vec![5; 3_000_000]);
    let fetches = (0..20).map(|_| place.images.fetch(&sha256, Bytes(3_000_000)));
    for fetched in futures::future::join_all(fetches).await {
        fetched.unwrap();
    }
    let original = place.folder.path().join("datastore/images").join(&sha256);
    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&place.images.path(&sha256)), inode(&original));
}

#[tokio::test]
async fn only_old_files_that_nothing_uses_are_evicted() {
    let place = Place::new();
    let (used, unused) = (place.offer(b"used"), place.offer(b"unused"));
    for sha256 in [&used, &unused] {
        place.images.fetch(sha256, Bytes(0)).await.unwrap();
    }
    let in_use = BTreeSet::from([used.clone()]);
    let changed = std::fs::metadata(place.images.path(&unused)).unwrap().ctime();
    let at = |seconds: i64| Timestamp((changed + seconds) * 1_000_000);
    assert_eq!(place.images.evict_except(&in_use, at(60)).await.unwrap(), 0, "brand-new");
    assert_eq!(place.images.evict_except(&in_use, at(3600)).await.unwrap(), 1);
    assert!(place.images.path(&used).exists() && !place.images.path(&unused).exists());

    // somebody looked which files orders name; an order for an old file came and found it; only then the files go
    let nobody = BTreeSet::new();
    place.images.fetch(&used, Bytes(0)).await.unwrap();
    assert_eq!(place.images.evict_except(&nobody, at(7200)).await.unwrap(), 0, "it was asked for since");
    assert!(place.images.path(&used).exists());
    assert_eq!(place.images.evict_except(&nobody, at(7200)).await.unwrap(), 1, "nobody named it again");
}
