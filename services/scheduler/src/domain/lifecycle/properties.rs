//! What holds whatever happens, in whatever order.

use super::*;
use kernel::InstanceId;
use proptest::prelude::*;
use scheduler_placement::instance::{Boot, Draft, Phase, Policy, RestartPolicy, Spec};
use scheduler_placement::resources::{Gpus, Resources};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const HOST: HostId = HostId::from_u128(1);
pub(super) const SPEC: LifecycleLimits = LifecycleLimits {
    start_deadline: Duration::from_secs(600),
    action_deadline: Duration::from_secs(300),
    max_hosts: 3,
    default_grace_s: 60,
};

/// An instance and everything that was said about it.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub instance: Instance,
    pub now: Timestamp,
    operations: u128,
    said: Vec<OperationStep>,
}

pub(super) fn life() -> Life {
    let spec = Spec {
        image_id: "i".into(),
        image_name: "debian".into(),
        flavor_name: String::new(),
        resources: Resources::default(),
        hostname: "web".into(),
        ssh_authorized_keys: Vec::new(),
        user_data: None,
        labels: BTreeMap::new(),
        driver: None,
        require_host_labels: BTreeMap::new(),
        avoid_host_labels: BTreeMap::new(),
        affinity_group: String::new(),
        anti_affinity_group: String::new(),
        max_per_host: 0,
        gpus: Gpus::default(),
        restart_policy: RestartPolicy::Always,
        policy: Policy::Spread,
    };
    let boot = Boot {
        artifacts: Vec::new(),
        kernel_cmdline: String::new(),
        guest_agent: true,
        architecture: String::new(),
    };
    let (id, tenant, name) = (InstanceId::from_u128(7), "acme".to_owned(), "web".to_owned());
    let now = Timestamp(1_000_000);
    let instance = Instance::draft(Draft { id, tenant, name, spec, boot }, now);
    Life { instance, now, operations: 0, said: Vec::new() }
}

/// A request to bring it back with disks that this host had put aside.
pub(super) fn restoring(operation: OperationId, host: HostId) -> Input {
    let placement =
        Placement { host, host_name: "h".into(), driver: Driver::Libvirt, gpu_indexes: Vec::new() };
    Input::Restore { operation, placement, quarantine: QuarantineId::from_u128(9) }
}

impl Life {
    pub fn input(&mut self, input: Input) -> Outputs {
        let grace_s = match &input {
            Input::Stop { grace_s, .. } => *grace_s,
            _ => SPEC.default_grace_s,
        };
        let (instance, outputs) = step(self.instance.clone(), input, self.now, &SPEC);
        check(&self.instance, &instance, &outputs);
        if let Some(order) = outputs.tell {
            assert_eq!(order.stop_grace_s, grace_s, "what a request says holds for its own order alone");
        }
        self.instance = instance;
        self.said.extend(outputs.operations.clone());
        outputs
    }

    pub fn operation(&mut self) -> OperationId {
        self.operations += 1;
        OperationId::from_u128(self.operations)
    }

    pub fn accept(&mut self) -> Outputs {
        let operation = self.operation();
        self.input(Input::Accept { operation })
    }

    pub fn place(&mut self, host: HostId) -> Outputs {
        let (host_name, driver) = ("h".into(), Driver::Libvirt);
        self.input(Input::Placed { host, host_name, driver, gpu_indexes: Vec::new() })
    }

    pub fn start(&mut self) -> Outputs {
        let operation = self.operation();
        self.input(Input::Start { operation })
    }

    pub fn stop(&mut self) -> Outputs {
        let operation = self.operation();
        self.input(Input::Stop { operation, grace_s: 30 })
    }

    pub fn reboot(&mut self) -> Outputs {
        let operation = self.operation();
        self.input(Input::Reboot { operation })
    }

    pub fn pause(&mut self) -> Outputs {
        let operation = self.operation();
        self.input(Input::Pause { operation })
    }

    pub fn resume(&mut self) -> Outputs {
        let operation = self.operation();
        self.input(Input::Resume { operation })
    }

    pub fn delete(&mut self) -> Outputs {
        let operation = self.operation();
        self.input(Input::Delete { operation })
    }

