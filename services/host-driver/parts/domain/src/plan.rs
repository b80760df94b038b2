//! From what is wanted and what is there to what is to be done: one pure function.

use super::action::Action;
use super::drift::{Drift, DriftKind};
use super::held::Held;
use super::observed::{Domain, Ended, Files, Observed, Ours, Power, booted_since};
use super::policy::Policy;
use super::progress::Progress;
use super::spec::{Disposal, Intent, RestartPolicy, Wanted};
use kernel::{Refusal, Timestamp};

/// What is said of a disk that was made and is not there any more.
pub const DISK_LOST: &str = "the VM's disk was here and is gone; it is not replaced by an empty one";

/// What is said of a deletion that would take the disks from under a VM that runs.
pub const DISKS_IN_USE: &str = "the hypervisor runs a VM of this name that is not ours, perhaps on these disks; they are \
                                removed once it is shut down or removed";

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In this order; stop at the first that fails.
    pub actions: Vec<Action>,
    /// Reality left the intent.
    pub drift: Option<Drift>,
    /// The guest ended and stays ended.
    pub adopt: bool,
    /// Look again then at the latest; `None` = nothing is pending.
    pub look_again: Option<Timestamp>,
    /// The intent cannot be followed.
    pub refusal: Option<Refusal>,
}

impl Plan {
    fn wait(until: Timestamp) -> Self {
        Self { look_again: Some(until), ..Self::default() }
    }

    fn act(actions: Vec<Action>) -> Self {
        Self { actions, ..Self::default() }
    }
}

/// What to do about one VM. Pure: the same input gives the same plan; a VM that is as wanted gives an empty one.
pub fn plan(
    intent: &Intent,
    observed: &Observed,
    progress: &Progress,
    policy: &Policy,
    now: Timestamp,
) -> Plan {
    if let Some(refusal) = refuse(intent, observed) {
        return Plan { refusal: Some(refusal), ..Plan::default() };
    }
    if progress.attempts.gave_up {
        return Plan::default();
    }
    if now < progress.attempts.next_at {
        return Plan::wait(progress.attempts.next_at);
    }
    if let Some(resumed) = progress.resumed.filter(|resumed| !resumed.settled) {
        return Plan::wait(resumed.at.after(policy.settle));
    }
    let drift = detect_drift(intent, observed, progress);
    if intent.wanted == Wanted::Absent && held_by_somebody_else(observed) {
        let refusal = Refusal::new("DISKS_IN_USE", DISKS_IN_USE);
        return Plan { refusal: Some(refusal), ..Plan::default() };
    }
    if intent.wanted == Wanted::Absent {
        return Plan { drift, ..clean_up(intent, observed) };
    }

    let (mut actions, domain, files) = set_stale_aside(intent, observed);
    let rest = match domain {
        None => Plan::act(create(intent, progress, files)),
        Some(ours) => match (effective_wanted(intent, progress, ours), ours.power) {
            (Wanted::Running | Wanted::Paused, Power::Off(ended)) => {
                start(intent, progress, policy, ours, files, ended, now)
            }
            (Wanted::Running | Wanted::Paused, Power::Paused(Held::Crashed)) => {
                let again = start(intent, progress, policy, ours, files, Ended::Crashed, now);
                after_its_power_is_taken(again)
            }
            (Wanted::Running, Power::Running) => reboot_if_asked(intent, progress, ours, now),
            (Wanted::Running, Power::Paused(held)) => go_on(intent, progress, policy, ours, held, now),
            (Wanted::Paused, Power::Running) => Plan::act(with_definition(intent, ours, vec![Action::Pause])),
            (Wanted::Paused, Power::Paused(_)) => Plan::act(with_definition(intent, ours, vec![])),
            (Wanted::Stopped, Power::Off(_)) => {
                Plan::act(with_files(intent, files, with_definition(intent, ours, vec![])))
            }
            (Wanted::Stopped, power) => stop(intent, progress, policy, power, now),
            (Wanted::Absent, _) => Plan::default(),
        },
    };
    // a VM that runs on, or is to go, needs no new disk: only what would make one is refused
    if matches!(files, Files::Lost { .. }) && rest.actions.contains(&Action::PrepareDisks) {
        let refusal = Refusal::new("DISK_LOST", DISK_LOST);
        return Plan { refusal: Some(refusal), ..Plan::default() };
    }
    actions.extend(rest.actions);
    // the decision not to start again is what the drift comes to
    let drift = drift.map(|d| Drift { adopt: rest.adopt, ..d });
    Plan { actions, drift, ..rest }
}

