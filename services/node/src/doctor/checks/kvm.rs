//! Whether guests run on the processor itself: found out by booting a kernel.

use super::{Check, no_node};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use host_driver::adapters::libvirt::{KvmAnswer, ask_kvm};

/// See the module.
pub struct Kvm;

#[async_trait]
impl Check for Kvm {
    fn name(&self) -> &'static str {
        "kvm"
    }

    fn about(&self) -> &'static str {
        "KVM boots a kernel; without it guests are emulated and slow"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let Some(node) = &ground.node else { return vec![no_node()] };
        if !ground.has_real_guests() {
            return vec![Finding::skipped("this node pretends its hosts")];
        }
        vec![judge(ask_kvm(&node.data_dir.join("host")).await)]
    }
}

fn judge(answer: KvmAnswer) -> Finding {
    match answer {
        KvmAnswer::Works(why) => Finding::ok(why),
        KvmAnswer::Unproven(why) => Finding::skipped(why),
        KvmAnswer::Missing(why) => Finding::warning(
            format!("guests are emulated: /dev/kvm: {why}"),
            "switch on virtualization (VT-x, AMD-V) in the firmware, load kvm_intel or kvm_amd, and let this user open /dev/kvm (group kvm); in a virtual machine switch on nested virtualization",
        ),
        KvmAnswer::Broken(why) => Finding::warning(
            format!("guests are emulated: /dev/kvm opens, but a kernel does not boot: {why}"),
            "nested virtualization of this machine's own host is broken or off; use bare metal, or remove kvm-probe.json in host/ of the data folder after it was mended",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;
    use crate::settings::NodeDriver;

    #[tokio::test]
    async fn a_kernel_that_does_not_boot_is_told_from_a_missing_device() {
        let folder = tempfile::tempdir().expect("folder");
        let mut ground = node_in(folder.path());
        assert_eq!(Kvm.look(&ground).await[0].state, State::Skipped, "hosts are pretended");
        ground.node.as_mut().expect("node").host.driver = NodeDriver::Libvirt;
        // what the probe of an earlier start found out is kept for this kernel of the host
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("linux");
        let kept = serde_json::json!({"host_kernel": kernel.trim(), "works": false, "why": "the kernel hung for 8 s"});
        std::fs::create_dir(folder.path().join("host")).expect("folder");
        std::fs::write(folder.path().join("host/kvm-probe.json"), kept.to_string()).expect("written");
        let there = std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
        let says = if there { "the kernel hung for 8 s" } else { "/dev/kvm: " };
        finds(&Kvm.look(&ground).await, State::Warning, says, "nested virtualization");
    }

    #[test]
    fn what_is_not_proven_is_not_called_well() {
        assert_eq!(judge(KvmAnswer::Works("a kernel booted".into())).state, State::Ok);
        assert_eq!(judge(KvmAnswer::Unproven("no kernel to try".into())).state, State::Skipped);
    }
}
