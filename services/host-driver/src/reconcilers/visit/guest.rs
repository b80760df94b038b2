//! What the guest itself shows, and when to ask it again.

use super::{Case, Visitor};
use crate::store::VmKey;
use contracts::host_driver::v1 as wire;
use host_driver_domain::observation::Guest;
use host_driver_domain::{Observed, Power, Progress};
use kernel::Timestamp;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

/// While a guest boots it is asked this often.
const BOOT_POLL: Duration = Duration::from_millis(500);
/// A guest that did not answer for so long is asked less often.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const SLOW_POLL: Duration = Duration::from_secs(5);
/// An agent that answered must fail to so often in a row before it is said to be silent.
const MISSES: u32 = 3;

impl Visitor {
    /// What the guest itself shows. An agent that answered is given some patience before it is called silent.
    pub(super) async fn guest(
        &self,
        case: &Case<'_>,
        observed: &Observed,
        progress: &Progress,
        last: Option<&wire::VmObservation>,
    ) -> Guest {
        let fresh = progress.started_at.is_some() && progress.started_at != case.before.started_at;
        let (key, instance, hypervisor) = (case.row.key, case.spec.instance, &case.backend.hypervisor);
        let answered_before = last.is_some_and(|l| l.agent_answered)
            && progress.steps.iter().any(|(name, _)| name == host_driver_domain::progress::STEP_AGENT);
        let known =
            |last: Option<&wire::VmObservation>| last.map(|l| l.addresses.clone()).unwrap_or_default();
        if observed.power() != Some(Power::Running) {
            self.misses().remove(&key);
            // a held guest is as it was
            return Guest { agent_answered: answered_before, addresses: known(last) };
        }
        if fresh {
            // nobody boots in no time: not asking now makes it heard earlier that it runs
            self.misses().remove(&key);
            return Guest::default();
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
        // an address that was given to it is known before its agent answers, and also when it never will
        let ask_agent = agent_answered || !case.spec.guest_agent;
        let addresses = hypervisor.addresses(instance, ask_agent).await.unwrap_or_else(|_| known(last));
        Guest { agent_answered, addresses }
    }

    fn misses(&self) -> std::sync::MutexGuard<'_, BTreeMap<VmKey, u32>> {
        self.misses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a VM needs a look by itself: a guest that boots is waited for.
pub(super) fn next_look(
    case: &Case<'_>,
    observed: &Observed,
    progress: &Progress,
    guest: &Guest,
    now: Timestamp,
) -> Option<Duration> {
    let retry = (progress.attempts.next_at > now && !progress.attempts.gave_up)
        .then(|| progress.attempts.next_at.since(now));
    let booting = progress.steps.iter().rfind(|(name, _)| name == host_driver_domain::progress::STEP_STARTED);
    let since = booting.map_or(Duration::MAX, |(_, at)| now.since(*at));
    let waits = match observed.power() {
        Some(Power::Running) if case.spec.guest_agent && !guest.agent_answered => true,
        Some(Power::Running) => guest.addresses.is_empty() && since < BOOT_LIMIT,
        _ => false,
    };
    let poll = waits.then_some(if since < BOOT_LIMIT { BOOT_POLL } else { SLOW_POLL });
    retry.into_iter().chain(poll).min()
}