    /// With disks that this host had put aside.
    pub fn restore(&mut self, host: HostId) -> Outputs {
        let operation = self.operation();
        self.input(restoring(operation, host))
    }

    /// The next observation of the host it is on, under the newest intent.
    pub fn next_observation(&self, seen: Seen) -> Observation {
        let instance = &self.instance;
        Observation {
            host: instance.placement.as_ref().map_or(HOST, |placement| placement.host),
            revision: instance.observation_revision + 1,
            generation: instance.generation,
            intent_revision: instance.intent_revision,
            seen,
            agent_answered: false,
            addresses: Vec::new(),
            reboot_counter: 0,
            failure: None,
            gave_up: false,
            steps: Vec::new(),
            has_run: false,
            unordered: None,
        }
    }

    pub fn see(&mut self, seen: Seen, change: impl FnOnce(&mut Observation)) -> Outputs {
        let mut observation = self.next_observation(seen);
        change(&mut observation);
        self.input(Input::Observed(observation))
    }

    pub fn give_up(&mut self, code: &str) -> Outputs {
        self.see(Seen::Stopped, |seen| {
            seen.gave_up = true;
            seen.failure = Some(Refusal::new(code, "it failed"));
        })
    }

    /// Created, placed on `HOST`, ready.
    pub fn up(mut self) -> Self {
        self.accept();
        self.place(HOST);
        self.see(Seen::Running, |seen| seen.agent_answered = true);
        assert_eq!(self.instance.phase, Phase::Ready);
        self
    }
}

/// What holds after every single step.
fn check(before: &Instance, after: &Instance, outputs: &Outputs) {
    let refused = outputs.say == Some(Event::RequestRefused);
    let changed = outputs.say.is_some() && !refused;
    assert_eq!(
        after.revision,
        before.revision + u64::from(changed),
        "a change is one revision and one event"
    );
    if !changed {
        assert_eq!(before, after);
        assert_eq!(outputs.tell, None);
    }
    if before.phase == Phase::Deleted && after.restoring.is_none() {
        assert_eq!(before, after, "deleted is final, but for disks that are given back");
    }
    assert!(after.generation >= before.generation && after.intent_revision >= before.intent_revision);
    assert!(after.reboot_counter >= before.reboot_counter);
    if let (Some((old, _)), Some((new, _))) = (before.reservation(), after.reservation()) {
        assert_eq!(old, new, "a host is left before another is taken");
    }
    let has_host = after.placement.is_some() && after.phase != Phase::Deleted;
    assert_eq!(after.reservation().is_some(), has_host);
    let needs_host = !matches!(after.phase, Phase::Pending | Phase::Stopped | Phase::Failed | Phase::Deleted);
    assert!(has_host || !needs_host, "{:?} without a host", after.phase);
    if before.reservation().is_none() && after.reservation().is_some() {
        let back = before.phase == Phase::Deleted;
        assert_eq!(outputs.say, Some(if back { Event::Accepted } else { Event::Placed }));
        assert_eq!(after.generation, before.generation + 1);
    }
    if let Some(intent) = outputs.tell {
        assert_eq!(Some(intent.host), after.reservation().map(|(host, _)| host));
        assert_eq!(intent.intent_revision, before.intent_revision + 1, "each order is newer than the last");
    }
    if before.has_booted && before.reservation().is_some() && after.reservation().is_none() {
        let said = after.refusal.as_ref().is_some_and(|refusal| refusal.code == "DISK_PUT_ASIDE");
        assert!(
            after.phase == Phase::Deleted || said,
            "a disk with data is left by deleting it, or said to be"
        );
    }
    if let Some(intent) = outputs.tell {
        let asked = after.desired == scheduler_placement::instance::Desired::Absent;
        assert_eq!(intent.deleted, asked, "a host may remove what somebody deleted, and nothing else");
    }
}

#[derive(Debug, Clone)]
enum Move {
    Accept,
    Place(u128),
    NoRoom(u8),
    Request(u8),
    See {
        seen: Seen,
        agent: bool,
        gave_up: bool,
        fails: bool,
        stale: u8,
        reboots: u64,
        started: bool,
        ran: bool,
    },
    Wait(u64),
    Repeat,
}

