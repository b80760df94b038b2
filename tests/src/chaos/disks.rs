//! The disks of simulated hosts that keep them as files: what lies where its VM has it, what was put aside, and whether
//! each guest's data are still somewhere.

use checker::DiskSeen;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a simulated guest writes behind the end of its disk when it runs for the first time; an id follows.
const MARK: &str = "written by the guest: ";
const ID: usize = 36;

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What the guest wrote to the disk in a folder; `None`: no disk, or no guest ever ran on it.
fn written(folder: &Path) -> Option<String> {
    let bytes = std::fs::read(folder.join("disk.qcow2")).ok()?;
    let end = bytes.get(bytes.len().checked_sub(MARK.len() + ID)?..)?;
    std::str::from_utf8(end).ok()?.strip_prefix(MARK).map(str::to_owned)
}

/// Every disk that lies where its VM has it, below the data folder of the host-driver.
pub fn in_place(data: &Path) -> Vec<DiskSeen> {
    let mut seen = Vec::new();
    for host in folders(&data.join("simulated")) {
        for instance in folders(&host.join("instances")) {
            if instance.join("disk.qcow2").exists() {
                seen.push(DiskSeen { host: name(&host), instance: name(&instance) });
            }
        }
    }
    seen
}

/// Guests whose data are nowhere any more: neither on their disk, nor in quarantine. `worlds` holds what each guest
/// wrote when it ran for the first time. How many guests there were comes first.
pub fn lost(data: &Path, worlds: &Path) -> (usize, Vec<String>) {
    let (mut guests, mut lost) = (0, Vec::new());
    for host in folders(&data.join("simulated")) {
        let world = std::fs::read(worlds.join(format!("{}.json", name(&host)))).expect("a kept host");
        let world: Value = serde_json::from_slice(&world).expect("a kept host");
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        for folder in folders(&host.join("instances")).into_iter().chain(folders(&host.join("quarantine"))) {
            if let Some(id) = written(&folder) {
                found.insert(id, folder);
            }
        }
        for (instance, id) in world["written"].as_object().into_iter().flatten() {
            guests += 1;
            if !id.as_str().is_some_and(|id| found.contains_key(id)) {
                lost.push(format!("{instance} on host {}", name(&host)));
            }
        }
    }
    (guests, lost)
}
