//! The seam to whatever runs VMs. libvirt and the simulation stand behind it; others follow.

use super::fault::Fault;
use async_trait::async_trait;
use bytes::Bytes;
use host_driver_domain::{Condition, Domain, DriverKind, Machine};
use kernel::limits::EXEC_OUTPUT;
use kernel::{Bytes as Size, InstanceId, MilliVcpus};
use std::time::Duration;
use tokio::sync::mpsc;

/// What a driver on this host can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Which driver.
    pub driver: DriverKind,
    /// "QEMU 7.2.22, libvirt 9.0.0".
    pub version: String,
    /// "kvm", "tcg" or "none".
    pub acceleration: String,
    /// It boots a kernel given by path.
    pub direct_kernel_boot: bool,
    /// It boots from the first disk.
    pub disk_boot: bool,
    /// It reaches an agent in the guest.
    pub guest_agent: bool,
    /// It gives access to the serial console.
    pub console: bool,
    /// It can hold a guest's CPUs.
    pub pause: bool,
    /// Guests have addresses it can tell.
    pub addresses: bool,
}

/// What a host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// CPUs.
    pub vcpus: MilliVcpus,
    /// Memory, all of it.
    pub memory: Size,
    /// GPUs that the driver can give to a VM.
    pub gpus: u32,
    /// Their model; "" without any.
    pub gpu_model: String,
}

/// A program to run in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecCall {
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
    /// What the program reads.
    pub stdin: Vec<u8>,
    /// It is killed after this time.
    pub timeout: Duration,
}

/// What came of a program in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Its exit code; 128 + signal when a signal ended it.
    pub exit_code: i32,
    /// At most [`EXEC_OUTPUT`].
    pub stdout: Vec<u8>,
    /// At most [`EXEC_OUTPUT`].
    pub stderr: Vec<u8>,
    /// More was written than is kept.
    pub truncated: bool,
}

impl ExecOutcome {
    /// An outcome with the outputs cut to size.
    pub fn capped(exit_code: i32, mut stdout: Vec<u8>, mut stderr: Vec<u8>, truncated: bool) -> Self {
        let limit = EXEC_OUTPUT.length();
        let truncated = truncated || stdout.len() > limit || stderr.len() > limit;
        stdout.truncate(limit);
        stderr.truncate(limit);
        Self { exit_code, stdout, stderr, truncated }
    }
}

/// Both directions of a serial console.
#[derive(Debug)]
pub struct Console {
    /// What is typed. Dropping it closes the console.
    pub sender: mpsc::Sender<Bytes>,
    /// What the guest writes. Ends when the guest does.
    pub receiver: mpsc::Receiver<Bytes>,
}

/// Runs VMs. Every operation is idempotent: what is already so stays so and is no fault.
///
/// Operations on one VM are never called concurrently; on different VMs they are.
#[async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// What it can do here. May take as long as a probe takes, the first time.
    async fn capabilities(&self) -> Result<Capabilities, Fault>;
    /// What the host has.
    async fn capacity(&self) -> Result<Capacity, Fault>;
    /// What keeps all VMs of the host from being run, as it is now.
    async fn conditions(&self) -> Result<Vec<Condition>, Fault>;

    /// The fingerprint that [`Hypervisor::define`] would write down for this machine.
    async fn fingerprint(&self, machine: &Machine) -> Result<String, Fault>;
    /// Makes the VM known, or replaces what is known of it. Refuses when the name belongs to somebody else.
    async fn define(&self, machine: &Machine) -> Result<(), Fault>;
    /// Forgets a VM that does not run.
    async fn undefine(&self, instance: InstanceId) -> Result<(), Fault>;

    /// Begins to run it.
    async fn start(&self, instance: InstanceId) -> Result<(), Fault>;
    /// Asks the guest to shut down; returns at once.
    async fn shutdown(&self, instance: InstanceId) -> Result<(), Fault>;
    /// Takes its power.
    async fn destroy(&self, instance: InstanceId) -> Result<(), Fault>;
    /// Asks the guest to reboot; returns at once.
    async fn reboot(&self, instance: InstanceId) -> Result<(), Fault>;
    /// Reboots it without asking.
    async fn reset(&self, instance: InstanceId) -> Result<(), Fault>;
    /// Holds its CPUs.
    async fn pause(&self, instance: InstanceId) -> Result<(), Fault>;
    /// Lets its CPUs go on.
    async fn resume(&self, instance: InstanceId) -> Result<(), Fault>;

    /// What is there under the VM's name.
    async fn observe(&self, instance: InstanceId) -> Result<Domain, Fault>;
    /// All VMs with our mark.
    async fn list(&self) -> Result<Vec<InstanceId>, Fault>;

    /// The guest's agent answers now.
    async fn agent_ping(&self, instance: InstanceId) -> Result<bool, Fault>;
    /// Runs a program in the guest to its end.
    async fn agent_exec(&self, instance: InstanceId, call: &ExecCall) -> Result<ExecOutcome, Fault>;
    /// The guest's addresses, loopback and link-local left out: those that were given to it, and, with `ask_agent`, those
    /// that its agent tells when none was.
    async fn addresses(&self, instance: InstanceId, ask_agent: bool) -> Result<Vec<String>, Fault>;
    /// Opens the serial console; an earlier opener loses it.
    async fn console(&self, instance: InstanceId) -> Result<Console, Fault>;

    /// VMs that something happened to, from now on. A hint to look, never the truth: events may be lost.
    fn changes(&self) -> mpsc::UnboundedReceiver<InstanceId>;
}
