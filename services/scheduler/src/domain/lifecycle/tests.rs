//! One test a transition.

use super::properties::{HOST, Life, SPEC, life};
use super::*;
use kernel::HostId;
use scheduler_placement::instance::{Desired, Phase, RestartPolicy};

fn codes(outputs: &Outputs) -> Vec<(OperationStanding, String)> {
    let code =
        |progress: &OperationStep| progress.refusal.as_ref().map(|r| r.code.clone()).unwrap_or_default();
    outputs.operations.iter().map(|progress| (progress.standing, code(progress))).collect()
}

fn ended(outputs: &Outputs) -> Vec<(OperationStanding, String)> {
    codes(outputs).into_iter().filter(|(standing, _)| standing.is_end()).collect()
}

fn succeeded() -> Vec<(OperationStanding, String)> {
    vec![(OperationStanding::Succeeded, String::new())]
}

fn failed(code: &str) -> Vec<(OperationStanding, String)> {
    vec![(OperationStanding::Failed, code.to_owned())]
}

#[test]
fn a_create_is_accepted_placed_started_and_ready() {
    let mut life = life();
    let outputs = life.accept();
    assert_eq!((outputs.say, outputs.request_placement), (Some(Event::Accepted), true));
    let outputs = life.place(HOST);
    assert_eq!(outputs.say, Some(Event::Placed));
    let intent = outputs.tell.expect("the host is told");
    assert_eq!((intent.generation, intent.intent_revision, intent.power), (1, 1, Power::Running));
    let outputs = life.see(Seen::Running, |_| {});
    assert_eq!((outputs.say, ended(&outputs)), (Some(Event::Started), vec![]));
    let outputs = life.see(Seen::Running, |seen| seen.agent_answered = true);
    assert_eq!((outputs.say, ended(&outputs)), (Some(Event::Ready), succeeded()));
    let names: Vec<&str> = life.instance.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["accepted", "placed", "running", "ready"]);
    assert!(life.instance.has_booted);
}

#[test]
fn without_an_agent_running_is_as_good_as_ready() {
    let mut life = life();
    life.instance.boot.guest_agent = false;
    life.accept();
    life.place(HOST);
    assert_eq!(ended(&life.see(Seen::Running, |_| {})), succeeded());
}

#[test]
fn steps_of_the_host_are_kept_and_older_ones_are_not() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    let (old, new) = (Timestamp(1), life.now.after(Duration::from_secs(1)));
    let steps = vec![Step { name: "disks".into(), at: old }, Step { name: "defined".into(), at: new }];
    life.see(Seen::Stopped, |seen| seen.steps = steps);
    assert!(life.instance.steps.contains(&Step { name: "defined".into(), at: new }));
    assert!(!life.instance.steps.iter().any(|step| step.name == "disks"));
}

#[test]
fn without_room_it_waits_and_says_why_once() {
    let mut life = life();
    life.accept();
    let refusal = Refusal::new("NO_HOST_HAS_ROOM", "no host has room");
    let outputs = life.input(Input::NoRoom { refusal: refusal.clone() });
    assert_eq!(outputs.say, Some(Event::Changed));
    assert_eq!(life.input(Input::NoRoom { refusal }).say, None);
    assert_eq!(life.instance.phase, Phase::Pending);
    assert_eq!(life.place(HOST).say, Some(Event::Placed));
    assert_eq!(life.instance.refusal, None);
}

#[test]
fn a_silent_guest_fails_the_operation_and_the_work_goes_on() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    life.see(Seen::Running, |_| {});
    assert_eq!(life.input(Input::DeadlinePassed { host_up: true }).say, None, "too early");
    life.now = life.now.after(SPEC.start_deadline);
    assert_eq!(ended(&life.input(Input::DeadlinePassed { host_up: true })), failed("GUEST_SILENT"));
    assert_eq!(life.instance.phase, Phase::Running);
    let outputs = life.see(Seen::Running, |seen| seen.agent_answered = true);
    assert_eq!((outputs.say, ended(&outputs)), (Some(Event::Ready), vec![]));
}

