//! The planner, case by case.

use super::attempts::Severity;
use super::*;
use kernel::{QuarantineId, Refusal, Timestamp};
use std::time::Duration;

pub(super) const NOW: Timestamp = Timestamp(1_000_000_000);

pub(super) fn intent(wanted: Wanted) -> Intent {
    Intent {
        key: IntentKey { generation: 2, revision: 1 },
        wanted,
        reboot_counter: 0,
        stop_grace: Duration::from_secs(30),
        restart_policy: RestartPolicy::Always,
        definition: "as wanted".into(),
        disposal: Disposal::Delete,
        take_back: None,
    }
}

pub(super) fn vm(power: Power) -> Observed {
    Observed {
        domain: Domain::Ours(Ours {
            generation: 2,
            marked: "as wanted".into(),
            actual: "as wanted".into(),
            persistent: true,
            power,
            words: power.words(),
            boot: 1,
        }),
        files: Files::Ready { generation: 2 },
        ran: true,
    }
}

fn nothing() -> Observed {
    Observed { domain: Domain::Missing, files: Files::Missing, ran: false }
}

pub(super) fn reached(wanted: Wanted) -> Progress {
    Progress { reached: Some(wanted), ..Progress::default() }
}

fn planned(intent: &Intent, observed: &Observed, progress: &Progress) -> Plan {
    plan(intent, observed, progress, &Policy::default(), NOW)
}

fn kind(plan: &Plan) -> Option<DriftKind> {
    plan.drift.as_ref().map(|d| d.kind)
}

#[test]
fn a_new_vm_is_made_from_nothing_and_that_is_no_drift() {
    let plan = planned(&intent(Wanted::Running), &nothing(), &Progress::default());
    assert_eq!(plan.actions, [Action::FetchImage, Action::PrepareDisks, Action::Define, Action::Start]);
    assert_eq!(plan.drift, None);
}

#[test]
fn a_lost_disk_is_not_replaced_and_holds_up_nothing_else() {
    let lost = |power: Option<Power>| Observed {
        files: Files::Lost { generation: 2 },
        ..power.map_or_else(nothing, vm)
    };
    for seen in [lost(None), lost(Some(Power::Off(Ended::Killed)))] {
        let plan = planned(&intent(Wanted::Running), &seen, &reached(Wanted::Running));
        assert_eq!((plan.refusal.map(|r| r.code).as_deref(), plan.actions.len()), (Some("DISK_LOST"), 0));
    }
    let runs = lost(Some(Power::Running));
    assert_eq!(planned(&intent(Wanted::Running), &runs, &reached(Wanted::Running)), Plan::default());
    let stop = planned(&intent(Wanted::Stopped), &runs, &Progress::default());
    assert_eq!(stop.actions, [Action::Shutdown]);
    let gone = planned(&intent(Wanted::Absent), &lost(None), &Progress::default());
    assert_eq!(gone.actions, [Action::RemoveFiles]);
    let older = Observed { files: Files::Lost { generation: 1 }, ran: true, ..nothing() };
    let plan = planned(&intent(Wanted::Running), &older, &Progress::default());
    assert_eq!((plan.actions[0], plan.refusal), (Action::Quarantine, None), "another owner's loss");
}

#[test]
fn a_vm_that_is_as_wanted_is_left_alone() {
    let cases = [
        (Wanted::Running, vm(Power::Running)),
        (Wanted::Paused, vm(Power::Paused(Held::ByHand))),
        (Wanted::Stopped, vm(Power::Off(Ended::ByGuest))),
        (Wanted::Absent, nothing()),
    ];
    for (wanted, observed) in cases {
        assert_eq!(planned(&intent(wanted), &observed, &reached(wanted)), Plan::default(), "{wanted:?}");
    }
}

