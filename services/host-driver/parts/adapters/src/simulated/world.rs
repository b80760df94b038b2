//! The state behind a simulated host, and the hands that change it behind our back.

use super::faults::{FaultSettings, Faults, When};
use super::guest_data;
use super::kept::Kept;
use crate::fault::Fault;
use host_driver_domain::{Condition, Domain, Ended, Files, Held, HostCause, Ours, Power, Quarantined};
use kernel::{Bytes, InstanceId, MilliVcpus};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// What a simulated host has and how fast it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldSettings {
    /// CPUs, in thousandths.
    pub vcpus_milli: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Room for disks in bytes.
    pub disk_bytes: u64,
    /// GPUs.
    pub gpus: u32,
    /// Their model; reported as the label `gpu.model` too.
    pub gpu_model: String,
    /// How long each operation takes.
    pub latency_ms: u64,
    /// How long a guest boots until its agent answers.
    pub boot_ms: u64,
    /// What goes wrong by chance.
    pub faults: FaultSettings,
}

impl Default for WorldSettings {
    fn default() -> Self {
        Self {
            vcpus_milli: 64_000,
            memory_bytes: 256 << 30,
            disk_bytes: 4 << 40,
            gpus: 0,
            gpu_model: String::new(),
            latency_ms: 0,
            boot_ms: 20,
            faults: FaultSettings::default(),
        }
    }
}

/// A VM of the simulation.
#[derive(Debug, Clone)]
pub(super) struct Vm {
    pub(super) domain: Ours,
    pub(super) booted_at: Option<Instant>,
    /// Its guest ignores requests.
    pub(super) deaf: bool,
    /// What its guest writes cannot be written.
    pub(super) unwritable: bool,
    pub(super) address: String,
    pub(super) has_agent: bool,
}

/// The disks of the host, as far as they exist as words only.
#[derive(Default)]
pub(super) struct Words {
    pub(super) files: BTreeMap<InstanceId, Files>,
    /// A VM ran on them, or was about to.
    pub(super) ran: BTreeSet<InstanceId>,
    pub(super) quarantine: Vec<Quarantined>,
}

pub(super) struct State {
    vms: BTreeMap<InstanceId, Vm>,
    foreign: Vec<InstanceId>,
    pub(super) disks: Words,
    /// What each guest wrote to its disk when it ran for the first time.
    written: BTreeMap<InstanceId, String>,
    faults: Faults,
    conditions: Vec<Condition>,
    halt: Option<(String, u64, When)>,
    watchers: Vec<mpsc::UnboundedSender<InstanceId>>,
    kept: Option<Kept>,
}

impl State {
    /// The first of what holds for the whole host.
    pub(super) fn condition(&self) -> Option<Condition> {
        self.conditions.first().cloned()
    }

    fn keep(&mut self) -> Result<(), Fault> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        kept.save(&self.vms, &self.disks, &self.written)
            .map_err(|error| Fault::Unavailable(format!("the simulated host cannot be kept: {error}")))
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new(WorldSettings::default())
    }
}

/// A simulated host. Outlives the service that drives it, as a real one does.
pub struct World {
    pub(super) settings: WorldSettings,
    /// Folder of the VMs' own folders, when their disks are files.
    disk_files: Option<PathBuf>,
    halted: Notify,
    state: Mutex<State>,
}

impl World {
    /// An empty host.
    pub fn new(settings: WorldSettings) -> Self {
        let faults = Faults::new(settings.faults.clone());
        let state = State {
            vms: BTreeMap::new(),
            foreign: Vec::new(),
            disks: Words::default(),
            written: BTreeMap::new(),
            faults,
            conditions: Vec::new(),
            halt: None,
            watchers: Vec::new(),
            kept: None,
        };
        Self { settings, disk_files: None, halted: Notify::new(), state: Mutex::new(state) }
    }

    /// The host that is kept in `file`; an empty one when there is no such file.
    pub fn kept_in(settings: WorldSettings, file: &Path) -> std::io::Result<Self> {
        let world = Self::new(settings);
        let (kept, vms, disks, written) = Kept::open(file)?;
        let mut state = world.state();
        (state.kept, state.vms, state.disks, state.written) = (Some(kept), vms, disks, written);
        drop(state);
        Ok(world)
    }

    /// The same with disks that are files: each VM has a folder in `folder`, and its guest writes to the disk there.
    #[must_use]
    pub fn on_disk_files(self, folder: &Path) -> Self {
        Self { disk_files: Some(folder.to_owned()), ..self }
    }