fn refuse(intent: &Intent, observed: &Observed) -> Option<Refusal> {
    let newest_here = [
        observed.ours().map(|o| o.generation),
        match observed.files {
            Files::Ready { generation } | Files::Lost { generation } => Some(generation),
            _ => None,
        },
    ];
    if let Some(newer) = newest_here.into_iter().flatten().find(|g| *g > intent.key.generation) {
        return Some(Refusal::new(
            "NEWER_GENERATION_HERE",
            format!(
                "this host holds generation {newer} of the VM, the order is of generation {}",
                intent.key.generation
            ),
        ));
    }
    if matches!(observed.domain, Domain::Foreign { .. }) && intent.wanted != Wanted::Absent {
        return Some(Refusal::new(
            "NAME_TAKEN",
            "the hypervisor has a VM of this name that is not ours; rename or remove it, then start the instance again",
        ));
    }
    None
}

/// Somebody redefined the VM without our mark, and it runs: it may write to the disks that are to go.
fn held_by_somebody_else(observed: &Observed) -> bool {
    observed.domain == Domain::Foreign { active: true } && observed.files != Files::Missing
}

/// Leaving what was established is drift; not having got there yet is work.
fn detect_drift(intent: &Intent, observed: &Observed, progress: &Progress) -> Option<Drift> {
    let with_words = |kind, detail: &str, words: &str| {
        let detail = if words.is_empty() { detail.to_owned() } else { format!("{detail}: {words}") };
        Some(Drift { kind, adopt: false, detail })
    };
    let drift = |kind, detail: &str| with_words(kind, detail, "");
    let ours = match &observed.domain {
        Domain::Ours(ours) if ours.generation < intent.key.generation => return None,
        Domain::Ours(ours) => ours,
        _ => {
            let existed =
                progress.reached.is_some_and(|r| r != Wanted::Absent) && intent.wanted != Wanted::Absent;
            return if existed {
                drift(DriftKind::Undefined, "the hypervisor no longer knows it")
            } else {
                None
            };
        }
    };
    let adopted = progress.adopted && ours.power.ended().is_some();
    match (progress.reached, ours.power) {
        (Some(Wanted::Running | Wanted::Paused), Power::Off(_) | Power::Paused(Held::Crashed))
            if !adopted =>
        {
            let detail = match ours.power.ended() {
                Some(Ended::ByGuest) => "the guest shut itself down",
                Some(Ended::Crashed) => "the guest crashed",
                Some(Ended::Killed | Ended::Never) | None => "its power was taken",
            };
            with_words(DriftKind::Stopped, detail, ours.words)
        }
        // once the guest was asked to stop, waiting for it is work, and the drift was said
        (Some(Wanted::Stopped), Power::Running | Power::Paused(_)) if progress.stop_asked_at.is_some() => {
            None
        }
        (Some(Wanted::Stopped | Wanted::Absent), Power::Running | Power::Paused(_)) => {
            drift(DriftKind::Running, "somebody started it")
        }
        // why a guest is held otherwise is said with what was seen of it
        (Some(Wanted::Running), Power::Paused(Held::ByHand)) => {
            with_words(DriftKind::Paused, "somebody paused it", ours.words)
        }
        (Some(Wanted::Paused), Power::Running) => drift(DriftKind::Paused, "somebody resumed it"),
        _ if !ours.persistent && intent.wanted != Wanted::Absent => {
            drift(DriftKind::Undefined, "the hypervisor would no longer know it once it is off")
        }
        _ if ours.actual != ours.marked && intent.wanted != Wanted::Absent => {
            drift(DriftKind::Redefined, "its definition is not the one that was made")
        }
        _ => None,
    }
}