#[test]
fn the_deadline_gives_the_real_reason() {
    let mut life = life();
    life.accept();
    let refusal = Refusal::new("NO_HOST_HAS_ROOM", "no host has room");
    life.input(Input::NoRoom { refusal });
    let mut placed = life.clone();
    life.now = life.now.after(SPEC.start_deadline);
    assert_eq!(ended(&life.input(Input::DeadlinePassed { host_up: true })), failed("NO_HOST_HAS_ROOM"));
    assert!(life.instance.waits_for_host(), "it still waits");
    placed.place(HOST);
    placed.now = placed.now.after(SPEC.start_deadline);
    assert_eq!(ended(&placed.input(Input::DeadlinePassed { host_up: false })), failed("HOST_UNREACHABLE"));
}

#[test]
fn a_first_start_that_fails_is_cleaned_up_and_tried_elsewhere() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    let outputs = life.give_up("DISK_BROKEN");
    assert_eq!((life.instance.phase, ended(&outputs)), (Phase::Relocating, vec![]));
    assert_eq!(outputs.tell.map(|intent| intent.power), Some(Power::Absent));
    assert!(life.instance.reservation().is_some(), "until the host has cleaned up");
    let outputs = life.see(Seen::Absent, |_| {});
    assert!(outputs.request_placement);
    assert_eq!(life.instance.reservation(), None);
    assert_eq!(life.instance.failed_hosts, [HOST]);
    life.place(HostId::from_u128(2));
    assert_eq!(life.instance.generation, 2);
}

#[test]
fn after_three_hosts_it_is_failed() {
    let mut life = life();
    life.accept();
    for host in 1..=3 {
        life.place(HostId::from_u128(host));
        life.give_up("DISK_BROKEN");
        let outputs = life.see(Seen::Absent, |_| {});
        let last = if host == 3 { failed("START_FAILED") } else { vec![] };
        assert_eq!(ended(&outputs), last);
    }
    assert_eq!((life.instance.phase, life.instance.reservation()), (Phase::Failed, None));
    let refusal = life.instance.refusal.clone().expect("a reason");
    assert!(refusal.reasons[0].contains("DISK_BROKEN"), "{refusal}");
    // start begins anew, on any host
    let outputs = life.start();
    assert!(outputs.request_placement && life.instance.failed_hosts.is_empty());
}

#[test]
fn when_no_other_host_is_left_it_is_failed() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    life.give_up("DISK_BROKEN");
    life.see(Seen::Absent, |_| {});
    let refusal =
        Refusal::new("NO_HOST_FITS", "none").because(["1 host could not start it before".to_owned()]);
    assert_eq!(ended(&life.input(Input::NoRoom { refusal })), failed("START_FAILED"));
    assert_eq!(life.instance.phase, Phase::Failed);
}

#[test]
fn a_restart_that_fails_never_moves_the_instance_off_its_disk() {
    let mut life = life().up();
    life.stop();
    life.see(Seen::Stopped, |_| {});
    life.start();
    assert_eq!(ended(&life.give_up("DISK_BROKEN")), failed("DISK_BROKEN"));
    assert_eq!(life.instance.phase, Phase::Failed);
    assert_eq!(life.instance.reservation().map(|(host, _)| host), Some(HOST));
    let outputs = life.start();
    assert_eq!(outputs.tell.map(|intent| (intent.host, intent.power)), Some((HOST, Power::Running)));
    assert_eq!(ended(&life.see(Seen::Running, |seen| seen.agent_answered = true)), succeeded());
}

#[test]
fn a_stop_ends_when_the_guest_is_down() {
    let mut life = life().up();
    let outputs = life.stop();
    assert_eq!(outputs.tell.map(|intent| (intent.power, intent.stop_grace_s)), Some((Power::Stopped, 30)));
    assert_eq!(life.instance.phase, Phase::Stopping);
    let outputs = life.see(Seen::Stopped, |_| {});
    assert_eq!((outputs.say, ended(&outputs)), (Some(Event::Stopped), succeeded()));
    assert_eq!(life.stop().operations[0].standing, OperationStanding::Succeeded, "stopped already");
}

#[test]
fn an_impatient_stop_reaches_the_host() {
    let mut life = life().up();
    life.stop();
    let operation = life.operation();
    let outputs = life.input(Input::Stop { operation, grace_s: 0 });
    assert_eq!(outputs.tell.map(|intent| intent.stop_grace_s), Some(0));
    assert_eq!(codes(&outputs)[0], (OperationStanding::Superseded, "SUPERSEDED".to_owned()));
}

