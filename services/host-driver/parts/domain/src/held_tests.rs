//! Guests that stand still or begin anew by themselves.

use super::observation::Guest;
use super::plan_tests::{NOW, intent, reached, vm};
use super::progress::STEP_AGENT;
use super::*;
use kernel::Timestamp;
use std::time::Duration;

const HELD: Power = Power::Paused(Held::IoError);
const ASLEEP: Power = Power::Paused(Held::Suspended);

fn seconds(n: u64) -> Timestamp {
    NOW.after(Duration::from_secs(n))
}

/// A VM under an order, its progress, and what was said of it.
struct Life {
    order: Intent,
    power: Power,
    progress: Progress,
    said: Vec<(SaidPower, Option<Reason>, bool)>,
}

impl Life {
    fn running() -> Self {
        let order = intent(Wanted::Running);
        Self { order, power: Power::Running, progress: reached(Wanted::Running), said: Vec::new() }
    }

    /// A visit; `still_full`: a guest that is let go on is held again by its next write.
    fn visit(&mut self, now: Timestamp, still_full: bool) -> Plan {
        let policy = Policy::default();
        let seen = vm(self.power);
        self.progress.note(&self.order, &seen, &policy, now);
        let plan = plan(&self.order, &seen, &self.progress, &policy, now);
        for action in &plan.actions {
            self.progress.did(*action, &self.order, seen.ours(), now);
            match action {
                Action::Resume if still_full => {}
                Action::Resume => self.power = Power::Running,
                Action::Destroy => self.power = Power::Off(Ended::Killed),
                _ => {}
            }
        }
        let after = vm(self.power);
        self.progress.note(&self.order, &after, &policy, now);
        if now >= self.progress.attempts.next_at && !self.progress.is_settling() {
            self.progress.succeeded();
        }
        let told = Observation::of(&self.order, &after, &self.progress, Guest::default());
        let told = (told.power, told.reason, told.waits_for_host);
        if self.said.last() != Some(&told) {
            self.said.push(told);
        }
        plan
    }
}

#[test]
fn a_guest_that_is_held_for_want_of_room_is_tried_ever_more_seldom_and_said_once() {
    let mut life = Life::running();
    life.power = HELD;
    let mut tries = Vec::new();
    for second in 0..300 {
        let plan = life.visit(seconds(second), true);
        assert_eq!(plan.drift, None, "nobody paused it");
        if plan.actions.contains(&Action::Resume) {
            tries.push(second);
        }
    }
    assert!(tries.len() < 20 && tries[..5] == [0, 1, 3, 7, 15], "{tries:?}");
    assert_eq!(life.said, [(SaidPower::Paused, Some(Reason::IoError), true)]);
    for second in 300..340 {
        life.visit(seconds(second), false);
    }
    assert_eq!(life.said[1..], [(SaidPower::Running, None, false)], "once it is seen that it can go on");
    assert_eq!(life.progress.failure, None);
}

#[test]
fn a_guest_that_is_soon_held_again_waits_longer_than_before() {
    let mut life = Life::running();
    life.power = HELD;
    life.visit(seconds(0), true);
    assert_eq!(life.visit(seconds(1), false).actions, [Action::Resume]);
    life.visit(seconds(4), false);
    life.power = HELD;
    assert_eq!(life.visit(seconds(10), false).actions, [], "two seconds from now");
    assert_eq!(life.visit(seconds(12), false).actions, [Action::Resume]);
    life.visit(seconds(80), false);
    life.power = HELD;
    assert_eq!(life.visit(seconds(90), false).actions, [Action::Resume], "it ran for a minute");
}

#[test]
fn a_guest_that_suspended_itself_sleeps_until_it_is_asked_to_go_on() {
    let mut life = Life::running();
    life.power = ASLEEP;
    assert_eq!(life.visit(seconds(0), false), Plan::default());
    assert_eq!(life.said, [(SaidPower::Paused, Some(Reason::GuestSuspended), false)]);
    life.order.key.revision += 1;
    life.progress = life.progress.for_new_intent(true);
    assert_eq!(life.visit(seconds(5), false).actions, [Action::Resume]);
    life.visit(seconds(9), false);
    assert_eq!(life.power, Power::Running);
    life.power = ASLEEP;
    assert_eq!(life.visit(seconds(20), false).actions, [], "its own wish again");
}

#[test]
fn a_guest_that_sleeps_is_woken_to_be_stopped_and_asked_again_when_it_is_awake() {
    let mut life = Life::running();
    (life.power, life.order, life.progress) = (ASLEEP, intent(Wanted::Stopped), Progress::default());
    assert_eq!(life.visit(seconds(0), false).actions, [Action::Resume, Action::Shutdown]);
    assert_eq!(life.visit(seconds(1), false).actions, [], "it wakes");
    assert_eq!(life.visit(seconds(3), false).actions, [Action::Shutdown]);
    assert_eq!(life.visit(seconds(4), false).actions, []);
    assert_eq!(
        life.visit(seconds(30), false).actions,
        [Action::Destroy],
        "the time runs since it was asked first"
    );
}

#[test]
fn a_guest_that_cannot_write_is_stopped_when_its_time_is_up() {
    let mut life = Life::running();
    (life.power, life.order, life.progress) = (HELD, intent(Wanted::Stopped), Progress::default());
    assert_eq!(life.visit(seconds(0), true).actions, [Action::Shutdown], "it hears of it when it goes on");
    assert_eq!(life.visit(seconds(1), true).actions, [Action::Resume]);
    let end = (2..80).find(|second| life.visit(seconds(*second), true).actions == [Action::Destroy]);
    assert!(end.is_some_and(|second| (30..=60).contains(&second)), "{end:?}");
}