/// Deletion does not ask the guest. Files that a VM may have run on are removed by an order to delete it alone.
fn clean_up(intent: &Intent, observed: &Observed) -> Plan {
    let mut actions = Vec::new();
    if observed.is_active() {
        actions.push(Action::Destroy);
    }
    if observed.ours().is_some() {
        actions.push(Action::Undefine);
    }
    if observed.files != Files::Missing {
        let ordered = intent.disposal == Disposal::Delete;
        actions.push(if ordered || !observed.ran { Action::RemoveFiles } else { Action::Quarantine });
    }
    Plan::act(actions)
}

/// What an older ownership left here must neither run nor be used.
fn set_stale_aside<'o>(intent: &Intent, observed: &'o Observed) -> (Vec<Action>, Option<&'o Ours>, Files) {
    let mut actions = Vec::new();
    let mut domain = observed.ours();
    let mut files = observed.files;
    if let Some(stale) = domain.filter(|o| o.generation < intent.key.generation) {
        if stale.power.is_active() {
            actions.push(Action::Destroy);
        }
        actions.push(Action::Undefine);
        domain = None;
    }
    if let Files::Ready { generation } | Files::Lost { generation } = files
        && generation < intent.key.generation
    {
        actions.push(if observed.ran { Action::Quarantine } else { Action::RemoveFiles });
        files = Files::Missing;
    }
    (actions, domain, files)
}

fn effective_wanted(intent: &Intent, progress: &Progress, ours: &Ours) -> Wanted {
    if progress.adopted && ours.power.ended().is_some() { Wanted::Stopped } else { intent.wanted }
}

fn with_files(intent: &Intent, files: Files, then: Vec<Action>) -> Vec<Action> {
    let mut actions = match files {
        Files::Ready { .. } => Vec::new(),
        // what is taken back has its disk; the rest is made again around it
        Files::Missing if intent.take_back.is_some() => {
            vec![Action::TakeBack, Action::FetchImage, Action::PrepareDisks]
        }
        Files::Missing | Files::Partial | Files::Lost { .. } => {
            vec![Action::FetchImage, Action::PrepareDisks]
        }
    };
    actions.extend(then);
    actions
}

fn with_definition(intent: &Intent, ours: &Ours, then: Vec<Action>) -> Vec<Action> {
    let as_made = ours.persistent
        && ours.actual == intent.definition
        && ours.marked == intent.definition
        && ours.generation == intent.key.generation;
    let mut actions = if as_made { Vec::new() } else { vec![Action::Define] };
    actions.extend(then);
    actions
}

/// From nothing.
fn create(intent: &Intent, progress: &Progress, files: Files) -> Vec<Action> {
    let mut actions = with_files(intent, files, vec![Action::Define]);
    match intent.wanted {
        _ if progress.adopted => {}
        Wanted::Running => actions.push(Action::Start),
        Wanted::Paused => actions.extend([Action::Start, Action::Pause]),
        Wanted::Stopped | Wanted::Absent => {}
    }
    actions
}

fn start(
    intent: &Intent,
    progress: &Progress,
    policy: &Policy,
    ours: &Ours,
    files: Files,
    ended: Ended,
    now: Timestamp,
) -> Plan {
    let ended_by_itself = progress.reached == Some(intent.wanted);
    if ended_by_itself {
        let again = match (intent.restart_policy, ended) {
            (RestartPolicy::Always, _) => true,
            (RestartPolicy::OnFailure, Ended::ByGuest) => false,
            (RestartPolicy::OnFailure, _) => true,
            (RestartPolicy::Never, _) => false,
        };
        if !again {
            return Plan { adopt: true, ..Plan::default() };
        }
        let not_before =
            progress.started_at.unwrap_or_default().after(policy.restart_delay(progress.restarts));
        if now < not_before {
            return Plan::wait(not_before);
        }
    }
    let mut actions = with_files(intent, files, with_definition(intent, ours, vec![Action::Start]));
    if intent.wanted == Wanted::Paused {
        actions.push(Action::Pause);
    }
    Plan::act(actions)
}

