//! The whole life of an instance as one pure function: `step(instance, input, now) -> (instance, outputs)`.
//!
//! What holds after every step (tested in `properties.rs`): a change raises the revision by exactly one and is
//! said in exactly one event; deleted is final, unless its disks are
//! given back under a new ownership; there is a reservation exactly while the instance has a host and
//! is not deleted; every operation ends at most once, and at its deadline at the latest.

mod course;
mod deadline;
#[cfg(test)]
mod guests;
mod observed;
mod placement;
#[cfg(test)]
mod properties;
mod requests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twice;

pub use course::intent;
use scheduler_placement::host::Driver;
use scheduler_placement::instance::{Instance, Placement, Step, Unordered};

use course::Course;
use kernel::{HostId, OperationId, QuarantineId, Refusal, Timestamp};
use std::time::Duration;

/// Something that happens to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A new instance is taken on.
    Accept {
        /// The operation that ends when it is up.
        operation: OperationId,
    },
    /// The solver found a host.
    Placed {
        /// The host.
        host: HostId,
        /// Its name.
        host_name: String,
        /// The driver that will run it.
        driver: Driver,
        /// Which of the host's GPUs it gets.
        gpu_indexes: Vec<u32>,
    },
    /// The solver found none.
    NoRoom {
        /// Why.
        refusal: Refusal,
    },
    /// A host said what it saw.
    Observed(Observation),
    /// Bring it up.
    Start {
        /// Ends when it is up.
        operation: OperationId,
    },
    /// Shut it down.
    Stop {
        /// Ends when it is down.
        operation: OperationId,
        /// Seconds the guest gets.
        grace_s: u32,
    },
    /// Restart the guest.
    Reboot {
        /// Ends when it is up again.
        operation: OperationId,
    },
    /// Freeze it.
    Pause {
        /// Ends when it is frozen.
        operation: OperationId,
    },
    /// Let it go on.
    Resume {
        /// Ends when it runs.
        operation: OperationId,
    },
    /// Wait for the agent in its guest, or no longer.
    ExpectAgent {
        /// Ends at once.
        operation: OperationId,
        /// There is one.
        expected: bool,
    },
    /// Remove it.
    Delete {
        /// Ends when it is gone.
        operation: OperationId,
    },
    /// Bring it back with disks that a host put aside.
    Restore {
        /// Ends when it is there, stopped.
        operation: OperationId,
        /// Where the disks are.
        placement: Placement,
        /// Which.
        quarantine: QuarantineId,
    },
    /// The operation's deadline may have passed.
    DeadlinePassed {
        /// The instance's host answers.
        host_up: bool,
    },
}

/// What a VM was seen doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seen {
    /// Its CPUs run.
    Running,
    /// Defined or on disk, not running.
    Stopped,
    /// Frozen.
    Paused,
    /// Neither defined nor on disk.
    Absent,
    /// Ended without being asked to.
    Crashed,
    /// Nobody could look.
    Unknown,
}

/// What a host saw of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Who saw it.
    pub host: HostId,
    /// Grows by one with each observation of this VM on that host.
    pub revision: u64,
    /// Ownership under which the host acts.
    pub generation: u64,
    /// The intent it was following.
    pub intent_revision: u64,
    /// What the VM does.
    pub seen: Seen,
    /// The guest agent answered since the guest began to boot.
    pub agent_answered: bool,
    /// Addresses of the guest.
    pub addresses: Vec<String>,
    /// Reboots done.
    pub reboot_counter: u64,
    /// Why the last action failed.
    pub failure: Option<Refusal>,
    /// The host will not try again without a new intent.
    pub gave_up: bool,
    /// What the host did, and when.
    pub steps: Vec<Step>,
    /// The hypervisor ran it on the disk that it has there, or may have.
    pub has_run: bool,
    /// It is not as ordered, and why.
    pub unordered: Option<Unordered>,
}