#[test]
fn a_guest_that_the_hypervisor_works_with_is_waited_for() {
    let mut life = Life::running();
    life.power = Power::Paused(Held::Busy);
    let plan = life.visit(seconds(0), false);
    assert_eq!((plan.actions.len(), plan.drift, plan.look_again), (0, None, Some(seconds(1))));
    assert_eq!(life.said, [(SaidPower::Paused, Some(Reason::HypervisorBusy), false)]);
}

#[test]
fn a_guest_that_crashed_and_is_kept_in_memory_has_ended() {
    let crashed = vm(Power::Paused(Held::Crashed));
    let planned = |policy, progress: &Progress| {
        let order = Intent { restart_policy: policy, ..intent(Wanted::Running) };
        plan(&order, &crashed, progress, &Policy::default(), NOW)
    };
    let again = planned(RestartPolicy::OnFailure, &reached(Wanted::Running));
    assert_eq!(again.actions, [Action::Destroy, Action::Start]);
    assert!(again.drift.is_some_and(|drift| drift.detail.ends_with("crashed (panicked)")));
    let never = planned(RestartPolicy::Never, &reached(Wanted::Running));
    assert_eq!((never.actions.len(), never.adopt), (0, true));
    let gone = plan(&intent(Wanted::Absent), &crashed, &Progress::default(), &Policy::default(), NOW);
    assert_eq!(gone.actions[0], Action::Destroy, "its disks are in use");
}

#[test]
fn a_guest_that_reboots_itself_is_said_to_and_one_that_was_asked_to_is_not() {
    let policy = Policy::default();
    let order = intent(Wanted::Running);
    let at = |boot| {
        let mut seen = vm(Power::Running);
        if let Domain::Ours(ours) = &mut seen.domain {
            ours.boot = boot;
        }
        seen
    };
    let mut progress = reached(Wanted::Running);
    progress.agent_answered(NOW);
    assert_eq!(progress.note(&order, &at(1), &policy, NOW), None);
    assert_eq!(progress.note(&order, &at(1), &policy, seconds(5)), None);
    let drift = progress.note(&order, &at(2), &policy, seconds(10)).expect("said");
    assert_eq!(drift.kind, DriftKind::Rebooted);
    assert!(!progress.steps.iter().any(|(name, _)| name == STEP_AGENT), "its agent has yet to answer");
    assert_eq!(progress.note(&order, &at(2), &policy, seconds(11)), None, "once");
    // in a circle, every second: heard ever more seldom
    let heard = (13..100).filter(|n| progress.note(&order, &at(*n), &policy, seconds(*n)).is_some()).count();
    assert!((2..8).contains(&heard), "{heard}");

    let rebooting = Intent { reboot_counter: 1, ..order };
    let mut asked = reached(Wanted::Running);
    asked.note(&rebooting, &at(1), &policy, NOW);
    asked.did(Action::Reboot, &rebooting, at(1).ours(), seconds(1));
    assert_eq!(asked.note(&rebooting, &at(2), &policy, seconds(9)), None);
    asked.did(Action::Reset, &rebooting, at(2).ours(), seconds(20));
    assert_eq!(asked.note(&rebooting, &at(3), &policy, seconds(21)), None, "heard of a moment later");
    asked.did(Action::Start, &rebooting, None, seconds(30));
    assert_eq!(asked.note(&rebooting, &at(1 << 40), &policy, seconds(40)), None, "we started it");
}

#[test]
fn the_time_of_a_stop_is_not_that_of_a_guest_that_somebody_starts_later() {
    let at_once = Intent { stop_grace: Duration::ZERO, ..intent(Wanted::Stopped) };
    let planned =
        |progress: &Progress| plan(&at_once, &vm(Power::Running), progress, &Policy::default(), NOW).actions;
    assert_eq!(planned(&Progress::default()), [Action::Destroy]);
    assert_eq!(planned(&reached(Wanted::Stopped)), [Action::Shutdown]);
}

#[test]
fn a_reason_is_given_where_a_vm_is_not_as_ordered_and_only_there() {
    let said = |wanted, power, progress: &Progress| {
        let told = Observation::of(&intent(wanted), &vm(power), progress, Guest::default());
        (told.reason, told.words)
    };
    let up = reached(Wanted::Running);
    for (power, reason, words) in [
        (Power::Running, None, ""),
        (Power::Paused(Held::ByHand), Some(Reason::PausedByHand), "paused (user)"),
        (HELD, Some(Reason::IoError), "paused (I/O error)"),
        (ASLEEP, Some(Reason::GuestSuspended), "pmsuspended"),
        (Power::Off(Ended::ByGuest), Some(Reason::GuestShutDown), "shut off (shutdown)"),
        (Power::Off(Ended::Killed), Some(Reason::PowerTaken), "shut off (destroyed)"),
        (Power::Off(Ended::Crashed), Some(Reason::GuestCrashed), "shut off (crashed)"),
    ] {
        assert_eq!(said(Wanted::Running, power, &up), (reason, words), "{power:?}");
    }
    let down = reached(Wanted::Stopped);
    for ended in [Ended::ByGuest, Ended::Killed, Ended::Crashed, Ended::Never] {
        // libvirt forgets why when it is restarted: that is no news
        assert_eq!(said(Wanted::Stopped, Power::Off(ended), &down), (None, ""), "{ended:?}");
    }
    assert_eq!(said(Wanted::Paused, Power::Paused(Held::ByHand), &reached(Wanted::Paused)), (None, ""));
    let new = Progress::default();
    assert_eq!(said(Wanted::Running, Power::Off(Ended::Killed), &new), (None, ""), "not started yet");
}
