//! How far the host came with one intent. Kept beside it, so that a restart of the process goes on where it was.

use super::action::Action;
use super::attempts::{Attempts, Patience, Severity};
use super::drift::{Drift, DriftKind};
use super::held::{Held, no_room};
use super::observed::{Domain, Files, Observed, Ours, Power, booted_since};
use super::policy::Policy;
use super::spec::{Intent, Wanted};
use kernel::{Refusal, Timestamp};

/// The image's files are in the cache.
pub const STEP_IMAGE: &str = "image";
/// The VM's disks exist.
pub const STEP_DISKS: &str = "disks";
/// The hypervisor knows the VM.
pub const STEP_DEFINED: &str = "defined";
/// The guest began to boot.
pub const STEP_STARTED: &str = "started";
/// The guest's agent answered.
pub const STEP_AGENT: &str = "agent";

/// A reboot that was asked for and has not been seen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebootAsked {
    /// When.
    pub at: Timestamp,
    /// [`Ours::boot`] at that moment.
    pub boot: u64,
}

/// A guest that was held and was let go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// When.
    pub at: Timestamp,
    /// It has run since for as long as shows that it can.
    pub settled: bool,
}

/// What was done and seen so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// What was established for this intent: leaving it is drift, not work left to do.
    pub reached: Option<Wanted>,
    /// The guest ended and is not started again until a new intent says so.
    pub adopted: bool,
    /// When the guest was asked to shut down.
    pub stop_asked_at: Option<Timestamp>,
    /// Reboots done since the VM was created on this host.
    pub reboots_done: u64,
    /// The reboot that is under way.
    pub reboot_asked: Option<RebootAsked>,
    /// [`Ours::boot`] as it was last seen of a guest that runs; `None`: the next look does not tell whether it booted since.
    pub boot: Option<u64>,
    /// The guest was held by itself or for want of room and was let go on; forgotten once it has run for a while.
    pub resumed: Option<Resumed>,
    /// Failures in a row.
    pub attempts: Attempts,
    /// Why the last action failed; cleared by success.
    pub failure: Option<Refusal>,
    /// How often the guest was started again without having run for long.
    pub restarts: u32,
    /// When the guest was last started.
    pub started_at: Option<Timestamp>,
    /// Named moments, in the order they came.
    pub steps: Vec<(String, Timestamp)>,
}

impl Progress {
    /// What remains of the progress when a newer intent arrives; `same_owner` = its generation is the same.
    pub fn for_new_intent(&self, same_owner: bool) -> Self {
        if !same_owner {
            return Self::default();
        }
        Self {
            reboots_done: self.reboots_done,
            boot: self.boot,
            started_at: self.started_at,
            steps: self.steps.clone(),
            ..Self::default()
        }
    }

    /// The VM's disks were made, and not taken away since.
    pub fn made_disks(&self) -> bool {
        self.steps.iter().any(|(name, _)| name == STEP_DISKS)
    }

    /// Notes an action that is about to be tried. True: it must be kept first, because done twice it would happen twice.
    pub fn about_to(&mut self, action: Action, before: Option<&Ours>, now: Timestamp) -> bool {
        let once = matches!(action, Action::Reboot | Action::Reset);
        if once {
            self.reboot_asked = Some(RebootAsked { at: now, boot: before.map_or(0, |o| o.boot) });
        }
        once
    }

    /// Takes back [`Self::about_to`], unless the action may have happened.
    pub fn did_not(&mut self, action: Action, severity: Severity) {
        if matches!(action, Action::Reboot | Action::Reset) && severity != Severity::Host {
            self.reboot_asked = None;
        }
    }

