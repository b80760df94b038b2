//! The planner against a model of a hypervisor: from any start it comes to what is wanted, and rests there.

use super::progress::fulfils;
use super::*;
use kernel::{QuarantineId, Timestamp};
use proptest::prelude::*;
use std::time::Duration;

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![Just(Wanted::Running), Just(Wanted::Stopped), Just(Wanted::Paused), Just(Wanted::Absent)]
}

fn power() -> impl Strategy<Value = Power> {
    prop_oneof![
        Just(Power::Running),
        Just(Power::Paused(Held::ByHand)),
        Just(Power::Paused(Held::IoError)),
        Just(Power::Paused(Held::Suspended)),
        Just(Power::Paused(Held::Crashed)),
        Just(Power::Off(Ended::ByGuest)),
        Just(Power::Off(Ended::Killed)),
        Just(Power::Off(Ended::Crashed)),
        Just(Power::Off(Ended::Never)),
    ]
}

fn definition() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("c".to_owned())]
}

prop_compose! {
    fn ours()(generation in 0..3u64, marked in definition(), actual in definition(), persistent in any::<bool>(), power in power(), boot in 0..3u64) -> Ours {
        Ours { generation, marked, actual, persistent, power, words: power.words(), boot }
    }
}

fn observed() -> impl Strategy<Value = Observed> {
    let domain = prop_oneof![
        Just(Domain::Missing),
        any::<bool>().prop_map(|active| Domain::Foreign { active }),
        ours().prop_map(Domain::Ours)
    ];
    let files = prop_oneof![
        Just(Files::Missing),
        Just(Files::Partial),
        (0..3u64).prop_map(|generation| Files::Ready { generation })
    ];
    (domain, files, any::<bool>()).prop_map(|(domain, files, ran)| Observed {
        domain,
        files,
        ran: ran && files != Files::Missing,
    })
}

prop_compose! {
    fn intent()(
        generation in 0..3u64,
        wanted in wanted(),
        reboot_counter in 0..3u64,
        grace in prop_oneof![Just(0u64), Just(30)],
        restart_policy in prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)],
        definition in definition(),
        deleted in any::<bool>(),
        take_back in any::<bool>(),
    ) -> Intent {
        Intent {
            key: IntentKey { generation, revision: 1 },
            wanted,
            reboot_counter,
            stop_grace: Duration::from_secs(grace),
            restart_policy,
            definition,
            disposal: if deleted { Disposal::Delete } else { Disposal::SetAside },
            take_back: take_back.then(|| QuarantineId::from_u128(7)),
        }
    }
}

prop_compose! {
    fn progress()(
        reached in proptest::option::of(wanted()),
        adopted in any::<bool>(),
        stopping in any::<bool>(),
        rebooting in proptest::option::of(0..3u64),
        reboots_done in 0..3u64,
        restarts in 0..5u32,
    ) -> Progress {
        let then = Timestamp(0);
        Progress {
            reached,
            adopted,
            stop_asked_at: stopping.then_some(then),
            reboot_asked: rebooting.map(|boot| super::progress::RebootAsked { at: then, boot }),
            reboots_done,
            restarts,
            started_at: Some(then),
            ..Progress::default()
        }
    }
}

/// A hypervisor that does what it is told, with a guest that may be deaf to requests.
struct Model {
    world: Observed,
    deaf: bool,
}

