//! Whether KVM really works here: found out by booting a kernel.
//!
//! Under nested virtualization /dev/kvm may open, even create VMs, and yet every guest hangs or aborts. A kernel without
//! a root file system proves it in seconds: it boots, finds nothing to mount, panics and (panic=-1, -no-reboot) ends QEMU.
//! The answer is kept in `<data>/kvm-probe.json`, for this kernel of the host.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(8);
/// What a kernel that came to the end of its boot writes.
const PROOF: &str = "Kernel panic";

/// What the operator says about acceleration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acceleration {
    /// Find out.
    #[default]
    Auto,
    /// Use KVM without asking.
    Kvm,
    /// Never use KVM.
    Tcg,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    host_kernel: String,
    works: bool,
    why: String,
}

/// Finds out once whether KVM works.
pub struct KvmProbe {
    kept_in: PathBuf,
    known: tokio::sync::Mutex<Option<bool>>,
    said_unproven: AtomicBool,
}

impl KvmProbe {
    /// A probe that keeps its answer below `data`.
    pub fn new(data: &Path) -> Self {
        Self {
            kept_in: data.join("kvm-probe.json"),
            known: tokio::sync::Mutex::new(None),
            said_unproven: AtomicBool::new(false),
        }
    }

    /// What was found out about this host's kernel, and why: `None` = nothing yet.
    pub async fn kept(&self) -> Option<(bool, String)> {
        let text = tokio::fs::read(&self.kept_in).await.ok()?;
        let kept = serde_json::from_slice::<Kept>(&text).ok()?;
        (kept.host_kernel == read("/proc/sys/kernel/osrelease").await).then_some((kept.works, kept.why))
    }

    /// KVM works. Asks once; later calls know. `kernel` is tried when the host has none of its own; without any kernel the
    /// answer is no, and the next call with one asks again.
    pub async fn works(&self, kernel: Option<&Path>) -> bool {
        let mut known = self.known.lock().await;
        if let Some(works) = *known {
            return works;
        }
        let host_kernel = read("/proc/sys/kernel/osrelease").await;
        if let Ok(text) = tokio::fs::read(&self.kept_in).await
            && let Ok(kept) = serde_json::from_slice::<Kept>(&text)
            && kept.host_kernel == host_kernel
        {
            *known = Some(kept.works);
            return kept.works;
        }
        if let Err(error) = tokio::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").await {
            tracing::info!(%error, "no kvm on this host, guests are emulated");
            *known = Some(false);
            return false;
        }
        let own = PathBuf::from(format!("/boot/vmlinuz-{host_kernel}"));
        let own_is_there = tokio::fs::try_exists(&own).await.unwrap_or(false);
        let Some(kernel) = own_is_there.then_some(own.as_path()).or(kernel) else {
            // asked again with every look at a VM
            if !self.said_unproven.swap(true, Ordering::Relaxed) {
                tracing::info!("kvm is there and unproven: no kernel to try yet, guests are emulated");
            }
            return false;
        };
        let tried = boot(kernel).await;
        let (works, why) = match tried {
            Ok(()) => (true, "a kernel booted".to_owned()),
            Err(why) => (false, why),
        };
        tracing::info!(works, %why, "tried kvm with a kernel");
        let kept = Kept { host_kernel, works, why };
        if let Ok(text) = serde_json::to_vec_pretty(&kept)
            && let Err(error) = tokio::fs::write(&self.kept_in, text).await
        {
            tracing::warn!(%error, "the answer of the kvm probe is not kept, it will be asked again");
        }
        *known = Some(works);
        works
    }
}

async fn read(path: &str) -> String {
    tokio::fs::read_to_string(path).await.unwrap_or_default().trim().to_owned()
}

/// Boots `kernel` under KVM. The error says how far it came.
async fn boot(kernel: &Path) -> Result<(), String> {
    let mut command = Command::new(format!("qemu-system-{}", std::env::consts::ARCH));
    command
        .args([
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-machine",
            "q35",
            "-m",
            "128",
            "-nodefaults",
            "-display",
            "none",
        ])
        .args(["-no-reboot", "-serial", "stdio", "-append", "console=ttyS0 panic=-1", "-kernel"])
        .arg(kernel)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(LIMIT, command.output()).await {
        Err(_) => return Err(format!("the kernel hung for {} s", LIMIT.as_secs())),
        Ok(Err(error)) => return Err(format!("qemu does not run: {error}")),
        Ok(Ok(output)) => output,
    };
    if String::from_utf8_lossy(&output.stdout).contains(PROOF) {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect();
    Err(format!("qemu ended with {} before the kernel was up: {said}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kept_answer_is_used_only_for_the_same_kernel() {
        let data = tempfile::tempdir().expect("a folder");
        let write = |host_kernel: &str| {
            let kept = Kept { host_kernel: host_kernel.to_owned(), works: true, why: String::new() };
            std::fs::write(data.path().join("kvm-probe.json"), serde_json::to_vec(&kept).expect("json"))
                .expect("written");
        };
        write(&read("/proc/sys/kernel/osrelease").await);
        assert!(KvmProbe::new(data.path()).works(None).await);
        write("0.0.1-other");
        let nothing_to_boot = Path::new("/nonexistent/vmlinuz");
        assert!(!KvmProbe::new(data.path()).works(Some(nothing_to_boot)).await || own_kernel_exists().await);
    }

    async fn own_kernel_exists() -> bool {
        Path::new(&format!("/boot/vmlinuz-{}", read("/proc/sys/kernel/osrelease").await)).exists()
    }
}