/// The event that tells of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// It exists and waits for a host.
    Accepted,
    /// A host is decided and reserved.
    Placed,
    /// The hypervisor runs it.
    Started,
    /// The guest answered.
    Ready,
    /// Anything else about it changed.
    Changed,
    /// It is shut down.
    Stopped,
    /// It is frozen.
    Paused,
    /// It cannot be started.
    Failed,
    /// It is gone.
    Deleted,
    /// A request made no sense; nothing changed.
    RequestRefused,
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationStanding {
    /// Somebody works on it, or waits.
    Running,
    /// Done.
    Succeeded,
    /// Not done, and nobody waits for it any more.
    Failed,
    /// A later request made it pointless.
    Superseded,
}

impl OperationStanding {
    /// The operation is over.
    pub fn is_end(self) -> bool {
        self != OperationStanding::Running
    }
}

/// How far an operation got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationStep {
    /// Which.
    pub operation: OperationId,
    /// Where it stands.
    pub standing: OperationStanding,
    /// The step just done.
    pub step: String,
    /// Why it failed or was superseded.
    pub refusal: Option<Refusal>,
}

/// What a host should make of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Power {
    /// Up.
    Running,
    /// Down.
    Stopped,
    /// Frozen.
    Paused,
    /// Gone.
    Absent,
}

/// What a host is told. The rest of the order is the instance's spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// Who is told.
    pub host: HostId,
    /// Under this ownership.
    pub generation: u64,
    /// Newer than what it was told before.
    pub intent_revision: u64,
    /// What to make of it.
    pub power: Power,
    /// Reboots asked for so far.
    pub reboot_counter: u64,
    /// Seconds the guest gets to shut down.
    pub stop_grace_s: u32,
    /// Somebody deleted it: its files may go. Nothing else lets them.
    pub deleted: bool,
    /// Quarantined files that become its disks.
    pub take_back: Option<QuarantineId>,
}

/// What follows from a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outputs {
    /// The one event that tells of it; none: nothing happened.
    pub say: Option<Event>,
    /// The operations that the event moves on.
    pub operations: Vec<OperationStep>,
    /// What its host is told.
    pub tell: Option<Intent>,
    /// It waits for a host: ask the solver.
    pub request_placement: bool,
}

/// The numbers behind the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifecycleLimits {
    /// A create, start or reboot that is not done by then is failed; the work goes on.
    pub start_deadline: Duration,
    /// The same for everything else (a stop gets its grace time on top).
    pub action_deadline: Duration,
    /// After first starts failed on this many hosts the instance is failed.
    pub max_hosts: usize,
    /// Seconds a guest gets to shut down when nobody said.
    pub default_grace_s: u32,
}

impl Default for LifecycleLimits {
    fn default() -> Self {
        Self {
            start_deadline: Duration::from_secs(600),
            action_deadline: Duration::from_secs(300),
            max_hosts: 3,
            default_grace_s: 60,
        }
    }
}

/// One step of an instance's life.
pub fn step(
    instance: Instance,
    input: Input,
    now: Timestamp,
    limits: &LifecycleLimits,
) -> (Instance, Outputs) {
    let mut course = Course::new(instance, now, limits);
    match input {
        Input::Accept { operation } => placement::accept(&mut course, operation),
        Input::Placed { host, host_name, driver, gpu_indexes } => {
            placement::placed(&mut course, Placement { host, host_name, driver, gpu_indexes });
        }
        Input::NoRoom { refusal } => placement::no_room(&mut course, refusal),
        Input::Observed(observation) => observed::observed(&mut course, observation),
        Input::Start { operation } => requests::start(&mut course, operation),
        Input::Stop { operation, grace_s } => requests::stop(&mut course, operation, grace_s),
        Input::Reboot { operation } => requests::reboot(&mut course, operation),
        Input::Pause { operation } => requests::pause(&mut course, operation),
        Input::Resume { operation } => requests::resume(&mut course, operation),
        Input::ExpectAgent { operation, expected } => {
            requests::expect_agent(&mut course, operation, expected);
        }
        Input::Delete { operation } => requests::delete(&mut course, operation),
        Input::Restore { operation, placement, quarantine } => {
            requests::restore(&mut course, operation, placement, quarantine);
        }
        Input::DeadlinePassed { host_up } => deadline::passed(&mut course, host_up),
    }
    course.finish()
}