    /// Notes an action that succeeded. `before` is what was observed before it.
    pub fn did(&mut self, action: Action, intent: &Intent, before: Option<&Ours>, now: Timestamp) {
        match action {
            Action::FetchImage => self.step(STEP_IMAGE, now),
            Action::PrepareDisks | Action::TakeBack => self.step(STEP_DISKS, now),
            Action::Define => self.step(STEP_DEFINED, now),
            Action::Start => {
                let restarted = self.reached == Some(intent.wanted);
                self.restarts = if restarted { self.restarts.saturating_add(1) } else { 0 };
                self.started_at = Some(now);
                // a fresh boot is all that a pending reboot asked for
                self.reboots_done = intent.reboot_counter;
                self.reboot_asked = None;
                self.boot = None;
                // one that is to be paused is not there yet
                if intent.wanted == Wanted::Running {
                    self.reached = Some(Wanted::Running);
                }
                self.boots_anew(now);
            }
            // asked again: the time that it has runs since the first
            Action::Shutdown if self.stop_asked_at.is_some() => self.resumed = None,
            Action::Shutdown => self.stop_asked_at = Some(now),
            Action::Reboot => {
                self.reboot_asked = Some(RebootAsked { at: now, boot: before.map_or(0, |o| o.boot) })
            }
            Action::Reset => self.rebooted(intent, now),
            Action::Resume => {
                let power = before.map(|ours| ours.power);
                if matches!(power, Some(Power::Paused(Held::IoError | Held::Suspended))) {
                    self.resumed = Some(Resumed { at: now, settled: false });
                }
            }
            Action::Destroy | Action::Pause | Action::Undefine | Action::Quarantine | Action::RemoveFiles => {
            }
        }
    }

