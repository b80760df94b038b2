//! A driver and its disks that stop for ever at one call: where the process that made it is killed.

use async_trait::async_trait;
use host_driver::adapters::{
    Capabilities, Capacity, Console, Disks, ExecCall, ExecOutcome, Fault, Hypervisor, InQuarantine, PutAside,
};
use host_driver::domain::machine::Paths;
use host_driver::domain::{Condition, Domain, DropReason, Files, Machine, Quarantined, VmSpec};
use kernel::{Bytes, InstanceId, QuarantineId, Timestamp};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc};

/// Where to stop.
#[derive(Default)]
pub struct Gate {
    at: Mutex<Option<(&'static str, bool)>>,
    halted: Notify,
    passed: Mutex<BTreeSet<&'static str>>,
}

impl Gate {
    /// The next call of `action` never returns; `done` = it happens first.
    pub fn halt(&self, action: &'static str, done: bool) {
        *self.at.lock().expect("whole") = Some((action, done));
    }

    pub async fn halted(&self) {
        self.halted.notified().await;
    }

    /// The actions that went through since the last time.
    pub fn passed(&self) -> BTreeSet<&'static str> {
        std::mem::take(&mut *self.passed.lock().expect("whole"))
    }

    async fn around<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let here = self.at.lock().expect("whole").take_if(|(at, _)| *at == action);
        if here == Some((action, false)) {
            self.halted.notify_one();
            return std::future::pending().await;
        }
        let outcome = call.await;
        self.passed.lock().expect("whole").insert(action);
        if here.is_some() {
            self.halted.notify_one();
            return std::future::pending().await;
        }
        outcome
    }
}

pub struct Halting<T: ?Sized>(pub Arc<Gate>, pub Arc<T>);

#[async_trait]
impl Hypervisor for Halting<dyn Hypervisor> {
    async fn capabilities(&self) -> Result<Capabilities, Fault> {
        self.1.capabilities().await
    }
    async fn capacity(&self) -> Result<Capacity, Fault> {
        self.1.capacity().await
    }
    async fn conditions(&self) -> Result<Vec<Condition>, Fault> {
        self.1.conditions().await
    }
    async fn fingerprint(&self, machine: &Machine) -> Result<String, Fault> {
        self.1.fingerprint(machine).await
    }
    async fn define(&self, machine: &Machine) -> Result<(), Fault> {
        self.0.around("define", self.1.define(machine)).await
    }
    async fn undefine(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.around("undefine", self.1.undefine(instance)).await
    }
    async fn start(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.around("start", self.1.start(instance)).await
    }
    async fn shutdown(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.around("shutdown", self.1.shutdown(instance)).await
    }
    async fn destroy(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.around("destroy", self.1.destroy(instance)).await
    }
    async fn reboot(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.around("reboot", self.1.reboot(instance)).await
    }
    async fn reset(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.around("reset", self.1.reset(instance)).await
    }
    async fn pause(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.around("pause", self.1.pause(instance)).await
    }
    async fn resume(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.around("resume", self.1.resume(instance)).await
    }
    async fn observe(&self, instance: InstanceId) -> Result<Domain, Fault> {
        self.1.observe(instance).await
    }
    async fn list(&self) -> Result<Vec<InstanceId>, Fault> {
        self.1.list().await
    }
    async fn agent_ping(&self, instance: InstanceId) -> Result<bool, Fault> {
        self.1.agent_ping(instance).await
    }
    async fn agent_exec(&self, instance: InstanceId, call: &ExecCall) -> Result<ExecOutcome, Fault> {
        self.1.agent_exec(instance, call).await
    }
    async fn addresses(&self, instance: InstanceId, ask_agent: bool) -> Result<Vec<String>, Fault> {
        self.1.addresses(instance, ask_agent).await
    }
    async fn console(&self, instance: InstanceId) -> Result<Console, Fault> {
        self.1.console(instance).await
    }
    fn changes(&self) -> mpsc::UnboundedReceiver<InstanceId> {
        self.1.changes()
    }
}

#[async_trait]
impl Disks for Halting<dyn Disks> {
    fn durable(&self) -> bool {
        self.1.durable()
    }
    fn paths(&self, spec: &VmSpec) -> Paths {
        self.1.paths(spec)
    }
    async fn observe(&self, spec: &VmSpec) -> Result<Files, Fault> {
        self.1.observe(spec).await
    }
    async fn fetch(&self, spec: &VmSpec) -> Result<(), Fault> {
        self.0.around("fetch_image", self.1.fetch(spec)).await
    }
    async fn prepare(&self, spec: &VmSpec, generation: u64, user_data: Option<&[u8]>) -> Result<(), Fault> {
        self.0.around("prepare_disks", self.1.prepare(spec, generation, user_data)).await
    }
    async fn holds(&self, instance: InstanceId) -> Result<bool, Fault> {
        self.1.holds(instance).await
    }
    async fn has_run(&self, instance: InstanceId) -> Result<bool, Fault> {
        self.1.has_run(instance).await
    }
    async fn note_run(&self, instance: InstanceId) -> Result<bool, Fault> {
        self.1.note_run(instance).await
    }
    async fn forget_run(&self, instance: InstanceId) -> Result<(), Fault> {
        self.1.forget_run(instance).await
    }
    async fn quarantine(&self, put: &PutAside) -> Result<Option<Quarantined>, Fault> {
        self.0.around("quarantine", self.1.quarantine(put)).await
    }
    async fn take_back(&self, id: QuarantineId, instance: InstanceId, generation: u64) -> Result<(), Fault> {
        self.0.around("take_back", self.1.take_back(id, instance, generation)).await
    }
    async fn quarantined(&self) -> Result<InQuarantine, Fault> {
        self.1.quarantined().await
    }
    async fn condemn(&self, id: QuarantineId, reason: DropReason) -> Result<(), Fault> {
        self.1.condemn(id, reason).await
    }
    async fn drop_quarantined(&self, id: QuarantineId) -> Result<(), Fault> {
        self.1.drop_quarantined(id).await
    }
    async fn conditions(&self) -> Vec<Condition> {
        self.1.conditions().await
    }
    async fn remove(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0.around("remove_files", self.1.remove(instance)).await
    }
    async fn evict_except(&self, in_use: &BTreeSet<String>, now: Timestamp) -> Result<usize, Fault> {
        self.1.evict_except(in_use, now).await
    }
    async fn capacity(&self) -> Result<Bytes, Fault> {
        self.1.capacity().await
    }
}