/// A guest that crashed and is kept in memory is taken out of it before it is started again.
fn after_its_power_is_taken(mut again: Plan) -> Plan {
    if !again.actions.is_empty() {
        again.actions.insert(0, Action::Destroy);
    }
    again
}

/// A guest that is held, and is to run.
fn go_on(
    intent: &Intent,
    progress: &Progress,
    policy: &Policy,
    ours: &Ours,
    held: Held,
    now: Timestamp,
) -> Plan {
    let shows_at = Some(now.after(policy.settle));
    match held {
        // the guest's own wish, until somebody asks for it to go on
        Held::Suspended if progress.reached == Some(Wanted::Running) => {
            Plan::act(with_definition(intent, ours, vec![]))
        }
        // at once the first time, then with growing pauses, or when the host has room again
        Held::IoError | Held::Suspended => Plan { look_again: shows_at, ..Plan::act(vec![Action::Resume]) },
        Held::Busy => Plan::wait(now.after(policy.patience.first_delay)),
        Held::ByHand | Held::Crashed => Plan::act(with_definition(intent, ours, vec![Action::Resume])),
    }
}

fn reboot_if_asked(intent: &Intent, progress: &Progress, ours: &Ours, now: Timestamp) -> Plan {
    let pending = intent.reboot_counter > progress.reboots_done;
    match progress.reboot_asked {
        _ if !pending => Plan::act(with_definition(intent, ours, vec![])),
        None => {
            let ask = if intent.stop_grace.is_zero() { Action::Reset } else { Action::Reboot };
            let look_again = Some(now.after(intent.stop_grace));
            Plan { look_again, ..Plan::act(with_definition(intent, ours, vec![ask])) }
        }
        // seen, and about to be noted
        Some(asked) if booted_since(asked.boot, ours.boot) == Some(true) => {
            Plan::act(with_definition(intent, ours, vec![]))
        }
        Some(asked) => {
            let enforce_at = asked.at.after(intent.stop_grace);
            if now >= enforce_at { Plan::act(vec![Action::Reset]) } else { Plan::wait(enforce_at) }
        }
    }
}

fn stop(intent: &Intent, progress: &Progress, policy: &Policy, power: Power, now: Timestamp) -> Plan {
    let grace = match progress.reached {
        Some(Wanted::Stopped) => intent.stop_grace.max(policy.stray_grace),
        _ => intent.stop_grace,
    };
    // one that crashed hears nothing
    if grace.is_zero() || power.ended().is_some() {
        return Plan::act(vec![Action::Destroy]);
    }
    let Some(asked_at) = progress.stop_asked_at else {
        let actions = match power {
            // it hears of it when it goes on, or its power is taken
            Power::Paused(Held::IoError | Held::Busy) => vec![Action::Shutdown],
            // a held guest cannot hear the request
            Power::Paused(_) => vec![Action::Resume, Action::Shutdown],
            Power::Running | Power::Off(_) => vec![Action::Shutdown],
        };
        return Plan { look_again: Some(now.after(grace)), ..Plan::act(actions) };
    };
    let enforce_at = asked_at.after(grace);
    if now >= enforce_at {
        return Plan::act(vec![Action::Destroy]);
    }
    let actions = match power {
        // what was asked while it was held may have gone unheard
        Power::Running if progress.resumed.is_some() => vec![Action::Shutdown],
        Power::Paused(Held::IoError) => vec![Action::Resume],
        _ => Vec::new(),
    };
    Plan { look_again: Some(enforce_at), ..Plan::act(actions) }
}