#[test]
fn each_way_behind_our_back_is_named_and_repaired() {
    let redefined = Observed {
        domain: Domain::Ours(Ours {
            actual: "other".into(),
            ..vm(Power::Running).ours().expect("ours").clone()
        }),
        ..vm(Power::Running)
    };
    let gone = Observed { domain: Domain::Missing, ..vm(Power::Running) };
    let transient = Observed {
        domain: Domain::Ours(Ours { persistent: false, ..vm(Power::Running).ours().expect("ours").clone() }),
        ..vm(Power::Running)
    };
    let killed = vm(Power::Off(Ended::Killed));
    let cases = [
        (Wanted::Running, killed, DriftKind::Stopped, vec![Action::Start]),
        (Wanted::Running, gone, DriftKind::Undefined, vec![Action::Define, Action::Start]),
        (Wanted::Running, transient, DriftKind::Undefined, vec![Action::Define]),
        (Wanted::Running, vm(Power::Paused(Held::ByHand)), DriftKind::Paused, vec![Action::Resume]),
        (Wanted::Paused, vm(Power::Running), DriftKind::Paused, vec![Action::Pause]),
        (Wanted::Running, redefined, DriftKind::Redefined, vec![Action::Define]),
        (Wanted::Stopped, vm(Power::Running), DriftKind::Running, vec![Action::Shutdown]),
    ];
    for (wanted, observed, expected, actions) in cases {
        let plan = planned(&intent(wanted), &observed, &reached(wanted));
        assert_eq!((kind(&plan), plan.actions), (Some(expected), actions), "{wanted:?}");
    }
}

#[test]
fn a_definition_that_we_are_to_change_is_no_drift() {
    let changed = Intent { definition: "new".into(), ..intent(Wanted::Running) };
    let plan = planned(&changed, &vm(Power::Running), &reached(Wanted::Running));
    assert_eq!((plan.actions, plan.drift), (vec![Action::Define], None));
}

#[test]
fn the_restart_policy_decides_about_a_guest_that_ended_by_itself() {
    use RestartPolicy::{Always, Never, OnFailure};
    let cases = [
        (Always, Ended::ByGuest, true),
        (Always, Ended::Crashed, true),
        (OnFailure, Ended::ByGuest, false),
        (OnFailure, Ended::Crashed, true),
        (OnFailure, Ended::Killed, true),
        (Never, Ended::ByGuest, false),
        (Never, Ended::Crashed, false),
    ];
    for (restart_policy, ended, again) in cases {
        let intent = Intent { restart_policy, ..intent(Wanted::Running) };
        let plan = planned(&intent, &vm(Power::Off(ended)), &reached(Wanted::Running));
        assert_eq!(plan.actions == [Action::Start], again, "{restart_policy:?} {ended:?}");
        assert_eq!(plan.adopt, !again);
        assert_eq!(plan.drift.map(|d| d.adopt), Some(!again));
    }
}

#[test]
fn an_adopted_end_stays_until_a_new_intent() {
    let never = Intent { restart_policy: RestartPolicy::Never, ..intent(Wanted::Running) };
    let adopted = Progress { adopted: true, ..reached(Wanted::Running) };
    let off = vm(Power::Off(Ended::ByGuest));
    assert_eq!(planned(&never, &off, &adopted), Plan::default());
    let fresh = adopted.for_new_intent(true);
    assert_eq!(planned(&never, &off, &fresh).actions, [Action::Start]);
}

#[test]
fn a_guest_that_keeps_ending_is_started_ever_more_slowly() {
    let off = vm(Power::Off(Ended::Crashed));
    let mut progress = Progress { started_at: Some(NOW), restarts: 3, ..reached(Wanted::Running) };
    let plan = planned(&intent(Wanted::Running), &off, &progress);
    assert_eq!((plan.actions.len(), plan.look_again), (0, Some(NOW.after(Duration::from_secs(4)))));
    let stable = NOW.after(Duration::from_secs(61));
    progress.note(&intent(Wanted::Running), &vm(Power::Running), &Policy::default(), stable);
    assert_eq!(progress.restarts, 0);
}

#[test]
fn a_stop_asks_then_waits_then_takes_the_power() {
    let intent = intent(Wanted::Stopped);
    let mut progress = Progress::default();
    let plan = planned(&intent, &vm(Power::Running), &progress);
    assert_eq!(plan.actions, [Action::Shutdown]);
    progress.did(Action::Shutdown, &intent, None, NOW);
    let waiting = planned(&intent, &vm(Power::Running), &progress);
    assert_eq!((waiting.actions.len(), waiting.look_again), (0, Some(NOW.after(intent.stop_grace))));
    let later = NOW.after(Duration::from_secs(30));
    let enforced = super::plan(&intent, &vm(Power::Running), &progress, &Policy::default(), later);
    assert_eq!(enforced.actions, [Action::Destroy]);
    let at_once = Intent { stop_grace: Duration::ZERO, ..intent };
    assert_eq!(planned(&at_once, &vm(Power::Running), &Progress::default()).actions, [Action::Destroy]);
}

