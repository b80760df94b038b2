//! The simulated driver and its small guest.

use super::world::{Vm, World};
use crate::fault::Fault;
use crate::hypervisor::{Capabilities, Capacity, Console, ExecCall, ExecOutcome, Hypervisor};
use async_trait::async_trait;
use bytes::Bytes;
use host_driver_domain::{Condition, Domain, DriverKind, Ended, Held, HostCause, Machine, Ours, Power};
use kernel::InstanceId;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Drives a simulated host.
pub struct SimulatedHypervisor(pub Arc<World>);

impl SimulatedHypervisor {
    /// Changes a VM that exists. `how` says whether anything changed.
    async fn change(
        &self,
        operation: &str,
        instance: InstanceId,
        how: impl FnOnce(&mut Vm) -> Result<bool, Fault> + Send,
    ) -> Result<(), Fault> {
        let changed =
            self.0.operate(operation, |vms, _| how(vms.get_mut(&instance).ok_or(Fault::NotFound)?)).await?;
        if changed {
            self.0.changed(instance);
        }
        Ok(())
    }

    /// Its guest is up, and has asked for an address.
    fn is_up(&self, vm: &Vm) -> bool {
        let booted =
            vm.booted_at.is_some_and(|at| at.elapsed() >= Duration::from_millis(self.0.settings.boot_ms));
        vm.domain.power == Power::Running && booted
    }

    fn answers(&self, vm: &Vm) -> bool {
        vm.has_agent && self.is_up(vm)
    }

    fn guest(&self, instance: InstanceId) -> Result<Vm, Fault> {
        let vm = self.0.look(instance).ok_or(Fault::NotFound)?;
        if self.answers(&vm) {
            Ok(vm)
        } else {
            Err(Fault::Failed("the guest's agent does not answer".into()))
        }
    }
}

fn not_running(doing: &str) -> Fault {
    Fault::Failed(format!("cannot {doing} a VM that does not run"))
}

#[async_trait]
impl Hypervisor for SimulatedHypervisor {
    async fn capabilities(&self) -> Result<Capabilities, Fault> {
        Ok(Capabilities {
            driver: DriverKind::Simulated,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            acceleration: "none".to_owned(),
            direct_kernel_boot: true,
            disk_boot: true,
            guest_agent: true,
            console: true,
            pause: true,
            addresses: true,
        })
    }

    async fn capacity(&self) -> Result<Capacity, Fault> {
        self.0.operate("capacity", |_, _| Ok(())).await?;
        let (vcpus, memory, _) = self.0.capacity();
        let settings = &self.0.settings;
        Ok(Capacity { vcpus, memory, gpus: settings.gpus, gpu_model: settings.gpu_model.clone() })
    }

    async fn conditions(&self) -> Result<Vec<Condition>, Fault> {
        self.0.operate("conditions", |_, _| Ok(())).await?;
        let of_disks = |found: &Condition| found.cause == HostCause::Storage;
        Ok(self.0.conditions().into_iter().filter(|found| !of_disks(found)).collect())
    }

    async fn fingerprint(&self, machine: &Machine) -> Result<String, Fault> {
        // ownership is in the mark, not in the definition
        let definition = format!("{:?}", Machine { generation: 0, ..machine.clone() });
        Ok(hex::encode(Sha256::digest(definition.as_bytes())))
    }

    async fn define(&self, machine: &Machine) -> Result<(), Fault> {
        if self.0.is_foreign(machine.instance) {
            return Err(Fault::permanent("NAME_TAKEN", "a VM of this name is not ours"));
        }
        let fingerprint = self.fingerprint(machine).await?;
        let bits = machine.instance.as_u128();
        let vm = Vm {
            domain: Ours {
                generation: machine.generation,
                marked: fingerprint.clone(),
                actual: fingerprint,
                persistent: true,
                power: Power::Off(Ended::Never),
                words: "",
                boot: 0,
            },
            booted_at: None,
            deaf: false,
            unwritable: false,
            address: format!("10.{}.{}.{}", (bits >> 16) as u8, (bits >> 8) as u8, bits as u8),
            has_agent: machine.guest_agent,
        };
        self.0
            .operate("define", |vms, _| {
                vms.entry(machine.instance)
                    .and_modify(|known| {
                        known.domain =
                            Ours { power: known.domain.power, boot: known.domain.boot, ..vm.domain.clone() };
                    })
                    .or_insert(vm);
                Ok(())
            })
            .await
    }

    async fn undefine(&self, instance: InstanceId) -> Result<(), Fault> {
        self.0
            .operate("undefine", |vms, _| match vms.get(&instance).map(|vm| vm.domain.power) {
                Some(power) if power.is_active() => {
                    Err(Fault::Failed("a VM that runs is not forgotten".into()))
                }
                _ => {
                    vms.remove(&instance);
                    Ok(())
                }
            })
            .await
    }

    async fn start(&self, instance: InstanceId) -> Result<(), Fault> {
        let started = self.0.on_vm("start", instance, |world, state, vm| {
            if vm.domain.power.is_active() {
                return Ok(false);
            }
            if let Some(Condition { cause, message }) = state.condition() {
                return Err(Fault::host(cause, message));
            }
            world.boots_from_disk(state, instance)?;
            vm.domain.power = Power::Running;
            vm.domain.boot += 1;
            vm.booted_at = Some(Instant::now());
            Ok(true)
        });
        if started.await? {
            self.0.changed(instance);
        }
        Ok(())
    }

    async fn shutdown(&self, instance: InstanceId) -> Result<(), Fault> {
        self.change("shutdown", instance, |vm| match vm.domain.power {
            Power::Running if !vm.deaf => {
                vm.domain.power = Power::Off(Ended::ByGuest);
                Ok(true)
            }
            _ => Ok(false),
        })
        .await
    }

