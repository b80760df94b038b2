//! What a host says of a VM.

use super::observed::{Domain, Ended, Files, Observed, Power};
use super::progress::Progress;
use super::spec::{Intent, IntentKey, Wanted};
use kernel::{Refusal, Timestamp};

/// What the VM does, in the words of the observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaidPower {
    /// The guest runs.
    Running,
    /// It exists and is not in memory.
    Stopped,
    /// In memory, held.
    Paused,
    /// Neither defined nor on disk.
    Absent,
    /// Ended without being asked to.
    Crashed,
    /// Nobody could look.
    Unknown,
}

/// One observation; equal to the one before means that there is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Of the intent that was being followed.
    pub followed: IntentKey,
    /// What the VM does.
    pub power: SaidPower,
    /// The guest's agent answered since the guest began to boot.
    pub agent_answered: bool,
    /// The guest's addresses, sorted.
    pub addresses: Vec<String>,
    /// Reboots done since the VM was created on this host.
    pub reboots_done: u64,
    /// Set while the last action failed.
    pub failure: Option<Refusal>,
    /// No further attempt without a new intent.
    pub gave_up: bool,
    /// Named moments.
    pub steps: Vec<(String, Timestamp)>,
    /// The hypervisor ran it on the files it has here, or may have.
    pub has_run: bool,
    /// The failure is of the whole host and is waited out.
    pub waits_for_host: bool,
}

/// What the guest itself showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guest {
    /// Its agent answered.
    pub agent_answered: bool,
    /// Its addresses.
    pub addresses: Vec<String>,
}

impl Observation {
    /// What is to be said of a VM.
    pub fn of(intent: &Intent, observed: &Observed, progress: &Progress, guest: Guest) -> Self {
        let mut addresses = guest.addresses;
        addresses.sort();
        addresses.dedup();
        Self {
            followed: intent.key,
            power: said_power(intent, observed, progress),
            agent_answered: guest.agent_answered && observed.is_active(),
            addresses: if observed.is_active() { addresses } else { Vec::new() },
            reboots_done: progress.reboots_done,
            failure: progress.failure.clone(),
            gave_up: progress.attempts.gave_up,
            steps: progress.steps.clone(),
            has_run: observed.ran || observed.is_active(),
            waits_for_host: progress.waits_for_host(),
        }
    }
}

fn said_power(intent: &Intent, observed: &Observed, progress: &Progress) -> SaidPower {
    match (&observed.domain, observed.power()) {
        (_, Some(Power::Running)) => SaidPower::Running,
        (_, Some(Power::Paused)) => SaidPower::Paused,
        // stopped means that the guest chose to end, or was meant to
        (_, Some(Power::Off(Ended::Crashed | Ended::Killed))) if crashed(intent, progress) => {
            SaidPower::Crashed
        }
        (_, Some(Power::Off(_))) => SaidPower::Stopped,
        (Domain::Missing | Domain::Foreign { .. } | Domain::Ours(_), None) => match observed.files {
            Files::Missing => SaidPower::Absent,
            Files::Partial | Files::Lost { .. } | Files::Ready { .. } => SaidPower::Stopped,
        },
    }
}

fn crashed(intent: &Intent, progress: &Progress) -> bool {
    let should_be_active = matches!(intent.wanted, Wanted::Running | Wanted::Paused);
    should_be_active && (progress.reached == Some(intent.wanted) || progress.adopted)
}