#[test]
fn a_reboot_is_asked_for_once_and_enforced_when_nothing_happens() {
    let intent = Intent { reboot_counter: 1, ..intent(Wanted::Running) };
    let mut progress = reached(Wanted::Running);
    let running = vm(Power::Running);
    assert_eq!(planned(&intent, &running, &progress).actions, [Action::Reboot]);
    progress.did(Action::Reboot, &intent, running.ours(), NOW);
    assert_eq!(planned(&intent, &running, &progress).actions, []);

    let mut seen = progress.clone();
    let rebooted = Observed {
        domain: Domain::Ours(Ours { boot: 2, ..running.ours().expect("ours").clone() }),
        ..running.clone()
    };
    seen.note(&intent, &rebooted, &Policy::default(), NOW);
    assert_eq!((seen.reboots_done, seen.reboot_asked), (1, None));

    let later = NOW.after(Duration::from_secs(31));
    let enforced = super::plan(&intent, &running, &progress, &Policy::default(), later);
    assert_eq!(enforced.actions, [Action::Reset]);
    progress.did(Action::Reset, &intent, running.ours(), later);
    assert_eq!(super::plan(&intent, &running, &progress, &Policy::default(), later), Plan::default());
}

#[test]
fn starting_is_all_that_a_pending_reboot_asked_for() {
    let intent = Intent { reboot_counter: 7, ..intent(Wanted::Running) };
    let mut progress = Progress::default();
    progress.did(Action::Start, &intent, None, NOW);
    assert_eq!(planned(&intent, &vm(Power::Running), &progress), Plan::default());
}

#[test]
fn what_is_not_ours_is_never_touched() {
    let foreign = Observed { domain: Domain::Foreign { active: true }, files: Files::Missing, ran: false };
    for wanted in [Wanted::Running, Wanted::Stopped, Wanted::Paused] {
        let plan = planned(&intent(wanted), &foreign, &Progress::default());
        assert_eq!((plan.actions.len(), plan.refusal.map(|r| r.code)), (0, Some("NAME_TAKEN".to_owned())));
    }
    assert_eq!(planned(&intent(Wanted::Absent), &foreign, &Progress::default()), Plan::default());
}

#[test]
fn disks_are_not_removed_from_under_a_vm_of_somebody_else() {
    let redefined = |active| Observed { domain: Domain::Foreign { active }, ..vm(Power::Running) };
    let held = planned(&intent(Wanted::Absent), &redefined(true), &reached(Wanted::Running));
    assert_eq!((held.actions.len(), held.refusal.map(|r| r.code)), (0, Some("DISKS_IN_USE".to_owned())));
    let free = planned(&intent(Wanted::Absent), &redefined(false), &reached(Wanted::Running));
    assert_eq!((free.actions, free.refusal), (vec![Action::RemoveFiles], None));
}

#[test]
fn an_order_of_an_older_owner_is_refused() {
    let newer_here = Observed { files: Files::Ready { generation: 3 }, ..nothing() };
    for wanted in [Wanted::Running, Wanted::Absent] {
        let plan = planned(&intent(wanted), &newer_here, &Progress::default());
        assert_eq!(plan.refusal.map(|r| r.code).as_deref(), Some("NEWER_GENERATION_HERE"));
        assert!(plan.actions.is_empty());
    }
}

#[test]
fn what_an_older_owner_left_is_set_aside() {
    let newer = Intent { key: IntentKey { generation: 3, revision: 1 }, ..intent(Wanted::Running) };
    let plan = planned(&newer, &vm(Power::Running), &Progress::default());
    let [Action::Destroy, Action::Undefine, Action::Quarantine, rest @ ..] = plan.actions.as_slice() else {
        panic!("{:?}", plan.actions)
    };
    assert_eq!(rest, [Action::FetchImage, Action::PrepareDisks, Action::Define, Action::Start]);
    assert_eq!(plan.drift, None);
}

