//! Runs programs in guests, at most once: what was begun and not ended by this process is said to be interrupted.

use crate::hosts::Hosts;
use crate::store::execs::{self, ExecRow};
use crate::store::vms;
use crate::translate::{incoming, outgoing};
use bus::Desk;
use chassis::Sealer;
use contracts::common::v1::Sealed;
use contracts::host_driver::v1::ExecRequest;
use host_driver_adapters::{ExecCall, ExecOutcome};
use host_driver_domain::{Power, VmSpec};
use kernel::{Refusal, Timestamp};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Answers are kept for this long, so that a request that comes again is known.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Runs programs in guests. Cheap to clone.
#[derive(Clone)]
pub struct Execs {
    desk: Desk,
    hosts: Arc<Hosts>,
    sealer: Arc<Sealer>,
    /// What this process runs now.
    running: Arc<Mutex<BTreeSet<String>>>,
}

/// A program runs as long as this lives, however it ends: a pass may be dropped, and a task may die.
struct Running {
    all: Arc<Mutex<BTreeSet<String>>>,
    operation_id: String,
}

impl Running {
    fn begin(execs: &Execs, operation_id: &str) -> Self {
        execs.running().insert(operation_id.to_owned());
        Self { all: execs.running.clone(), operation_id: operation_id.to_owned() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.operation_id);
    }
}

impl Execs {
    /// A runner of programs.
    pub fn new(desk: Desk, hosts: Arc<Hosts>, sealer: Arc<Sealer>) -> Self {
        Self { desk, hosts, sealer, running: Arc::default() }
    }

    /// Begins what was asked for, and answers for what an earlier process began.
    pub async fn pass(self) -> anyhow::Result<()> {
        let reader = self.desk.store().reader();
        for exec in execs::in_state(reader, "started").await? {
            if !self.is_running(&exec.operation_id) {
                let message = "the host-driver restarted while the program ran; whether it ended is unknown";
                self.finish(&exec, Err(Refusal::new("EXEC_INTERRUPTED", message))).await?;
            }
        }
        for exec in execs::in_state(reader, "asked").await? {
            self.begin(exec).await?;
        }
        let mut unit = self.desk.begin(bus::Cause::own(crate::SERVICE.name)).await?;
        let before = Timestamp(unit.now().0 - i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX));
        execs::forget(unit.tx(), before).await?;
        Ok(unit.commit().await?)
    }

    async fn begin(&self, exec: ExecRow) -> anyhow::Result<()> {
        let mut unit = self.desk.begin(exec.cause.clone()).await?;
        let now = unit.now();
        if !execs::start(unit.tx(), &exec.operation_id, now).await? {
            return Ok(());
        }
        // before the commit: from then on a row that is started and not here is an interrupted one
        let running = Running::begin(self, &exec.operation_id);
        unit.commit().await?;
        let this = self.clone();
        tokio::spawn(async move {
            let _running = running;
            let ended = this.run(&exec).await;
            let ended = ended.map(|o| (o.exit_code, this.sealer.seal(&outgoing::exec_output(&o))));
            if let Err(error) = this.finish(&exec, ended).await {
                tracing::warn!(operation = exec.operation_id, %error, "the answer of a program is lost");
            }
        });
        Ok(())
    }

    async fn run(&self, exec: &ExecRow) -> Result<ExecOutcome, Refusal> {
        let failed = |code: &str, why: String| Refusal::new(code, why);
        let call = self.call(exec)?;
        let spec = self.spec(exec).await?;
        let backend = self.hosts.get(exec.key.host).and_then(|host| host.backend(spec.driver));
        let backend =
            backend.ok_or_else(|| failed("EXEC_FAILED", "the driver of the VM is not here".into()))?;
        let running = match backend.hypervisor.observe(exec.key.instance).await {
            Ok(host_driver_domain::Domain::Ours(ours)) => ours.power == Power::Running,
            Ok(_) => false,
            Err(fault) => return Err(failed("EXEC_FAILED", fault.to_string())),
        };
        if !running {
            return Err(failed("NOT_RUNNING", "the instance does not run".into()));
        }
        // the call has its own limit; this one holds when the hypervisor does not keep it
        let limit = call.timeout + Duration::from_secs(30);
        match tokio::time::timeout(limit, backend.hypervisor.agent_exec(exec.key.instance, &call)).await {
            Ok(ran) => ran.map_err(|fault| fault.refusal("exec")),
            Err(_) => Err(failed("EXEC_FAILED", format!("no answer within {} s", limit.as_secs()))),
        }
    }

    fn call(&self, exec: &ExecRow) -> Result<ExecCall, Refusal> {
        let unreadable = |why: String| Refusal::new("EXEC_UNREADABLE", why);
        let sealed = Sealed::decode(exec.request.as_slice()).map_err(|e| unreadable(e.to_string()))?;
        let opened = self.sealer.open(&sealed).map_err(|e| unreadable(e.to_string()))?;
        let request = ExecRequest::decode(opened.as_slice()).map_err(|e| unreadable(e.to_string()))?;
        if request.argv.first().is_none_or(String::is_empty) {
            return Err(Refusal::new("NO_PROGRAM", "no program was named"));
        }
        let timeout = Duration::from_secs(exec.timeout_s.into());
        Ok(ExecCall { argv: request.argv, stdin: request.stdin, timeout })
    }

    async fn spec(&self, exec: &ExecRow) -> Result<VmSpec, Refusal> {
        let found = async {
            let mut reader = self.desk.store().reader().acquire().await?;
            vms::find(&mut reader, exec.key).await
        };
        let row = found.await.map_err(|e| Refusal::new("EXEC_FAILED", e.to_string()))?;
        // another tenant's VM is as good as none
        let row = row.filter(|row| row.tenant == exec.tenant);
        let row = row.ok_or_else(|| Refusal::new("NOT_RUNNING", "this host has no such instance"))?;
        incoming::spec(&row.spec)
    }

    async fn finish(&self, exec: &ExecRow, ended: Result<(i32, Sealed), Refusal>) -> anyhow::Result<()> {
        let mut unit = self.desk.begin(exec.cause.clone()).await?;
        let now = unit.now();
        if execs::finish(unit.tx(), &exec.operation_id, now).await? {
            unit.say_for(&exec.tenant, &outgoing::exec_finished(exec, ended));
        }
        Ok(unit.commit().await?)
    }

    fn is_running(&self, operation_id: &str) -> bool {
        self.running().contains(operation_id)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
