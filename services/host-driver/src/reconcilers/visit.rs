//! One visit to one VM: observe, plan, act, note, say.

use crate::adapters::Fault;
use crate::adapters::disks::Disks;
use crate::domain::observation::Guest;
use crate::domain::progress::STEP_DISKS;
use crate::domain::{
    Action, Domain, Files, Intent, Machine, Observation, Observed, Plan, Policy, Power, Progress,
    RestartPolicy, Severity, VmSpec, Wanted, plan,
};
use crate::hosts::{Backend, Hosts};
use crate::metrics::Metrics;
use crate::store::vms::VmRow;
use crate::store::{VmKey, vms, work};
use crate::translate::outgoing::DriftEnd;
use crate::translate::{incoming, outgoing};
use ::store::StoreError;
use bus::{Cause, Desk};
use chassis::Sealer;
use contracts::host_driver::v1 as wire;
use kernel::{Refusal, Timestamp};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::Instrument;

/// While a guest boots it is asked this often.
const BOOT_POLL: Duration = Duration::from_millis(500);
/// A guest that did not answer for so long is asked less often.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const SLOW_POLL: Duration = Duration::from_secs(5);
/// An agent that answered must fail to so often in a row before it is said to be silent.
const MISSES: u32 = 3;
/// Another order came while the work was done.
const AT_ONCE: Duration = Duration::ZERO;

/// What every visit uses.
pub struct Visitor {
    /// The database.
    pub desk: Desk,
    /// The hosts of this process.
    pub hosts: Arc<Hosts>,
    /// Opens user data.
    pub sealer: Arc<Sealer>,
    /// The numbers behind the decisions.
    pub policy: Policy,
    /// Numbers for operators.
    pub metrics: Metrics,
    /// Told whether hypervisors can be reached.
    pub health: chassis::HealthHandle,
    /// Agents that answered before and did not answer the last times.
    misses: Mutex<BTreeMap<VmKey, u32>>,
}

/// A VM in hand.
struct Case<'v> {
    row: VmRow,
    cause: Cause,
    before: Progress,
    spec: VmSpec,
    intent: Intent,
    machine: Machine,
    backend: &'v Backend,
}

impl Visitor {
    /// A visitor.
    pub fn new(
        desk: Desk,
        hosts: Arc<Hosts>,
        sealer: Arc<Sealer>,
        policy: Policy,
        metrics: Metrics,
        health: chassis::HealthHandle,
    ) -> Self {
        Self { desk, hosts, sealer, policy, metrics, health, misses: Mutex::default() }
    }

    /// Looks at a VM and does what is to be done. Returns after how long it needs another look by itself.
    pub async fn visit(&self, key: VmKey) -> Result<Option<Duration>, StoreError> {
        let mut reader = self.desk.store().reader().acquire().await.map_err(StoreError::from)?;
        let Some(row) = vms::find(&mut reader, key).await? else { return Ok(None) };
        let worked = work::find(&mut reader, key, &row.tenant).await?;
        drop(reader);
        // a rebuilt table has orders without work in hand
        let (before, cause) = worked
            .unwrap_or_else(|| (Progress::default(), Cause::own(crate::SERVICE).for_tenant(&row.tenant)));
        let case = match self.case(row, cause, before).await {
            Ok(case) => case,
            Err(Stop::Refused(known, refusal)) => return self.refuse(*known, refusal).await,
            Err(Stop::Unavailable(why)) => return Ok(Some(self.unavailable(&why))),
        };
        let (now, mut progress) = (self.desk.clock().now(), case.before.clone());
        let observed = match self.observe(&case).await {
            Ok(observed) => observed,
            Err(fault) => return Ok(Some(self.unavailable(&fault.to_string()))),
        };
        self.health.ok("hypervisors answer");
        progress.note(&case.intent, &observed, &self.policy, now);
        let plan = plan(&case.intent, &observed, &progress, &self.policy, now);
        if plan == Plan::default() && progress.attempts.gave_up {
            return self.say(&case, &observed, progress, None).await;
        }
        // a look that leads to nothing is no span: what it says belongs to the trace that asked for the VM
        let mut span = tracing::Span::none();
        if !plan.actions.is_empty() {
            let names: Vec<&str> = plan.actions.iter().map(|a| a.name()).collect();
            span = tracing::info_span!("vm.act", instance = %key.instance, actions = names.join(" "));
            bus::continue_trace(&span, &case.cause.traceparent);
        }
        self.follow(&case, observed, progress, plan, now).instrument(span).await
    }