#[test]
fn after_a_failure_it_waits_and_after_giving_up_it_rests() {
    let intent = intent(Wanted::Running);
    let mut progress = Progress::default();
    let why = Refusal::new("START_FAILED", "no");
    progress.failed(Severity::Transient, why.clone(), &intent, &Policy::default().patience, NOW);
    let waiting = planned(&intent, &nothing(), &progress);
    assert_eq!((waiting.actions.len(), waiting.look_again), (0, Some(NOW.after(Duration::from_secs(1)))));
    progress.failed(Severity::Permanent, why, &intent, &Policy::default().patience, NOW);
    let later = NOW.after(Duration::from_secs(9999));
    assert_eq!(super::plan(&intent, &nothing(), &progress, &Policy::default(), later), Plan::default());
    assert!(!progress.for_new_intent(true).attempts.gave_up, "a new intent is a new chance");
}

#[test]
fn a_deletion_takes_everything() {
    let plan = planned(&intent(Wanted::Absent), &vm(Power::Running), &Progress::default());
    assert_eq!(plan.actions, [Action::Destroy, Action::Undefine, Action::RemoveFiles]);
    let half = Observed { domain: Domain::Missing, files: Files::Partial, ran: false };
    assert_eq!(planned(&intent(Wanted::Absent), &half, &Progress::default()).actions, [Action::RemoveFiles]);
}

#[test]
fn a_used_disk_goes_by_an_order_to_delete_alone() {
    let (ran, unused) = (true, false);
    for (disposal, used, action) in [
        (Disposal::Delete, ran, Action::RemoveFiles),
        (Disposal::Delete, unused, Action::RemoveFiles),
        (Disposal::SetAside, ran, Action::Quarantine),
        (Disposal::SetAside, unused, Action::RemoveFiles),
    ] {
        let order = Intent { disposal, ..intent(Wanted::Absent) };
        for files in [Files::Ready { generation: 2 }, Files::Partial, Files::Lost { generation: 2 }] {
            let seen = Observed { files, ran: used, ..nothing() };
            assert_eq!(
                planned(&order, &seen, &Progress::default()).actions,
                [action],
                "{disposal:?} {seen:?}"
            );
        }
    }
}

#[test]
fn what_was_put_aside_is_taken_back_before_anything_is_made() {
    let order = Intent { take_back: Some(QuarantineId::from_u128(1)), ..intent(Wanted::Stopped) };
    let taken = [Action::TakeBack, Action::FetchImage, Action::PrepareDisks, Action::Define];
    assert_eq!(planned(&order, &nothing(), &Progress::default()).actions, taken);
    // what an older ownership has here is put aside first
    let mut older = vm(Power::Off(Ended::Killed));
    older.files = Files::Ready { generation: 1 };
    if let Domain::Ours(ours) = &mut older.domain {
        ours.generation = 1;
    }
    let actions = planned(&order, &older, &Progress::default()).actions;
    assert_eq!(actions, [&[Action::Undefine, Action::Quarantine][..], &taken].concat());
    // once they are there, nothing is taken back again
    let there = planned(&order, &vm(Power::Off(Ended::Killed)), &Progress::default());
    assert_eq!(there.actions, []);
}

#[test]
fn a_reboot_that_nobody_saw_is_not_done() {
    let policy = Policy::default();
    let order = Intent { reboot_counter: 1, ..intent(Wanted::Running) };
    let at = |boot| {
        let mut seen = vm(Power::Running);
        if let Domain::Ours(ours) = &mut seen.domain {
            ours.boot = boot;
        }
        seen
    };
    let asked = |boot| {
        let reboot_asked = Some(progress::RebootAsked { at: NOW, boot });
        Progress { reboot_asked, ..reached(Wanted::Running) }
    };
    let boot = observed::boot_number;
    for (before, now, done) in [
        (boot(3, 1, 0), boot(3, 1, 0), false),
        (boot(3, 1, 0), boot(3, 1, 1), true),
        (boot(3, 1, 0), boot(4, 2, 0), true),
        // the process that counted is gone: its number tells nothing
        (boot(3, 1, 5), boot(3, 2, 0), false),
    ] {
        let mut progress = asked(before);
        progress.note(&order, &at(now), &policy, NOW);
        assert_eq!(progress.reboots_done, u64::from(done), "{before:x} {now:x}");
        let later = NOW.after(order.stop_grace);
        let enforced = plan(&order, &at(now), &progress, &policy, later).actions == [Action::Reset];
        assert_eq!(enforced, !done, "{before:x} {now:x}");
    }
}