fn any_move() -> impl Strategy<Value = Move> {
    let seen = prop::sample::select(vec![
        Seen::Running,
        Seen::Stopped,
        Seen::Paused,
        Seen::Absent,
        Seen::Crashed,
        Seen::Unknown,
    ]);
    let rarely = || prop::bool::weighted(0.2);
    let see = (
        seen,
        any::<bool>(),
        rarely(),
        rarely(),
        prop_oneof![6 => Just(0_u8), 1 => 1..4_u8],
        0..4_u64,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(seen, agent, gave_up, fails, stale, reboots, started, ran)| Move::See {
            seen,
            agent,
            gave_up,
            fails,
            stale,
            reboots,
            started,
            ran,
        });
    prop_oneof![
        2 => Just(Move::Accept),
        4 => (1..5_u128).prop_map(Move::Place),
        1 => (0..3_u8).prop_map(Move::NoRoom),
        5 => (0..9_u8).prop_map(Move::Request),
        10 => see,
        2 => (0..1000_u64).prop_map(Move::Wait),
        1 => Just(Move::Repeat),
    ]
}

fn play(life: &mut Life, moved: &Move) {
    match moved {
        Move::Accept => drop(life.accept()),
        Move::Place(host) => drop(life.place(HostId::from_u128(*host))),
        Move::NoRoom(which) => {
            let refusal = Refusal::new("NO_HOST_HAS_ROOM", format!("reason {which}"));
            life.input(Input::NoRoom { refusal });
        }
        Move::Request(_) if life.instance.revision == 0 => {}
        Move::Request(which) => drop(match which {
            0 => life.start(),
            1 => life.stop(),
            2 => life.reboot(),
            3 => life.pause(),
            4 => life.resume(),
            5 => life.delete(),
            host => life.restore(HostId::from_u128(u128::from(*host - 5))),
        }),
        Move::See { seen, agent, gave_up, fails, stale, reboots, started, ran } => {
            let mut observation = life.next_observation(*seen);
            observation.agent_answered = *agent;
            observation.gave_up = *gave_up;
            observation.failure = fails.then(|| Refusal::new("BROKEN", "it broke"));
            observation.reboot_counter = *reboots;
            observation.has_run = *ran;
            if *started {
                observation.steps = vec![Step { name: "started".into(), at: life.now }];
            }
            match stale {
                1 => observation.generation = observation.generation.saturating_sub(1),
                2 => observation.intent_revision = observation.intent_revision.saturating_sub(1),
                3 => observation.revision = observation.revision.saturating_sub(1),
                _ => {}
            }
            life.input(Input::Observed(observation.clone()));
            let repeated = life.input(Input::Observed(observation));
            assert_eq!(repeated, Outputs::default(), "a repeated observation changes nothing");
        }
        Move::Wait(seconds) => {
            life.now = life.now.after(Duration::from_secs(*seconds));
            life.input(Input::DeadlinePassed { host_up: seconds % 2 == 0 });
        }
        Move::Repeat => {
            if let Some(operation) = life.instance.operation {
                let outputs = life.input(Input::Delete { operation: operation.id });
                assert_eq!(outputs.say, None, "the operation is taken already");
            }
        }
    }
    life.now = life.now.after(Duration::from_millis(10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn whatever_happens_the_rules_hold(
        moves in prop::collection::vec(any_move(), 0..60),
        agent in any::<bool>(),
        policy in prop::sample::select(vec![RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]),
    ) {
        let mut life = life();
        life.instance.boot.guest_agent = agent;
        life.instance.spec.restart_policy = policy;
        for moved in &moves {
            play(&mut life, moved);
        }
        // and when time runs out, nobody waits any more
        life.now = life.now.after(Duration::from_secs(1_000_000));
        life.input(Input::DeadlinePassed { host_up: true });
        prop_assert!(life.instance.operation.is_none());
        let mut ended = BTreeSet::new();
        for progress in &life.said {
            prop_assert!(!ended.contains(&progress.operation), "{progress:?} after its end");
            if progress.standing.is_end() {
                ended.insert(progress.operation);
            }
        }
        let begun: BTreeSet<OperationId> = life.said.iter().map(|progress| progress.operation).collect();
        prop_assert_eq!(begun, ended, "an operation never ended");
    }
}