#[test]
fn the_grace_of_one_stop_is_no_later_requests_grace() {
    let mut life = life().up();
    let operation = life.operation();
    let stop = life.input(Input::Stop { operation, grace_s: 0 }).tell.expect("its host is told");
    assert_eq!(stop.stop_grace_s, 0);
    life.see(Seen::Stopped, |_| {});
    let start = life.start().tell.expect("its host is told");
    life.see(Seen::Running, |seen| seen.agent_answered = true);
    let reboot = life.reboot().tell.expect("its host is told");
    assert_eq!((start.stop_grace_s, reboot.stop_grace_s), (SPEC.default_grace_s, SPEC.default_grace_s));
}

#[test]
fn what_was_seen_before_the_host_took_the_order_does_not_end_it() {
    let mut life = life().up();
    life.stop();
    let outputs = life.see(Seen::Stopped, |seen| seen.intent_revision -= 1);
    assert_eq!((ended(&outputs), life.instance.phase), (vec![], Phase::Stopping));
}

#[test]
fn older_owners_and_repeated_observations_are_ignored() {
    let mut life = life().up();
    let before = life.instance.clone();
    life.see(Seen::Stopped, |seen| seen.generation = 0);
    life.see(Seen::Stopped, |seen| seen.revision = before.observation_revision);
    life.see(Seen::Stopped, |seen| seen.host = HostId::from_u128(9));
    assert_eq!(life.instance, before);
}

#[test]
fn a_reboot_ends_when_the_guest_is_back() {
    let mut life = life().up();
    let outputs = life.reboot();
    assert_eq!(outputs.tell.map(|intent| (intent.power, intent.reboot_counter)), Some((Power::Running, 1)));
    let outputs = life.see(Seen::Running, |seen| (seen.agent_answered, seen.reboot_counter) = (true, 0));
    assert_eq!(ended(&outputs), vec![], "the reboot is still to come");
    let outputs = life.see(Seen::Running, |seen| (seen.agent_answered, seen.reboot_counter) = (true, 1));
    assert_eq!((outputs.say, ended(&outputs)), (Some(Event::Ready), succeeded()));
}

#[test]
fn a_pause_and_a_resume() {
    let mut life = life().up();
    life.pause();
    let outputs = life.see(Seen::Paused, |_| {});
    assert_eq!((outputs.say, ended(&outputs)), (Some(Event::Paused), succeeded()));
    assert_eq!(ended(&life.reboot()), failed("INSTANCE_NOT_RUNNING"));
    life.resume();
    assert_eq!(ended(&life.see(Seen::Running, |_| {})), succeeded());
    assert_eq!(ended(&life.resume()), succeeded());
}

#[test]
fn a_host_that_cannot_pause_leaves_the_guest_running() {
    let mut life = life().up();
    life.pause();
    let outputs = life.see(Seen::Running, |seen| {
        seen.gave_up = true;
        seen.failure = Some(Refusal::new("PAUSE_UNSUPPORTED", "no"));
    });
    assert_eq!(ended(&outputs), failed("PAUSE_UNSUPPORTED"));
    assert_eq!((life.instance.desired, life.instance.phase), (Desired::Running, Phase::Ready));
}

#[test]
fn a_delete_ends_when_the_host_has_forgotten_it() {
    let mut life = life().up();
    let outputs = life.delete();
    assert_eq!(outputs.tell.map(|intent| intent.power), Some(Power::Absent));
    assert_eq!(ended(&life.start()), failed("INSTANCE_DELETING"));
    let outputs = life.see(Seen::Absent, |_| {});
    assert_eq!((outputs.say, ended(&outputs)), (Some(Event::Deleted), succeeded()));
    assert_eq!(life.instance.reservation(), None);
    assert_eq!(ended(&life.delete()), failed("INSTANCE_DELETED"));
}

#[test]
fn an_instance_that_was_never_placed_is_deleted_and_stopped_at_once() {
    let mut life = life();
    life.accept();
    let mut stopped = life.clone();
    let outputs = life.delete();
    assert_eq!(outputs.say, Some(Event::Deleted));
    assert_eq!(
        codes(&outputs),
        [(OperationStanding::Superseded, "SUPERSEDED".into()), (OperationStanding::Succeeded, String::new())]
    );
    let outputs = stopped.stop();
    assert_eq!((outputs.say, stopped.instance.waits_for_host()), (Some(Event::Stopped), false));
    assert!(stopped.start().request_placement);
}

