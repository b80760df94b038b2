//! What a host says of a VM.

use super::held::Held;
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

/// Why a VM is not as it was ordered to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is held: the host had no room for what the guest wrote.
    IoError,
    /// The guest suspended itself.
    GuestSuspended,
    /// Somebody paused it.
    PausedByHand,
    /// The hypervisor holds it while it works with it.
    HypervisorBusy,
    /// The guest shut itself down.
    GuestShutDown,
    /// The guest crashed, or the hypervisor under it.
    GuestCrashed,
    /// Somebody took its power, or its host went down.
    PowerTaken,
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
    /// Why it is not as ordered; `None` when it is, or when nothing else tells of it.
    pub reason: Option<Reason>,
    /// With a reason, the hypervisor's own words for it: "paused (I/O error)".
    pub words: &'static str,
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
        let reason = reason(intent, observed, progress);
        let words = match reason {
            None => "",
            Some(Reason::IoError) => Held::IoError.words(),
            Some(_) => observed.ours().map_or("", |ours| ours.words),
        };
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
            reason,
            words,
        }
    }
}

fn said_power(intent: &Intent, observed: &Observed, progress: &Progress) -> SaidPower {
    match (&observed.domain, observed.power()) {
        (_, Some(Power::Running)) if is_held_again(progress) => SaidPower::Paused,
        (_, Some(Power::Running)) => SaidPower::Running,
        // stopped means that the guest chose to end, or was meant to
        (_, Some(Power::Off(Ended::Crashed | Ended::Killed) | Power::Paused(Held::Crashed)))
            if left(intent, progress) =>
        {
            SaidPower::Crashed
        }
        (_, Some(Power::Paused(_))) => SaidPower::Paused,
        (_, Some(Power::Off(_))) => SaidPower::Stopped,
        (Domain::Missing | Domain::Foreign { .. } | Domain::Ours(_), None) => match observed.files {
            Files::Missing => SaidPower::Absent,
            Files::Partial | Files::Lost { .. } | Files::Ready { .. } => SaidPower::Stopped,
        },
    }
}

/// A guest that was let go on after it was held for want of room is said to run once it is seen that it can.
fn is_held_again(progress: &Progress) -> bool {
    progress.is_settling() && progress.failure.is_some()
}

/// It was in memory as ordered, and ended.
fn left(intent: &Intent, progress: &Progress) -> bool {
    let should_be_active = matches!(intent.wanted, Wanted::Running | Wanted::Paused);
    should_be_active && (progress.reached == Some(intent.wanted) || progress.adopted)
}

fn reason(intent: &Intent, observed: &Observed, progress: &Progress) -> Option<Reason> {
    let left = left(intent, progress);
    match observed.power()? {
        Power::Running if is_held_again(progress) => Some(Reason::IoError),
        Power::Running | Power::Off(Ended::Never) => None,
        Power::Paused(Held::IoError) => Some(Reason::IoError),
        Power::Paused(Held::Suspended) => Some(Reason::GuestSuspended),
        Power::Paused(Held::Busy) => Some(Reason::HypervisorBusy),
        Power::Paused(Held::ByHand) => (intent.wanted == Wanted::Running).then_some(Reason::PausedByHand),
        Power::Paused(Held::Crashed) | Power::Off(Ended::Crashed) => left.then_some(Reason::GuestCrashed),
        Power::Off(Ended::Killed) => left.then_some(Reason::PowerTaken),
        Power::Off(Ended::ByGuest) => left.then_some(Reason::GuestShutDown),
    }
}
