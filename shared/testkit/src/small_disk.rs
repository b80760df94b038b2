//! A disk of a few mebibytes, so that a test can fill it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory, mounted on a folder until the value is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `size` bytes on `folder`, which is made if it is missing.
    ///
    /// # Panics
    /// When this user may not mount.
    pub fn mount(folder: &Path, size: u64) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "berth-test"])
            .arg(folder)
            .status()
            .expect("mount runs");
        assert!(
            mounted.success(),
            "cannot mount a small disk on {}: run this test as root",
            folder.display()
        );
        Self { folder: folder.to_owned() }
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Writes until there is no room.
    pub fn fill(&self) {
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(self.filler()).expect("a file");
        for size in [64 << 10, 4 << 10, 512, 1] {
            let bytes = vec![0; size];
            while file.write_all(&bytes).is_ok() {}
        }
    }

    /// Gives the room back.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily: what is still open there goes with its process
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