impl Model {
    fn apply(&mut self, action: Action, intent: &Intent) {
        let made = Ours {
            generation: intent.key.generation,
            marked: intent.definition.clone(),
            actual: intent.definition.clone(),
            persistent: true,
            power: Power::Off(Ended::Never),
            words: "",
            boot: 0,
        };
        match (action, &mut self.world.domain) {
            (Action::FetchImage, _) => {}
            (Action::PrepareDisks, _) => {
                self.world.files = Files::Ready { generation: intent.key.generation }
            }
            (Action::TakeBack, _) => {
                assert_eq!(self.world.files, Files::Missing, "nothing is written over");
                self.world.files = Files::Ready { generation: intent.key.generation };
                self.world.ran = true;
            }
            (Action::RemoveFiles, _) => {
                assert!(!self.world.ran || intent.disposal == Disposal::Delete, "a used disk, and no order");
                (self.world.files, self.world.ran) = (Files::Missing, false);
            }
            (Action::Quarantine, _) => (self.world.files, self.world.ran) = (Files::Missing, false),
            (Action::Define, Domain::Ours(ours)) => {
                *ours = Ours { power: ours.power, boot: ours.boot, ..made }
            }
            (Action::Define, domain @ Domain::Missing) => *domain = Domain::Ours(made),
            (Action::Undefine, domain) => *domain = Domain::Missing,
            (action, Domain::Ours(ours)) => match (action, ours.power) {
                (Action::Start, Power::Off(_)) => {
                    (ours.power, ours.boot) = (Power::Running, ours.boot + 1);
                    self.world.ran = true;
                }
                (Action::Shutdown | Action::Destroy, Power::Running)
                    if !ours.persistent && (!self.deaf || action == Action::Destroy) =>
                {
                    self.world.domain = Domain::Missing;
                }
                (Action::Destroy, Power::Paused(_)) if !ours.persistent => {
                    self.world.domain = Domain::Missing
                }
                (Action::Shutdown, Power::Running) if !self.deaf => ours.power = Power::Off(Ended::ByGuest),
                (Action::Shutdown, Power::Running | Power::Paused(Held::IoError)) => {}
                (Action::Destroy, Power::Running | Power::Paused(_)) => {
                    ours.power = Power::Off(Ended::Killed)
                }
                (Action::Reboot, Power::Running) if self.deaf => {}
                (Action::Reboot | Action::Reset, Power::Running) => ours.boot += 1,
                (Action::Pause, Power::Running) => ours.power = Power::Paused(Held::ByHand),
                (Action::Resume, Power::Paused(_)) => ours.power = Power::Running,
                (action, power) => panic!("{action:?} makes no sense while {power:?}"),
            },
            (action, domain) => panic!("{action:?} on {domain:?}"),
        }
    }

    fn start_needs_files(&self, action: Action) {
        if action == Action::Start {
            assert!(matches!(self.world.files, Files::Ready { .. }), "a start without files");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// From any state, a few rounds and the passing of time lead to what is wanted (or to an adopted end), and
    /// there the plan is empty for good.
    #[test]
    fn it_converges_and_rests(intent in intent(), start in observed(), progress in progress(), deaf in any::<bool>()) {
        let policy = Policy::default();
        let mut model = Model { world: start.clone(), deaf };
        let mut progress = progress;
        let mut now = Timestamp(0);
        let mut rested = false;
        for _round in 0..12 {
            let plan = plan(&intent, &model.world, &progress, &policy, now);
            if let Some(refusal) = &plan.refusal {
                prop_assert!(plan.actions.is_empty(), "refused ({refusal}) and yet acting");
                prop_assert_eq!(&model.world, &start);
                return Ok(());
            }
            for action in &plan.actions {
                model.start_needs_files(*action);
                let before = model.world.ours().cloned();
                model.apply(*action, &intent);
                progress.did(*action, &intent, before.as_ref(), now);
            }
            progress.adopted |= plan.adopt;
            progress.note(&intent, &model.world, &policy, now);
            if plan == Plan::default() {
                rested = true;
                break;
            }
            now = plan.look_again.unwrap_or(now).after(Duration::from_millis(1));
        }
        prop_assert!(rested, "no rest: {:?} {:?}", model.world, progress);
        let ended_for_good = progress.adopted && matches!(model.world.power(), Some(Power::Off(_)));
        // a guest that suspended itself while it ran as ordered is left to sleep
        let asleep = model.world.power() == Some(Power::Paused(Held::Suspended));
        let rests = fulfils(intent.wanted, &model.world) || ended_for_good || asleep;
        prop_assert!(rests, "{:?}", model.world);
        if let (Some(ours), false) = (model.world.ours(), ended_for_good) {
            prop_assert_eq!(&ours.actual, &intent.definition);
            prop_assert_eq!(ours.generation, intent.key.generation);
        }
        if intent.wanted == Wanted::Running && !ended_for_good && !asleep {
            prop_assert!(progress.reboots_done >= intent.reboot_counter);
        }
        let later = now.after(Duration::from_secs(86_400));
        prop_assert_eq!(plan(&intent, &model.world, &progress, &policy, later), Plan::default());
    }

    /// Nothing without our mark, and nothing of a newer owner, is ever acted upon.
    #[test]
    fn foreign_and_newer_vms_are_safe(intent in intent(), observed in observed(), progress in progress()) {
        let plan = plan(&intent, &observed, &progress, &Policy::default(), Timestamp(1 << 60));
        if observed.domain == (Domain::Foreign { active: true }) {
            prop_assert!(plan.actions.is_empty(), "disks under a VM that runs: {:?}", plan.actions);
        }
        if matches!(observed.domain, Domain::Foreign { .. }) {
            let files_only = |a: &Action| matches!(a, Action::RemoveFiles | Action::Quarantine);
            prop_assert!(plan.actions.iter().all(files_only), "{:?}", plan.actions);
        }
        if observed.ours().is_some_and(|o| o.generation > intent.key.generation) {
            prop_assert!(plan.actions.is_empty());
        }
    }
}
