//! One visit to one VM: observe, plan, act, note, say.

mod act;
mod guest;
mod say;

use super::books::Books;
use crate::hosts::{Backend, Hosts};
use crate::metrics::Metrics;
use crate::store::vms::VmRow;
use crate::store::{VmKey, vms};
use crate::translate::outgoing::DriftEnd;
use crate::translate::{incoming, outgoing};
use ::store::StoreError;
use bus::{Cause, Desk};
use chassis::Sealer;
use contracts::host_driver::v1 as wire;
use host_driver_adapters::Fault;
use host_driver_domain::progress::STEP_DISKS;
use host_driver_domain::{
    Action, Domain, Drift, Files, Intent, Machine, Observed, Plan, Policy, Progress, Quarantined, Severity,
    VmSpec, Wanted, plan,
};
use kernel::{HostId, Refusal, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::Instrument;

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
    /// Wakes who says whether hypervisors can be reached and what holds for the hosts.
    pub doubt: Arc<Notify>,
    /// Wakes who looks for VMs that nobody ordered.
    pub strays: Arc<Notify>,
    books: Books,
    /// Since when a host cannot be looked at.
    blind: Mutex<BTreeMap<HostId, Instant>>,
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
        doubt: Arc<Notify>,
    ) -> Self {
        let books = Books::new(desk.clone(), metrics.clone());
        Self {
            desk,
            hosts,
            sealer,
            policy,
            metrics,
            doubt,
            strays: Arc::default(),
            books,
            blind: Mutex::default(),
            misses: Mutex::default(),
        }
    }

    /// Looks at a VM and does what is to be done. Returns after how long it needs another look by itself.
    pub async fn visit(&self, key: VmKey) -> Result<Option<Duration>, StoreError> {
        let mut reader = self.desk.store().reader().acquire().await.map_err(StoreError::from)?;
        let Some((row, worked)) = vms::with_work(&mut reader, key).await? else { return Ok(None) };
        drop(reader);
        if outgoing::came_to_its_end(&row) {
            return Ok(self.look_for_a_stray(key).await);
        }
        // a rebuilt table has orders without work in hand: what was said tells how far it came
        let (before, cause) = worked.unwrap_or_else(|| {
            (incoming::recalled(&row), Cause::own(crate::SERVICE.name).for_tenant(&row.tenant))
        });
        let case = match self.case(row, cause, before).await {
            Ok(case) => case,
            Err(Stop::Refused(known, refusal)) => return self.refuse(*known, refusal).await,
            Err(Stop::Away(known, refusal)) => return self.away(*known, refusal).await,
            Err(Stop::Unavailable(why)) => return Ok(Some(self.unavailable(key.host, &why))),
        };
        let (now, mut progress) = (self.desk.clock().now(), case.before.clone());
        let observed = match self.observe(&case).await {
            Ok(observed) => observed,
            Err(fault) => return Ok(Some(self.unavailable(key.host, &fault.to_string()))),
        };
        self.blind().remove(&key.host);
        let by_itself = progress.note(&case.intent, &observed, &self.policy, now);
        let plan = plan(&case.intent, &observed, &progress, &self.policy, now);
        if plan == Plan::default() && progress.attempts.gave_up {
            return self.say(&case, &observed, progress, News::default()).await;
        }
        // a look that leads to nothing is no span: what it says belongs to the trace that asked for the VM
        let mut span = tracing::Span::none();
        if !plan.actions.is_empty() {
            let names: Vec<&str> = plan.actions.iter().map(|a| a.name()).collect();
            span = tracing::info_span!("vm.act", instance = %key.instance, actions = names.join(" "));
            bus::continue_trace(&span, &case.cause.traceparent);
        }
        self.follow(&case, observed, progress, (plan, by_itself), now).instrument(span).await
    }

    /// Everything that is known before the world is asked.
    async fn case(&self, row: VmRow, cause: Cause, before: Progress) -> Result<Case<'_>, Stop> {
        let goes = row.power == wire::VmPower::Absent.as_str_name();
        let spec = match incoming::spec(&row.spec) {
            Ok(spec) => spec,
            // what cannot be made can still be taken away
            Err(_) if goes => VmSpec::nameless(row.key.instance, &row.tenant),
            Err(refusal) => return Err(Stop::Refused(Box::new((row, cause, before)), refusal)),
        };
        let host = self.hosts.get(row.key.host);
        let Some(backend) = host.and_then(|host| host.backend(spec.driver)) else {
            let driver = spec.driver.map_or("any", |kind| kind.name());
            // what was never made here can be made elsewhere; what was waits for its driver
            return Err(if host.is_some() && !outgoing::was_made(&row) {
                let why = format!("this host does not run the driver {driver}");
                Stop::Refused(Box::new((row, cause, before)), Refusal::new("DRIVER_NOT_HERE", why))
            } else {
                let why = format!(
                    "the host-driver was started without the driver {driver} of this VM, or without its host: nobody can \
                     look at it until it is started as before"
                );
                Stop::Away(Box::new((row, cause, before)), Refusal::new("DRIVER_NOT_HERE", why))
            });
        };
        let machine = Machine::of(&spec, row.intent.generation, backend.disks.paths(&spec));
        let definition = match backend.hypervisor.fingerprint(&machine).await {
            Ok(definition) => definition,
            // what cannot be defined can still be taken away
            Err(Fault::Permanent(_)) if goes => String::new(),
            Err(Fault::Permanent(refusal)) => {
                return Err(Stop::Refused(Box::new((row, cause, before)), refusal));
            }
            Err(fault) => return Err(Stop::Unavailable(fault.to_string())),
        };
        let intent = incoming::intent(&row, spec.restart_policy, definition);
        Ok(Case { row, cause, before, spec, intent, machine, backend })
    }

    async fn observe(&self, case: &Case<'_>) -> Result<Observed, Fault> {
        let instance = case.spec.instance;
        let domain = case.backend.hypervisor.observe(instance).await?;
        let mut files = case.backend.disks.observe(&case.spec).await?;
        let ran = files != Files::Missing && case.backend.disks.has_run(instance).await?;
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
        Ok(Observed { domain, files, ran })
    }

    /// A hypervisor did not answer: the VM is looked at again, the later the longer this lasts, and the hosts are asked
    /// how they are.
    fn unavailable(&self, host: HostId, why: &str) -> Duration {
        tracing::debug!(why, "a vm cannot be looked at");
        self.doubt.notify_one();
        let since = *self.blind().entry(host).or_insert_with(Instant::now);
        let patience = &self.policy.patience;
        (since.elapsed() / 2).clamp(patience.first_delay, patience.longest_wait)
    }

    fn blind(&self) -> MutexGuard<'_, BTreeMap<HostId, Instant>> {
        self.blind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened to a VM that was taken away as ordered. What is there now came later: no order speaks of it.
    async fn look_for_a_stray(&self, key: VmKey) -> Option<Duration> {
        for (_, backend) in self.hosts.get(key.host).into_iter().flat_map(|host| &host.backends) {
            match backend.hypervisor.observe(key.instance).await {
                Ok(Domain::Ours(_)) => self.strays.notify_one(),
                Ok(Domain::Missing | Domain::Foreign { .. }) => {}
                Err(fault) => return Some(self.unavailable(key.host, &fault.to_string())),
            }
        }
        None
    }

    /// Does what was planned and says what came of it, and what the guest did by itself.
    async fn follow(
        &self,
        case: &Case<'_>,
        mut observed: Observed,
        mut progress: Progress,
        (plan, mut by_itself): (Plan, Option<Drift>),
        now: Timestamp,
    ) -> Result<Option<Duration>, StoreError> {
        progress.adopted |= plan.adopt;
        let (mut failed, mut news) = (false, News::default());
        for action in &plan.actions {
            if progress.about_to(*action, observed.ours(), self.desk.clock().now())
                && !self.remember(case, &progress).await?
            {
                return Ok(Some(AT_ONCE));
            }
            let done = self.act(case, &observed, *action).await;
            let at = self.desk.clock().now();
            match done {
                Ok(put_aside) => {
                    progress.did(*action, &case.intent, observed.ours(), at);
                    news.put_aside.extend(put_aside);
                    news.taken_back |= *action == Action::TakeBack;
                }
                Err(fault) => {
                    self.failed(case, *action, &fault, &mut progress, at);
                    failed = true;
                    break;
                }
            }
        }
        if !plan.actions.is_empty() {
            match self.observe(case).await {
                Ok(after) => observed = after,
                Err(fault) => return Ok(Some(self.unavailable(case.row.key.host, &fault.to_string()))),
            }
            let since = progress.note(&case.intent, &observed, &self.policy, self.desk.clock().now());
            by_itself = by_itself.or(since);
        }
        if let Some(refusal) = plan.refusal {
            let patience = &self.policy.patience;
            progress.failed(Severity::Permanent, refusal, &case.intent, patience, now);
        } else if !failed && now >= progress.attempts.next_at && !progress.is_settling() {
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
        let left = plan.drift.as_ref().zip(end).or(by_itself.as_ref().zip(Some(DriftEnd::Reported)));
        news.drifted = left.map(|(drift, end)| outgoing::drifted(&case.row, drift, end));
        let next = self.say(case, &observed, progress, news).await?;
        let planned = plan.look_again.map(|at| at.since(self.desk.clock().now()));
        Ok(next.into_iter().chain(planned).min())
    }

    /// Notes an action that failed. What holds for the host is logged when it begins, not with every try.
    fn failed(&self, case: &Case<'_>, action: Action, fault: &Fault, progress: &mut Progress, at: Timestamp) {
        let (severity, refusal) = (fault.severity(), fault.refusal(action.name()));
        let known = progress.failure.as_ref().is_some_and(|known| known.code == refusal.code);
        let instance = case.spec.instance;
        if severity == Severity::Host && known {
            tracing::debug!(%instance, action = action.name(), %fault, "the host still keeps it from being done");
        } else {
            tracing::warn!(%instance, action = action.name(), %fault, "action failed");
        }
        if severity == Severity::Host {
            self.doubt.notify_one();
        }
        progress.did_not(action, severity);
        progress.failed(severity, refusal, &case.intent, &self.policy.patience, at);
    }
}

/// What a visit has to tell besides what it saw.
#[derive(Default)]
struct News {
    drifted: Option<wire::VmDrifted>,
    /// Files that were put aside.
    put_aside: Vec<Quarantined>,
    /// Files were taken back from the quarantine.
    taken_back: bool,
}

/// Why a visit ends before it begins.
enum Stop {
    Refused(Box<(VmRow, Cause, Progress)>, Refusal),
    Away(Box<(VmRow, Cause, Progress)>, Refusal),
    Unavailable(String),
}