    /// It outlives this process.
    pub(super) fn is_kept(&self) -> bool {
        self.state().kept.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn capacity(&self) -> (MilliVcpus, Bytes, Bytes) {
        let s = &self.settings;
        (MilliVcpus(s.vcpus_milli), Bytes(s.memory_bytes), Bytes(s.disk_bytes))
    }

    /// Runs `operation` on the state unless a fault says otherwise, after the host's latency.
    pub(super) async fn operate<T>(
        &self,
        operation: &str,
        act: impl FnOnce(&mut BTreeMap<InstanceId, Vm>, &mut BTreeMap<InstanceId, Files>) -> Result<T, Fault>
        + Send,
    ) -> Result<T, Fault> {
        self.operate_on(operation, |state| act(&mut state.vms, &mut state.disks.files)).await
    }

    /// The guest of a VM begins to run on its disk: it finds what it wrote there when it ran first, or writes it.
    pub(super) fn boots_from_disk(&self, state: &mut State, instance: InstanceId) -> Result<(), Fault> {
        let Some(folder) = &self.disk_files else {
            return match state.disks.files.get(&instance) {
                Some(Files::Ready { .. }) => Ok(()),
                _ => Err(Fault::Failed("the VM's disk is not there".into())),
            };
        };
        let disk = folder.join(instance.to_string()).join("disk.qcow2");
        let found = guest_data::find_or_write(&disk)
            .map_err(|error| Fault::Failed(format!("the VM's disk {}: {error}", disk.display())))?;
        let known = state.written.entry(instance).or_insert_with(|| found.clone());
        if *known == found {
            return Ok(());
        }
        Err(Fault::Failed(format!("the guest wrote {known} to its disk, and finds {found}")))
    }

    /// Changes a VM that exists and the disks.
    pub(super) async fn operate_on<T>(
        &self,
        operation: &str,
        act: impl FnOnce(&mut State) -> Result<T, Fault> + Send,
    ) -> Result<T, Fault> {
        if self.settings.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.settings.latency_ms)).await;
        }
        let halt = self.halts(operation);
        if halt == Some(When::Before) {
            return self.never().await;
        }
        let done = self.operate_now(operation, act);
        if halt == Some(When::After) {
            return self.never().await;
        }
        done
    }

    fn operate_now<T>(
        &self,
        operation: &str,
        act: impl FnOnce(&mut State) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut state = self.state();
        let fault = state.faults.next(operation);
        if let Some((When::Before, fault)) = fault {
            return Err(fault);
        }
        let done = act(&mut state);
        state.keep()?;
        match fault {
            Some((_, lost)) => Err(lost),
            None => done,
        }
    }

    /// Whether this call is the one that does not return.
    fn halts(&self, operation: &str) -> Option<When> {
        let mut state = self.state();
        let next = state.faults.calls(operation) + 1;
        let (_, _, when) = state.halt.take_if(|(name, nth, _)| name == operation && *nth == next)?;
        Some(when)
    }

    async fn never<T>(&self) -> T {
        self.halted.notify_one();
        std::future::pending().await
    }

    pub(super) fn changed(&self, instance: InstanceId) {
        self.state().watchers.retain(|watcher| watcher.send(instance).is_ok());
    }

    pub(super) fn watch(&self) -> mpsc::UnboundedReceiver<InstanceId> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().watchers.push(sender);
        receiver
    }

    pub(super) fn is_foreign(&self, instance: InstanceId) -> bool {
        self.state().foreign.contains(&instance)
    }

    // --- what happens behind our back ---

    fn change(&self, instance: InstanceId, how: impl FnOnce(&mut Vm)) {
        let mut state = self.state();
        if let Some(vm) = state.vms.get_mut(&instance) {
            how(vm);
        }
        // nobody is asked, so nobody can be told; the next operation keeps it
        let _ = state.keep();
        drop(state);
        self.changed(instance);
    }

    /// The guest or its process crashes.
    pub fn crash(&self, instance: InstanceId) {
        self.change(instance, |vm| vm.domain.power = Power::Off(Ended::Crashed));
    }

    /// Somebody takes its power.
    pub fn kill(&self, instance: InstanceId) {
        self.change(instance, |vm| vm.domain.power = Power::Off(Ended::Killed));
    }

    /// The guest shuts itself down.
    pub fn shut_down_from_inside(&self, instance: InstanceId) {
        self.change(instance, |vm| vm.domain.power = Power::Off(Ended::ByGuest));
    }

    /// What the guest writes cannot be written from now on: it is held, and held again whenever it is let go on.
    pub fn fail_writes(&self, instance: InstanceId) {
        self.change(instance, |vm| {
            vm.unwritable = true;
            vm.domain.power = Power::Paused(Held::IoError);
        });
    }

    /// It can be written again. Nobody tells the hypervisor.
    pub fn mend_writes(&self, instance: InstanceId) {
        if let Some(vm) = self.state().vms.get_mut(&instance) {
            vm.unwritable = false;
        }
    }

    /// The guest suspends itself to memory.
    pub fn suspend_from_inside(&self, instance: InstanceId) {
        self.change(instance, |vm| vm.domain.power = Power::Paused(Held::Suspended));
    }

    /// The guest reboots itself.
    pub fn reboot_from_inside(&self, instance: InstanceId) {
        self.change(instance, |vm| {
            vm.domain.boot += 1;
            vm.booted_at = Some(Instant::now());
        });
    }

    /// Somebody pauses or resumes it.
    pub fn set_power(&self, instance: InstanceId, power: Power) {
        self.change(instance, |vm| vm.domain.power = power);
    }

    /// Somebody changes its definition.
    pub fn redefine(&self, instance: InstanceId) {
        self.change(instance, |vm| vm.domain.actual = "somebody's".into());
    }

    /// Somebody makes the hypervisor forget it.
    pub fn forget(&self, instance: InstanceId) {
        let mut state = self.state();
        state.vms.remove(&instance);
        let _ = state.keep();
        drop(state);
        self.changed(instance);
    }

    /// There is no agent in its guest, whatever was said of the image.
    pub fn take_agent(&self, instance: InstanceId) {
        self.change(instance, |vm| vm.has_agent = false);
    }

    /// Its guest no longer listens to requests.
    pub fn deafen(&self, instance: InstanceId) {
        self.change(instance, |vm| vm.deaf = true);
    }

    /// A VM of somebody else has this VM's name.
    pub fn occupy(&self, instance: InstanceId) {
        self.state().foreign.push(instance);
    }

    /// The VM of somebody else is gone.
    pub fn vacate(&self, instance: InstanceId) {
        self.state().foreign.retain(|known| *known != instance);
    }

    /// The host loses power: nothing runs, everything is still defined.
    pub fn lose_power(&self) {
        for vm in self.state().vms.values_mut() {
            if vm.domain.power.is_active() {
                vm.domain.power = Power::Off(Ended::Killed);
            }
        }
    }

    /// The `nth` call of `operation` from now fails.
    pub fn fail(&self, operation: &str, nth: u64, when: When, fault: Fault) {
        self.state().faults.script(operation, nth, when, fault);
    }

    /// The next call of `operation` never returns: there the process that made it is killed.
    pub fn halt(&self, operation: &str, when: When) {
        let mut state = self.state();
        let next = state.faults.calls(operation) + 1;
        state.halt = Some((operation.to_owned(), next, when));
    }

    /// Resolves when such a call was made.
    pub async fn halted(&self) {
        self.halted.notified().await;
    }

    /// How often the guest began to boot.
    pub fn boots(&self, instance: InstanceId) -> u64 {
        self.look(instance).map_or(0, |vm| vm.domain.boot)
    }

    /// How often `operation` was called.
    pub fn calls(&self, operation: &str) -> u64 {
        self.state().faults.calls(operation)
    }

    /// The VMs that exist, and what they do.
    pub fn powers(&self) -> BTreeMap<InstanceId, Power> {
        self.state().vms.iter().map(|(id, vm)| (*id, vm.domain.power)).collect()
    }

    /// VMs whose files were put aside, oldest first.
    pub fn quarantined(&self) -> Vec<InstanceId> {
        self.quarantine().into_iter().map(|item| item.instance).collect()
    }

    /// Files that were put aside, oldest first.
    pub fn quarantine(&self) -> Vec<Quarantined> {
        self.state().disks.quarantine.clone()
    }

    /// Somebody removes files from the quarantine behind our back.
    pub fn lose_quarantine(&self) {
        self.state().disks.quarantine.clear();
    }

    /// The files that lie on the host.
    pub fn files(&self) -> BTreeMap<InstanceId, Files> {
        self.state().disks.files.clone()
    }

    /// Somebody brings back a VM with our mark: out of a backup, say.
    pub fn bring_back(&self, instance: InstanceId) {
        let domain = Ours {
            generation: 1,
            marked: "as it was".into(),
            actual: "as it was".into(),
            persistent: true,
            power: Power::Running,
            words: "",
            boot: 1,
        };
        let vm = Vm {
            domain,
            booted_at: None,
            deaf: false,
            unwritable: false,
            address: String::new(),
            has_agent: false,
        };
        self.state().vms.insert(instance, vm);
        self.changed(instance);
    }

    /// Something holds for the whole host from now on: no VM starts, and the host says why.
    pub fn begin_condition(&self, cause: HostCause, message: &str) {
        self.state().conditions.push(Condition { cause, message: message.to_owned() });
    }

    /// It is over.
    pub fn end_conditions(&self) {
        self.state().conditions.clear();
    }

    /// What holds for the whole host.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        self.state().conditions.clone()
    }

    /// Runs `operation` on a VM that exists.
    pub(super) async fn on_vm<T: Send>(
        &self,
        operation: &str,
        instance: InstanceId,
        act: impl FnOnce(&Self, &mut State, &mut Vm) -> Result<T, Fault> + Send,
    ) -> Result<T, Fault> {
        self.operate_on(operation, |state| {
            let mut vm = state.vms.get(&instance).cloned().ok_or(Fault::NotFound)?;
            let done = act(self, state, &mut vm)?;
            state.vms.insert(instance, vm);
            Ok(done)
        })
        .await
    }

    pub(super) fn look(&self, instance: InstanceId) -> Option<Vm> {
        self.state().vms.get(&instance).cloned()
    }

    pub(super) fn domain(&self, instance: InstanceId) -> Domain {
        match self.look(instance) {
            Some(vm) => Domain::Ours(Ours { words: vm.domain.power.words(), ..vm.domain }),
            None if self.is_foreign(instance) => Domain::Foreign { active: true },
            None => Domain::Missing,
        }
    }

    pub(super) fn all(&self) -> Vec<InstanceId> {
        self.state().vms.keys().copied().collect()
    }
}