#[test]
fn a_delete_while_it_is_cleaned_off_a_host_is_an_order_of_its_own() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    life.give_up("DISK_BROKEN");
    let order = life.delete().tell.expect("its host is told");
    assert!(order.deleted, "the order before let nothing go for good");
    assert_eq!(life.see(Seen::Absent, |_| {}).say, Some(Event::Deleted));
}

#[test]
fn a_stop_while_it_is_cleaned_off_a_host_keeps_it_from_being_placed_again() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    life.give_up("DISK_BROKEN");
    life.stop();
    let outputs = life.see(Seen::Absent, |_| {});
    assert_eq!((outputs.say, ended(&outputs)), (Some(Event::Stopped), succeeded()));
    assert_eq!((outputs.request_placement, life.instance.reservation()), (false, None));
}

#[test]
fn a_start_while_it_is_being_created_is_refused_and_the_create_goes_on() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    assert_eq!(ended(&life.start()), failed("INSTANCE_ALREADY_STARTING"));
    life.see(Seen::Running, |_| {});
    assert_eq!(ended(&life.see(Seen::Running, |seen| seen.agent_answered = true)), succeeded());
    assert_eq!(ended(&life.start()), succeeded(), "it is up already");
}

#[test]
fn a_start_takes_over_from_a_stop() {
    let mut life = life().up();
    life.stop();
    let outputs = life.start();
    assert_eq!(codes(&outputs)[0].0, OperationStanding::Superseded);
    assert_eq!(outputs.tell.map(|intent| intent.power), Some(Power::Running));
}

#[test]
fn a_guest_that_ends_is_started_again_or_not_as_its_policy_says() {
    for (policy, seen, phase) in [
        (RestartPolicy::Always, Seen::Stopped, Phase::Starting),
        (RestartPolicy::Always, Seen::Crashed, Phase::Starting),
        (RestartPolicy::OnFailure, Seen::Stopped, Phase::Stopped),
        (RestartPolicy::OnFailure, Seen::Crashed, Phase::Starting),
        (RestartPolicy::Never, Seen::Stopped, Phase::Stopped),
        (RestartPolicy::Never, Seen::Crashed, Phase::Stopped),
    ] {
        let mut life = life().up();
        life.instance.spec.restart_policy = policy;
        let outputs = life.see(seen, |_| {});
        assert_eq!(life.instance.phase, phase, "{policy:?} {seen:?}");
        if phase == Phase::Stopped {
            assert_eq!(life.instance.desired, Desired::Stopped);
            assert_eq!(outputs.tell.map(|intent| intent.power), Some(Power::Stopped));
        }
    }
}

#[test]
fn a_guest_that_ends_before_it_was_ready_fails_its_create() {
    let mut life = life();
    life.instance.spec.restart_policy = RestartPolicy::Never;
    life.accept();
    life.place(HOST);
    assert_eq!(ended(&life.see(Seen::Stopped, |_| {})), vec![], "defined, not started yet");
    let started = vec![Step { name: "started".into(), at: life.now }];
    assert_eq!(ended(&life.see(Seen::Stopped, |seen| seen.steps = started)), failed("GUEST_ENDED"));
}

#[test]
fn a_host_that_hangs_gets_a_new_order_with_the_next_start() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    life.now = life.now.after(SPEC.start_deadline);
    life.input(Input::DeadlinePassed { host_up: true });
    assert_eq!(life.start().tell.map(|intent| intent.intent_revision), Some(2));
}

#[test]
fn a_request_of_another_time_is_answered_only_once() {
    let mut life: Life = life().up();
    let operation = life.operation();
    life.input(Input::Stop { operation, grace_s: 1 });
    let before = life.instance.clone();
    assert_eq!(life.input(Input::Stop { operation, grace_s: 1 }).say, None);
    assert_eq!(life.instance, before);
}

