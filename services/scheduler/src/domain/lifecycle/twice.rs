//! Every input in every phase, twice: what comes again changes nothing and orders nothing new. The phases and the inputs
//! are read off the source of their types, so that a new one is missed here until it is covered.

use super::properties::{HOST, Life, life};
use super::*;
use scheduler_placement::instance::RestartPolicy;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// The variants of an enum, as its source lists them.
fn variants(source: &'static str, name: &str) -> BTreeSet<String> {
    let from = source.find(&format!("pub enum {name} {{")).expect("the enum is in this file");
    let body = &source[from..];
    let body = &body[..body.find("\n}").expect("its end")];
    let variant = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let word: String = line.chars().take_while(|c| c.is_alphanumeric()).collect();
        word.chars().next().is_some_and(char::is_uppercase).then_some(word)
    };
    body.lines().skip(1).filter_map(variant).collect()
}

fn word(debug: &impl std::fmt::Debug) -> String {
    format!("{debug:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// Lives in many states, found by playing inputs from the first on.
fn states() -> Vec<Life> {
    let mut found: BTreeMap<String, Life> = BTreeMap::new();
    let mut fresh = Vec::new();
    for policy in [RestartPolicy::Always, RestartPolicy::Never] {
        let mut first = life();
        first.instance.spec.restart_policy = policy;
        fresh.push(first);
    }
    for _depth in 0..7 {
        for mut from in std::mem::take(&mut fresh) {
            for input in inputs(&mut from) {
                let mut then = from.clone();
                then.input(input);
                then.now = then.now.after(Duration::from_secs(1));
                let it = &then.instance;
                // what the rules look at, without counters and times
                let state = (
                    (it.phase, it.desired, it.placement.is_some(), it.has_booted, it.spec.restart_policy),
                    (it.operation.map(|o| o.kind), it.failed_hosts.len(), it.reboot_counter.min(2)),
                    (it.refusal.as_ref().map(|r| r.code.clone()), it.revision > 0),
                );
                if let Entry::Vacant(place) = found.entry(format!("{state:?}")) {
                    place.insert(then.clone());
                    fresh.push(then);
                }
            }
        }
    }
    found.into_values().collect()
}

/// At least one input of each kind that makes sense or not in this state.
fn inputs(life: &mut Life) -> Vec<Input> {
    let refusal = Refusal::new("NO_HOST_HAS_ROOM", "full");
    let mut all = vec![Input::Accept { operation: life.operation() }];
    if life.instance.revision > 0 {
        all.extend([
            Input::Placed {
                host: HOST,
                host_name: "h".into(),
                driver: Driver::Libvirt,
                gpu_indexes: Vec::new(),
            },
            Input::NoRoom { refusal },
            Input::Start { operation: life.operation() },
            Input::Stop { operation: life.operation(), grace_s: 30 },
            Input::Reboot { operation: life.operation() },
            Input::Pause { operation: life.operation() },
            Input::Resume { operation: life.operation() },
            Input::ExpectAgent { operation: life.operation(), expected: true },
            Input::ExpectAgent { operation: life.operation(), expected: false },
            Input::Delete { operation: life.operation() },
            super::properties::restoring(life.operation(), HOST),
            super::properties::restoring(life.operation(), HostId::from_u128(2)),
            Input::DeadlinePassed { host_up: true },
            Input::DeadlinePassed { host_up: false },
        ]);
    }
    for seen in [Seen::Running, Seen::Stopped, Seen::Paused, Seen::Absent, Seen::Crashed, Seen::Unknown] {
        for (agent_answered, gave_up) in [(false, false), (true, false), (false, true)] {
            let failure = gave_up.then(|| Refusal::new("BROKEN", "it broke"));
            let steps = vec![Step { name: "started".into(), at: life.now }];
            let next = life.next_observation(seen);
            let reboot_counter = life.instance.reboot_counter;
            all.push(Input::Observed(Observation {
                agent_answered,
                gave_up,
                failure,
                steps,
                reboot_counter,
                has_run: agent_answered,
                ..next
            }));
        }
    }
    all
}

#[test]
fn every_input_in_every_phase_twice_is_as_good_as_once() {
    let (mut phases, mut kinds, mut pairs) = (BTreeSet::new(), BTreeSet::new(), 0);
    for mut before in states() {
        phases.insert(word(&before.instance.phase));
        for input in inputs(&mut before) {
            kinds.insert(word(&input));
            let (once, first) =
                step(before.instance.clone(), input.clone(), before.now, &super::properties::SPEC);
            let (twice, second) = step(once.clone(), input.clone(), before.now, &super::properties::SPEC);
            let what = format!("{input:?}\nin {:?}\nfirst {first:?}\nsecond {second:?}", before.instance);
            assert_eq!(second.tell, None, "an order comes of the repetition: {what}");
            let mut expected = once.clone();
            // a request that was over at once is answered again; who waited for it has its answer and passes over others
            if second.say.is_some() {
                let over =
                    |outputs: &Outputs| outputs.operations.iter().any(|progress| progress.standing.is_end());
                assert!(over(&first) && over(&second), "an answer that is none: {what}");
                (expected.revision, expected.updated_at) = (twice.revision, twice.updated_at);
            }
            assert_eq!(twice, expected, "the repetition changes something: {what}");
            pairs += 1;
        }
    }
    assert_eq!(
        phases,
        variants(include_str!("../../../parts/placement/src/instance.rs"), "Phase"),
        "every phase is reached"
    );
    assert_eq!(kinds, variants(include_str!("mod.rs"), "Input"), "every input is tried");
    assert!(pairs > 5_000, "{pairs} pairs");
}
