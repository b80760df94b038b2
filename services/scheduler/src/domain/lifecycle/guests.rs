//! Guests that stand still or end by themselves: each is shown as what it is, and once.

use super::properties::{HOST, Life, life};
use super::*;
use scheduler_placement::instance::{Desired, Phase, RestartPolicy, VmReason};

fn unordered(reason: VmReason, words: &str) -> Option<Unordered> {
    Some(Unordered { reason, words: words.into() })
}

fn asleep(life: &mut Life) -> Outputs {
    life.see(Seen::Paused, |seen| {
        seen.agent_answered = true;
        seen.unordered = unordered(VmReason::GuestSuspended, "pmsuspended");
    })
}

fn code(life: &Life) -> Option<&str> {
    life.instance.refusal.as_ref().map(|refusal| refusal.code.as_str())
}

/// How the operations came to their ends that did.
fn standings(outputs: &Outputs) -> Vec<OperationStanding> {
    outputs.operations.iter().map(|step| step.standing).filter(|standing| standing.is_end()).collect()
}

#[test]
fn a_guest_that_suspended_itself_is_paused_and_says_how_to_wake_it() {
    let mut life = life().up();
    let outputs = asleep(&mut life);
    assert_eq!((outputs.say, outputs.tell), (Some(Event::Paused), None), "its own wish");
    assert_eq!((life.instance.phase, life.instance.desired), (Phase::Paused, Desired::Running));
    assert_eq!(code(&life), Some("GUEST_SUSPENDED"));
    let words = life.instance.unordered.as_ref().map(|seen| seen.words.as_str());
    assert_eq!(words, Some("pmsuspended"));
    let resume = life.resume().tell.expect("its host is told to wake it");
    assert_eq!(resume.power, Power::Running);
    let outputs = life.see(Seen::Running, |seen| seen.agent_answered = true);
    assert_eq!(outputs.say, Some(Event::Ready));
    assert_eq!(standings(&outputs), [OperationStanding::Succeeded]);
    assert_eq!((code(&life), life.instance.unordered.as_ref()), (None, None));
}

#[test]
fn a_guest_that_sleeps_is_stopped_as_any_other() {
    let mut life = life().up();
    asleep(&mut life);
    assert_eq!(life.stop().tell.map(|order| order.power), Some(Power::Stopped));
    let outputs = life.see(Seen::Stopped, |_| {});
    assert_eq!((outputs.say, code(&life)), (Some(Event::Stopped), None));
}

#[test]
fn a_guest_that_is_held_for_want_of_room_says_so_and_nothing_is_done_about_it() {
    let mut life = life().up();
    let full = || Some(Refusal::new("HOST_STORAGE_FULL", "no room"));
    let outputs = life.see(Seen::Paused, |seen| {
        (seen.agent_answered, seen.failure) = (true, full());
        seen.unordered = unordered(VmReason::IoError, "paused (I/O error)");
    });
    assert_eq!((outputs.say, outputs.tell), (Some(Event::Paused), None));
    assert_eq!((life.instance.phase, code(&life)), (Phase::Paused, Some("HOST_STORAGE_FULL")));
    let outputs = life.see(Seen::Running, |seen| seen.agent_answered = true);
    assert_eq!((outputs.say, outputs.tell, code(&life)), (Some(Event::Ready), None, None));
}

#[test]
fn a_guest_that_is_held_before_it_was_ready_keeps_its_create_waiting() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    let outputs = life.see(Seen::Paused, |seen| {
        seen.failure = Some(Refusal::new("HOST_STORAGE_FULL", "no room"));
        seen.unordered = unordered(VmReason::IoError, "paused (I/O error)");
    });
    assert_eq!((standings(&outputs), life.instance.phase), (vec![], Phase::Starting));
    assert_eq!(code(&life), Some("HOST_STORAGE_FULL"));
}

#[test]
fn how_a_guest_ended_stays_to_be_read() {
    for (seen, reason, words, expected) in [
        (Seen::Stopped, VmReason::GuestShutDown, "shut off (shutdown)", "GUEST_ENDED"),
        (Seen::Crashed, VmReason::GuestCrashed, "shut off (crashed)", "GUEST_CRASHED"),
        (Seen::Crashed, VmReason::PowerTaken, "shut off (destroyed)", "POWER_TAKEN"),
    ] {
        let mut life = life().up();
        life.instance.spec.restart_policy = RestartPolicy::Never;
        let outputs = life.see(seen, |seen| seen.unordered = unordered(reason, words));
        assert_eq!(outputs.say, Some(Event::Stopped));
        // off as ordered by now: its host has nothing to add
        assert_eq!(life.see(Seen::Stopped, |_| {}).tell, None);
        let refusal = life.instance.refusal.clone().expect("a reason");
        assert_eq!(refusal.code, expected);
        assert!(refusal.reasons[0].contains(words), "{refusal}");
        life.start();
        assert_eq!(code(&life), None);
    }
}

fn expect_agent(life: &mut Life, expected: bool) -> Outputs {
    let operation = life.operation();
    life.input(Input::ExpectAgent { operation, expected })
}

#[test]
fn a_create_that_waits_for_an_agent_that_is_not_there_is_done_when_none_is_expected() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    life.see(Seen::Running, |seen| seen.addresses = vec!["192.0.2.7".into()]);
    assert_eq!(life.instance.addresses, ["192.0.2.7"], "known before any agent answers");
    assert!(life.instance.operation.is_some(), "it waits");
    let outputs = expect_agent(&mut life, false);
    assert_eq!(standings(&outputs), [OperationStanding::Succeeded; 2], "the create, and this request");
    assert_eq!((outputs.say, outputs.tell), (Some(Event::Changed), None), "nothing is done to the guest");
    assert_eq!((life.instance.operation, life.instance.phase), (None, Phase::Running));
    // the next request knows it too
    life.stop();
    life.see(Seen::Stopped, |_| {});
    life.start();
    assert_eq!(standings(&life.see(Seen::Running, |_| {})), [OperationStanding::Succeeded]);
}

#[test]
fn an_agent_that_is_expected_after_all_is_waited_for() {
    let mut life = life();
    life.instance.boot.guest_agent = false;
    life.accept();
    life.place(HOST);
    let order = expect_agent(&mut life, true).tell.expect("its host is to ask the agent");
    assert_eq!(order.power, Power::Running);
    assert_eq!(standings(&life.see(Seen::Running, |_| {})), []);
    let outputs = life.see(Seen::Running, |seen| seen.agent_answered = true);
    assert_eq!(standings(&outputs), [OperationStanding::Succeeded]);
}

#[test]
fn what_is_expected_of_a_guest_that_sleeps_does_not_wake_it() {
    let mut life = life().up();
    asleep(&mut life);
    assert_eq!(expect_agent(&mut life, false).tell, None);
    assert_eq!(expect_agent(&mut life, true).tell, None);
    assert_eq!(life.instance.phase, Phase::Paused);
}