#[test]
fn an_instance_whose_guest_never_answered_stays_with_its_disk() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    // no agent in the image, though it was said to carry one
    life.see(Seen::Running, |_| {});
    life.stop();
    life.see(Seen::Stopped, |seen| seen.has_run = true);
    life.start();
    let outputs = life.give_up("START_FAILED");
    assert_eq!((life.instance.phase, ended(&outputs)), (Phase::Failed, failed("START_FAILED")));
    assert_eq!(outputs.tell, None, "its host keeps everything");
    assert!(life.instance.reservation().is_some());
}

#[test]
fn what_may_have_run_is_never_begun_anew_with_an_empty_disk() {
    let mut life = life();
    life.accept();
    life.place(HOST);
    life.give_up("START_FAILED");
    assert_eq!(life.instance.phase, Phase::Relocating);
    // the reply to a start was lost: it had run after all
    life.see(Seen::Stopped, |seen| seen.has_run = true);
    let outputs = life.see(Seen::Absent, |_| {});
    assert_eq!((life.instance.phase, ended(&outputs)), (Phase::Failed, failed("DISK_PUT_ASIDE")));
    assert!(!outputs.request_placement);
    let outputs = life.restore(HOST);
    let order = outputs.tell.expect("its host is told");
    assert_eq!((order.power, order.generation, order.deleted), (Power::Stopped, 2, false));
    assert!(order.take_back.is_some());
    let outputs = life.see(Seen::Stopped, |seen| seen.has_run = true);
    assert_eq!((life.instance.phase, ended(&outputs)), (Phase::Stopped, succeeded()));
    assert_eq!(life.instance.restoring, None);
}

#[test]
fn a_deleted_instance_comes_back_with_its_disks() {
    let mut life = life().up();
    let deleted = life.delete().tell.expect("its host is told");
    assert!(deleted.deleted && deleted.take_back.is_none());
    life.see(Seen::Absent, |_| {});
    assert_eq!(life.instance.phase, Phase::Deleted);
    let outputs = life.restore(HOST);
    assert_eq!(outputs.say, Some(Event::Accepted));
    assert!(life.instance.reservation().is_some());
    let outputs = life.see(Seen::Absent, |seen| {
        seen.failure = Some(Refusal::new("DATASTORE_AWAY", "not mounted"));
    });
    assert_eq!(ended(&outputs), vec![], "its host waits for something");
    let outputs = life.see(Seen::Stopped, |seen| seen.has_run = true);
    assert_eq!((life.instance.phase, ended(&outputs)), (Phase::Stopped, succeeded()));
    let start = life.start().tell.expect("its host is told");
    assert_eq!((start.power, start.take_back), (Power::Running, None));
}

#[test]
fn disks_that_are_gone_from_the_quarantine_are_not_replaced() {
    let mut life = life().up();
    life.delete();
    life.see(Seen::Absent, |_| {});
    life.restore(HOST);
    let outputs = life.see(Seen::Absent, |seen| {
        seen.gave_up = true;
        seen.failure = Some(Refusal::new("QUARANTINE_GONE", "gone"));
    });
    assert_eq!((life.instance.phase, ended(&outputs)), (Phase::Failed, failed("QUARANTINE_GONE")));
    let start = life.start().tell.expect("its host is told");
    assert!(start.take_back.is_some(), "it still wants its own disk");
}

#[test]
fn only_what_is_stopped_is_restored_and_only_where_it_leaves_nothing_behind() {
    let mut life = life().up();
    assert_eq!(ended(&life.restore(HOST)), failed("INSTANCE_NOT_STOPPED"));
    life.stop();
    life.see(Seen::Stopped, |seen| seen.has_run = true);
    assert_eq!(ended(&life.restore(HostId::from_u128(2))), failed("INSTANCE_ELSEWHERE"));
    assert_eq!(ended(&life.restore(HOST)), vec![]);
}

#[test]
fn nothing_is_concluded_from_not_looking() {
    let away = |seen: &mut Observation| seen.failure = Some(Refusal::new("DRIVER_NOT_HERE", "not here"));
    let mut life = life().up();
    life.see(Seen::Unknown, away);
    assert_eq!(life.instance.phase, Phase::Ready);
    life.stop();
    assert_eq!(ended(&life.see(Seen::Unknown, away)), vec![]);
    assert_eq!(life.instance.phase, Phase::Stopping);
    life.delete();
    assert_eq!(ended(&life.see(Seen::Unknown, away)), vec![], "not seen is not gone");
    assert_eq!(life.instance.phase, Phase::Deleting);
}