    /// Notes what was seen after the actions (or without any). Answers what the guest did by itself that leaves it as it
    /// should be: it is said, and nothing is to be done.
    pub fn note(
        &mut self,
        intent: &Intent,
        observed: &Observed,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<Drift> {
        if observed.power().is_none_or(|power| power.ended().is_some()) {
            self.stop_asked_at = None;
        } else {
            self.adopted = false;
        }
        self.note_held(intent, observed, policy, now);
        let rebooted = self.note_boot(intent, observed, policy, now);
        if let (Some(asked), Some(ours)) = (self.reboot_asked, observed.ours()) {
            match booted_since(asked.boot, ours.boot) {
                Some(true) => self.rebooted(intent, now),
                Some(false) => {}
                // not seen is not done: it is waited for from here on, and enforced at its time
                None => self.reboot_asked = Some(RebootAsked { boot: ours.boot, ..asked }),
            }
        }
        let stable = self.started_at.is_some_and(|at| now.since(at) >= policy.stable_after);
        if stable && observed.power() == Some(Power::Running) {
            self.restarts = 0;
        }
        // what an older ownership left here is not what was wanted now
        let current = observed.ours().is_none_or(|ours| ours.generation == intent.key.generation);
        if current && fulfils(intent.wanted, observed) {
            self.reached = Some(intent.wanted);
        }
        // disks that were to go are not missed by an order that wants the VM again
        if intent.wanted == Wanted::Absent && observed.files == Files::Missing {
            self.steps.retain(|(name, _)| name != STEP_DISKS);
        }
        rebooted
    }

    /// A guest that is held for want of room, and how it fares after it was let go on.
    fn note_held(&mut self, intent: &Intent, observed: &Observed, policy: &Policy, now: Timestamp) {
        let power = observed.power();
        let Some(resumed) = self.resumed else {
            if intent.wanted == Wanted::Running
                && power == Some(Power::Paused(Held::IoError))
                && self.failure.is_none()
            {
                self.failure = Some(no_room());
            }
            return;
        };
        let since = now.since(resumed.at);
        match power {
            Some(Power::Paused(Held::IoError)) => {
                self.resumed = None;
                self.failed(Severity::Host, no_room(), intent, &policy.patience, now);
            }
            Some(Power::Running) if since < policy.stable_after => {
                self.resumed = Some(Resumed { settled: since >= policy.settle, ..resumed });
            }
            // it takes a moment to wake
            Some(Power::Paused(Held::Suspended)) if since < policy.settle => {}
            _ => self.resumed = None,
        }
    }

    /// Whether the guest began to boot again and neither was asked to nor was started by us. One that does so again and
    /// again is heard ever more seldom.
    fn note_boot(
        &mut self,
        intent: &Intent,
        observed: &Observed,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<Drift> {
        let current = observed
            .ours()
            .filter(|ours| ours.generation == intent.key.generation && ours.power.ended().is_none());
        let Some(ours) = current else {
            self.boot = None;
            return None;
        };
        let known = self.boot.replace(ours.boot);
        let began = known.is_some_and(|known| booted_since(known, ours.boot) == Some(true));
        if !began || self.reboot_asked.is_some() || intent.wanted != Wanted::Running {
            return None;
        }
        let last = self.steps.iter().rfind(|(name, _)| name == STEP_STARTED).map(|(_, at)| *at);
        let ordered = last.is_some_and(|at| now < at.after(policy.settle));
        let too_often = self.started_at.is_some_and(|at| now < at.after(policy.restart_delay(self.restarts)));
        if ordered || too_often {
            return None;
        }
        self.restarts = self.restarts.saturating_add(1);
        self.started_at = Some(now);
        self.boots_anew(now);
        let detail = "the guest began to boot again without being asked to".to_owned();
        Some(Drift { kind: DriftKind::Rebooted, adopt: false, detail })
    }

    /// Notes that everything that was to be done was done. A guest that was held a short while ago is soon held again: the
    /// pauses go on growing.
    pub fn succeeded(&mut self) {
        let waited = self.resumed.map_or(0, |_| self.attempts.waited);
        self.attempts = Attempts { waited, ..Attempts::default() };
        self.failure = None;
    }

    /// Whether a guest that was let go on can go on is not known yet: what was said of it still holds.
    pub fn is_settling(&self) -> bool {
        self.resumed.is_some_and(|resumed| !resumed.settled)
    }

    /// Notes an action that failed.
    pub fn failed(
        &mut self,
        severity: Severity,
        why: Refusal,
        intent: &Intent,
        patience: &Patience,
        now: Timestamp,
    ) {
        let tireless = intent.wanted == Wanted::Absent;
        self.attempts = self.attempts.after_failure(severity, patience, tireless, now);
        // what holds for the host is said once, in the words in which it was met first
        let known = self.failure.as_ref().is_some_and(|known| known.code == why.code);
        if severity != Severity::Host || !known {
            self.failure = Some(why);
        }
    }

    /// What failed last is of the whole host and is waited out.
    pub fn waits_for_host(&self) -> bool {
        let held_back = self.attempts.waited > 0 || self.is_settling();
        self.failure.is_some() && held_back && !self.attempts.gave_up
    }

    /// Notes that the guest's agent answered.
    pub fn agent_answered(&mut self, now: Timestamp) {
        if !self.steps.iter().any(|(name, _)| name == STEP_AGENT) {
            self.step(STEP_AGENT, now);
        }
    }

    fn rebooted(&mut self, intent: &Intent, now: Timestamp) {
        self.reboots_done = intent.reboot_counter;
        self.reboot_asked = None;
        self.boots_anew(now);
    }

    fn boots_anew(&mut self, now: Timestamp) {
        self.steps.retain(|(name, _)| name != STEP_AGENT);
        self.step(STEP_STARTED, now);
    }

    fn step(&mut self, name: &str, now: Timestamp) {
        self.steps.retain(|(known, _)| known != name);
        self.steps.push((name.to_owned(), now));
    }
}

/// What is seen is what is wanted, as far as power goes.
pub fn fulfils(wanted: Wanted, observed: &Observed) -> bool {
    match (wanted, &observed.domain, observed.power()) {
        (Wanted::Running, _, Some(Power::Running)) => true,
        (Wanted::Paused, _, Some(Power::Paused(_))) => true,
        (Wanted::Stopped, _, Some(Power::Off(_))) => true,
        (Wanted::Absent, Domain::Missing | Domain::Foreign { .. }, _) => observed.files == Files::Missing,
        _ => false,
    }
}