    /// Everything that is known before the world is asked.
    async fn case(&self, row: VmRow, cause: Cause, before: Progress) -> Result<Case<'_>, Stop> {
        let spec = match incoming::spec(&row.spec) {
            Ok(spec) => spec,
            Err(refusal) => return Err(Stop::Refused(Box::new((row, cause, before)), refusal)),
        };
        let backend = self.hosts.get(row.key.host).and_then(|host| host.backend(spec.driver));
        let Some(backend) = backend else {
            let driver = spec.driver.map_or("any", |kind| kind.name());
            let refusal =
                Refusal::new("DRIVER_NOT_HERE", format!("this host does not run the driver {driver}"));
            return Err(Stop::Refused(Box::new((row, cause, before)), refusal));
        };
        let machine = Machine::of(&spec, row.intent.generation, backend.disks.paths(&spec));
        let definition = match backend.hypervisor.fingerprint(&machine).await {
            Ok(definition) => definition,
            // what cannot be defined can still be taken away
            Err(Fault::Permanent(_)) if row.power == wire::VmPower::Absent.as_str_name() => String::new(),
            Err(Fault::Permanent(refusal)) => {
                return Err(Stop::Refused(Box::new((row, cause, before)), refusal));
            }
            Err(fault) => return Err(Stop::Unavailable(fault.to_string())),
        };
        let intent = incoming::intent(&row, spec.restart_policy, definition);
        Ok(Case { row, cause, before, spec, intent, machine, backend })
    }

    async fn observe(&self, case: &Case<'_>) -> Result<Observed, Fault> {
        let domain = case.backend.hypervisor.observe(case.spec.instance).await?;
        let mut files = case.backend.disks.observe(&case.spec).await?;
        let generation = case.intent.key.generation;
        // after a rebuild only what was said still knows that the disks were made
        let made = case.before.made_disks()
            || outgoing::last(&case.row).is_some_and(|said| {
                said.generation == generation && said.steps.iter().any(|s| s.name == STEP_DISKS)
            });
        if files == Files::Missing
            && made
            && case.backend.disks.durable()
            && case.intent.wanted != Wanted::Absent
        {
            files = Files::Lost { generation };
        }
        Ok(Observed { domain, files })
    }

    fn unavailable(&self, why: &str) -> Duration {
        self.health.bad(why);
        self.policy.patience.unavailable_delay
    }

    /// Does what was planned and says what came of it.
    async fn follow(
        &self,
        case: &Case<'_>,
        mut observed: Observed,
        mut progress: Progress,
        plan: Plan,
        now: Timestamp,
    ) -> Result<Option<Duration>, StoreError> {
        progress.adopted |= plan.adopt;
        let mut failed = false;
        for action in &plan.actions {
            let done = self.act(case, *action).await;
            let at = self.desk.clock().now();
            match done {
                Ok(()) => progress.did(*action, &case.intent, observed.ours(), at),
                Err(fault) => {
                    let (severity, refusal) = (fault.severity(), fault.refusal(action.name()));
                    tracing::warn!(instance = %case.spec.instance, action = action.name(), %fault, "action failed");
                    progress.failed(severity, refusal, &case.intent, &self.policy.patience, at);
                    failed = true;
                    break;
                }
            }
        }
        if !plan.actions.is_empty() {
            match self.observe(case).await {
                Ok(after) => observed = after,
                Err(fault) => return Ok(Some(self.unavailable(&fault.to_string()))),
            }
            progress.note(&case.intent, &observed, &self.policy, self.desk.clock().now());
        }
        if let Some(refusal) = plan.refusal {
            let patience = &self.policy.patience;
            progress.failed(Severity::Permanent, refusal, &case.intent, patience, now);
        } else if !failed && now >= progress.attempts.next_at {
            progress.succeeded();
        }
        let end = match &plan.drift {
            Some(drift) if drift.adopt => Some(DriftEnd::Adopted),
            Some(_) if failed && progress.attempts.gave_up => Some(DriftEnd::Reported),
            // waiting, or to be tried again: it will be seen again
            Some(_) if failed || plan.actions.is_empty() => None,
            Some(_) => Some(DriftEnd::Repaired),
            None => None,
        };
        let drifted =
            plan.drift.as_ref().zip(end).map(|(drift, end)| outgoing::drifted(&case.row, drift, end));
        let next = self.say(case, &observed, progress, drifted).await?;
        let planned = plan.look_again.map(|at| at.since(self.desk.clock().now()));
        Ok(next.into_iter().chain(planned).min())
    }

    async fn act(&self, case: &Case<'_>, action: Action) -> Result<(), Fault> {
        let (instance, hypervisor) = (case.spec.instance, &case.backend.hypervisor);
        let disks: &dyn Disks = case.backend.disks.as_ref();
        let started = std::time::Instant::now();
        let done = match action {
            Action::FetchImage => disks.fetch(&case.spec).await,
            Action::PrepareDisks => match self.user_data(&case.spec) {
                Ok(data) => disks.prepare(&case.spec, case.intent.key.generation, data.as_deref()).await,
                Err(fault) => Err(fault),
            },
            Action::Define => hypervisor.define(&case.machine).await,
            Action::Start => hypervisor.start(instance).await,
            Action::Shutdown => hypervisor.shutdown(instance).await,
            Action::Destroy => hypervisor.destroy(instance).await,
            Action::Reboot => hypervisor.reboot(instance).await,
            Action::Reset => hypervisor.reset(instance).await,
            Action::Pause => hypervisor.pause(instance).await,
            Action::Resume => hypervisor.resume(instance).await,
            Action::Undefine => hypervisor.undefine(instance).await,
            Action::Quarantine => disks.quarantine(instance).await,
            Action::RemoveFiles => disks.remove(instance).await,
        };
        self.metrics.action(action.name(), done.is_ok(), started.elapsed());
        done
    }

    fn user_data(&self, spec: &VmSpec) -> Result<Option<Vec<u8>>, Fault> {
        let Some(data) = &spec.user_data else { return Ok(None) };
        let opened = self.sealer.open(&incoming::sealed(data));
        opened.map(Some).map_err(|e| {
            Fault::permanent("USER_DATA_UNREADABLE", format!("the user data cannot be opened: {e}"))
        })
    }

    /// Says what is new and keeps how far the work came, together. Nothing when another order came meanwhile.
    async fn say(
        &self,
        case: &Case<'_>,
        observed: &Observed,
        mut progress: Progress,
        drifted: Option<wire::VmDrifted>,
    ) -> Result<Option<Duration>, StoreError> {
        let last = outgoing::last(&case.row);
        let guest = self.guest(case, observed, &progress, last.as_ref()).await;
        let now = self.desk.clock().now();
        if guest.agent_answered {
            progress.agent_answered(now);
        }
        let next = next_look(case, observed, &progress, &guest, now);
        let observation = Observation::of(&case.intent, observed, &progress, guest);
        let said = self.keep(&case.row, &case.cause, &case.before, &progress, &observation, drifted).await?;
        Ok(if said { next } else { Some(AT_ONCE) })
    }

    async fn keep(
        &self,
        row: &VmRow,
        cause: &Cause,
        before: &Progress,
        progress: &Progress,
        observation: &Observation,
        drifted: Option<wire::VmDrifted>,
    ) -> Result<bool, StoreError> {
        let told = outgoing::observation(row, observation, self.desk.clock().now());
        let news = outgoing::is_news(row, &told);
        if !news && drifted.is_none() && progress == before {
            return Ok(true);
        }
        let mut unit = self.desk.begin(cause.clone()).await?;
        if news {
            let (bytes, power) = (told.encode_to_vec(), outgoing::power(observation.power).as_str_name());
            if !vms::put_observation(unit.tx(), row.key, row.intent, told.revision, &bytes, power).await? {
                return Ok(false);
            }
        } else if vms::find(unit.tx(), row.key).await?.is_none_or(|now| now.intent != row.intent) {
            return Ok(false);
        }
        work::put(unit.tx(), row.key, progress, cause).await?;
        if let Some(drifted) = drifted {
            tracing::warn!(
                instance = drifted.instance_id,
                detail = drifted.detail,
                "reality left the intent"
            );
            self.metrics.drift(drifted.kind().as_str_name(), drifted.action().as_str_name());
            // nobody asked for this: it is not the doing of whoever gave the last order
            let own = Cause::own(crate::SERVICE).for_tenant(&row.tenant);
            unit.set_cause(Cause { traceparent: cause.traceparent.clone(), ..own });
            unit.say_for(&row.tenant, &drifted);
            unit.set_cause(cause.clone());
        }
        if news {
            unit.say_for(&row.tenant, &wire::VmObserved { observation: Some(told) });
        }
        unit.commit().await?;
        Ok(true)
    }

    /// An order that cannot be followed here at all.
    async fn refuse(
        &self,
        (row, cause, before): (VmRow, Cause, Progress),
        refusal: Refusal,
    ) -> Result<Option<Duration>, StoreError> {
        let intent = incoming::intent(&row, RestartPolicy::Never, String::new());
        let mut progress = before.clone();
        // nothing was made of it, so there is nothing to take away
        if intent.wanted != Wanted::Absent {
            progress.failed(
                Severity::Permanent,
                refusal,
                &intent,
                &self.policy.patience,
                self.desk.clock().now(),
            );
            // a second look is not a second attempt
            progress.attempts =
                crate::domain::Attempts { failed: 1, gave_up: true, next_at: before.attempts.next_at };
        }
        let nothing = Observed { domain: Domain::Missing, files: Files::Missing };
        let observation = Observation::of(&intent, &nothing, &progress, Guest::default());
        let said = self.keep(&row, &cause, &before, &progress, &observation, None).await?;
        Ok(if said { None } else { Some(AT_ONCE) })
    }

    /// What the guest itself shows. An agent that answered is given some patience before it is called silent.
    async fn guest(
        &self,
        case: &Case<'_>,
        observed: &Observed,
        progress: &Progress,
        last: Option<&wire::VmObservation>,
    ) -> Guest {
        let (key, instance, hypervisor) = (case.row.key, case.spec.instance, &case.backend.hypervisor);
        let answered_before = last.is_some_and(|l| l.agent_answered)
            && progress.steps.iter().any(|(name, _)| name == crate::domain::progress::STEP_AGENT);
        let known =
            |last: Option<&wire::VmObservation>| last.map(|l| l.addresses.clone()).unwrap_or_default();
        if observed.power() != Some(Power::Running) {
            self.misses().remove(&key);
            // a held guest is as it was
            return Guest { agent_answered: answered_before, addresses: known(last) };
        }
        let answers = case.spec.guest_agent && hypervisor.agent_ping(instance).await.unwrap_or(false);
        let agent_answered = if answers || !answered_before {
            self.misses().remove(&key);
            answers
        } else {
            let mut misses = self.misses();
            let count = misses.entry(key).or_default();
            *count += 1;
            *count < MISSES
        };
        let addresses = if agent_answered || !case.spec.guest_agent {
            hypervisor.addresses(instance).await.unwrap_or_else(|_| known(last))
        } else {
            Vec::new()
        };
        Guest { agent_answered, addresses }
    }

    fn misses(&self) -> std::sync::MutexGuard<'_, BTreeMap<VmKey, u32>> {
        self.misses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a VM needs a look by itself: a guest that boots is waited for.
fn next_look(
    case: &Case<'_>,
    observed: &Observed,
    progress: &Progress,
    guest: &Guest,
    now: Timestamp,
) -> Option<Duration> {
    let retry = (progress.attempts.next_at > now && !progress.attempts.gave_up)
        .then(|| progress.attempts.next_at.since(now));
    let booting = progress.steps.iter().rfind(|(name, _)| name == crate::domain::progress::STEP_STARTED);
    let since = booting.map_or(Duration::MAX, |(_, at)| now.since(*at));
    let waits = match observed.power() {
        Some(Power::Running) if case.spec.guest_agent && !guest.agent_answered => true,
        Some(Power::Running) => guest.addresses.is_empty() && since < BOOT_LIMIT,
        _ => false,
    };
    let poll = waits.then_some(if since < BOOT_LIMIT { BOOT_POLL } else { SLOW_POLL });
    retry.into_iter().chain(poll).min()
}

/// Why a visit ends before it begins.
enum Stop {
    Refused(Box<(VmRow, Cause, Progress)>, Refusal),
    Unavailable(String),
}