    async fn destroy(&self, instance: InstanceId) -> Result<(), Fault> {
        self.change("destroy", instance, |vm| {
            let active = vm.domain.power.is_active();
            if active {
                vm.domain.power = Power::Off(Ended::Killed);
            }
            Ok(active)
        })
        .await
    }

    async fn reboot(&self, instance: InstanceId) -> Result<(), Fault> {
        self.change("reboot", instance, |vm| match vm.domain.power {
            Power::Running if vm.deaf => Ok(false),
            Power::Running => {
                vm.domain.boot += 1;
                vm.booted_at = Some(Instant::now());
                Ok(true)
            }
            _ => Err(not_running("reboot")),
        })
        .await
    }

    async fn reset(&self, instance: InstanceId) -> Result<(), Fault> {
        self.change("reset", instance, |vm| {
            if vm.domain.power != Power::Running {
                return Err(not_running("reset"));
            }
            vm.domain.boot += 1;
            vm.booted_at = Some(Instant::now());
            Ok(true)
        })
        .await
    }

    async fn pause(&self, instance: InstanceId) -> Result<(), Fault> {
        self.change("pause", instance, |vm| match vm.domain.power {
            Power::Off(_) => Err(not_running("pause")),
            Power::Paused(_) => Ok(false),
            Power::Running => {
                vm.domain.power = Power::Paused(Held::ByHand);
                Ok(true)
            }
        })
        .await
    }

    async fn resume(&self, instance: InstanceId) -> Result<(), Fault> {
        self.change("resume", instance, |vm| match vm.domain.power {
            Power::Off(_) => Err(not_running("resume")),
            Power::Running => Ok(false),
            // it tries to write at once, and is held again
            Power::Paused(Held::IoError) if vm.unwritable => Ok(true),
            Power::Paused(Held::Busy | Held::Crashed) => {
                Err(Fault::Failed("the hypervisor does not let this VM go on".into()))
            }
            Power::Paused(_) => {
                vm.domain.power = Power::Running;
                Ok(true)
            }
        })
        .await
    }

    async fn observe(&self, instance: InstanceId) -> Result<Domain, Fault> {
        self.0.operate("observe", |_, _| Ok(())).await?;
        Ok(self.0.domain(instance))
    }

    async fn list(&self) -> Result<Vec<InstanceId>, Fault> {
        self.0.operate("list", |_, _| Ok(())).await?;
        Ok(self.0.all())
    }

    async fn agent_ping(&self, instance: InstanceId) -> Result<bool, Fault> {
        self.0.operate("agent_ping", |_, _| Ok(())).await?;
        Ok(self.0.look(instance).is_some_and(|vm| self.answers(&vm)))
    }

    /// The guest knows `echo`, `cat`, `true`, `false` and `sleep SECONDS`.
    async fn agent_exec(&self, instance: InstanceId, call: &ExecCall) -> Result<ExecOutcome, Fault> {
        self.0.operate("agent_exec", |_, _| Ok(())).await?;
        self.guest(instance)?;
        let done = |code, out: Vec<u8>| Ok(ExecOutcome::capped(code, out, Vec::new(), false));
        let argv: Vec<&str> = call.argv.iter().map(String::as_str).collect();
        match argv.as_slice() {
            ["echo", words @ ..] | ["/bin/echo", words @ ..] => {
                done(0, format!("{}\n", words.join(" ")).into_bytes())
            }
            ["cat"] | ["/bin/cat"] => done(0, call.stdin.clone()),
            ["true"] | ["/bin/true"] => done(0, Vec::new()),
            ["false"] | ["/bin/false"] => done(1, Vec::new()),
            ["sleep", seconds] | ["/bin/sleep", seconds] => {
                let nap = Duration::from_secs_f64(seconds.parse().unwrap_or(0.0));
                tokio::time::sleep(nap.min(call.timeout)).await;
                if nap > call.timeout {
                    Err(Fault::Failed("the program did not end in time".into()))
                } else {
                    done(0, Vec::new())
                }
            }
            _ => Ok(ExecOutcome::capped(
                127,
                Vec::new(),
                b"no such program in the simulated guest\n".to_vec(),
                false,
            )),
        }
    }

    async fn addresses(&self, instance: InstanceId, _ask_agent: bool) -> Result<Vec<String>, Fault> {
        Ok(self.0.look(instance).filter(|vm| self.is_up(vm)).map(|vm| vm.address).into_iter().collect())
    }

    /// A guest that greets and says back what it is told.
    async fn console(&self, instance: InstanceId) -> Result<Console, Fault> {
        let vm = self.0.look(instance).ok_or(Fault::NotFound)?;
        if vm.domain.power != Power::Running {
            return Err(not_running("open the console of"));
        }
        let (sender, mut typed) = mpsc::channel::<Bytes>(16);
        let (written, receiver) = mpsc::channel::<Bytes>(16);
        let (world, mut changes) = (self.0.clone(), self.0.watch());
        tokio::spawn(async move {
            let mut next = Bytes::from_static(b"\r\nsimulated login: ");
            loop {
                if written.send(next).await.is_err() {
                    return;
                }
                next = loop {
                    tokio::select! {
                        bytes = typed.recv() => match bytes {
                            Some(bytes) => break bytes,
                            None => return,
                        },
                        _ = changes.recv() => if world.look(instance).is_none_or(|vm| vm.domain.power != Power::Running) {
                            return;
                        },
                    }
                };
            }
        });
        Ok(Console { sender, receiver })
    }

    fn changes(&self) -> mpsc::UnboundedReceiver<InstanceId> {
        self.0.watch()
    }
}
