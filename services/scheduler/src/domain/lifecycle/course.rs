//! One step under way: the instance as it becomes, and what will have to be said and done about it.

use super::{Event, Intent, LifecycleLimits, OperationStanding, OperationStep, Outputs, Power};
use kernel::{OperationId, Refusal, Timestamp};
use scheduler_placement::instance::{Desired, Instance, Operation, OperationKind, Phase, Step};

/// No host may make an instance's list of steps longer than this.
const MAX_STEPS: usize = 64;

pub(super) struct Course<'a> {
    before: Instance,
    pub instance: Instance,
    pub now: Timestamp,
    pub limits: &'a LifecycleLimits,
    operations: Vec<OperationStep>,
    /// What the request of this step says of the order that it makes. The orders after it know nothing of that.
    grace_s: Option<u32>,
    intend: bool,
    refused: bool,
    pub request_placement: bool,
}

impl<'a> Course<'a> {
    pub fn new(instance: Instance, now: Timestamp, limits: &'a LifecycleLimits) -> Self {
        Self {
            before: instance.clone(),
            instance,
            now,
            limits,
            operations: Vec::new(),
            grace_s: None,
            intend: false,
            refused: false,
            request_placement: false,
        }
    }

    /// The instance becomes busy with an operation; the one before, if any, is superseded.
    pub fn begin(&mut self, id: OperationId, kind: OperationKind) {
        if let Some(old) = self.instance.operation.take() {
            let message = format!("a later request to {} it took over", kind.verb());
            let refusal = Some(Refusal::new("SUPERSEDED", message));
            self.report(old.id, OperationStanding::Superseded, refusal);
        }
        let patience = match kind {
            OperationKind::Create | OperationKind::Start | OperationKind::Reboot => {
                self.limits.start_deadline
            }
            OperationKind::Stop => {
                let grace = std::time::Duration::from_secs(u64::from(self.grace_s()));
                self.limits.action_deadline.saturating_add(grace)
            }
            OperationKind::Pause | OperationKind::Resume | OperationKind::Delete | OperationKind::Restore => {
                self.limits.action_deadline
            }
        };
        self.instance.operation = Some(Operation { id, kind, deadline: self.now.after(patience) });
        self.instance.steps.clear();
        self.step("accepted");
    }

    /// The operation the instance is busy with is done, if it waited for this.
    pub fn succeed(&mut self, kinds: &[OperationKind]) {
        if let Some(operation) = self.instance.operation.take_if(|operation| kinds.contains(&operation.kind))
        {
            self.report(operation.id, OperationStanding::Succeeded, None);
        }
    }

    /// The operation the instance is busy with failed, if there is one.
    pub fn fail(&mut self, refusal: &Refusal) {
        if let Some(operation) = self.instance.operation.take() {
            self.report(operation.id, OperationStanding::Failed, Some(refusal.clone()));
        }
    }

    /// A request that is already fulfilled succeeds at once; nothing else changes.
    pub fn already(&mut self, operation: OperationId) {
        self.report(operation, OperationStanding::Succeeded, None);
    }

    /// A request that makes no sense now.
    pub fn refuse(&mut self, operation: OperationId, code: &str, message: String) {
        self.refused = true;
        self.report(operation, OperationStanding::Failed, Some(Refusal::new(code, message)));
    }

    fn report(&mut self, operation: OperationId, standing: OperationStanding, refusal: Option<Refusal>) {
        let step = self.instance.steps.last().map(|step| step.name.clone()).unwrap_or_default();
        self.operations.push(OperationStep { operation, standing, step, refusal });
    }

    /// What the host should do changed: it will be told, whatever it turns out to be at the end of the step.
    pub fn intend(&mut self) {
        self.intend = true;
    }

    /// This step's request gives the guest so many seconds to shut down.
    pub fn give_grace(&mut self, seconds: u32) {
        self.grace_s = Some(seconds);
    }

    fn grace_s(&self) -> u32 {
        self.grace_s.unwrap_or(self.limits.default_grace_s)
    }

    /// Notes a moment. A name that comes again takes the place of the earlier one.
    pub fn step(&mut self, name: &str) {
        self.step_at(name, self.now);
    }

    pub fn step_at(&mut self, name: &str, at: Timestamp) {
        let steps = &mut self.instance.steps;
        if steps.iter().any(|step| step.name == name && step.at == at) {
            return;
        }
        steps.retain(|step| step.name != name);
        if steps.len() < MAX_STEPS {
            steps.push(Step { name: name.to_owned(), at });
        }
    }

    pub fn operation_kind(&self) -> Option<OperationKind> {
        self.instance.operation.map(|operation| operation.kind)
    }

    /// The same operation again: it was taken already.
    pub fn busy_with(&self, operation: OperationId) -> bool {
        self.instance.operation.is_some_and(|current| current.id == operation)
    }

    /// Closes the step: counts the revision, chooses the event, makes the order for the host.
    pub fn finish(mut self) -> (Instance, Outputs) {
        if self.refused {
            let say = Some(Event::RequestRefused);
            return (self.before, Outputs { say, operations: self.operations, ..Outputs::default() });
        }
        if self.intend && self.instance.placement.is_some() {
            self.instance.intent_revision += 1;
            // an order carries what its own request said, and nothing of an earlier one
            self.instance.stop_grace_s = self.grace_s();
        }
        if self.instance == self.before && self.operations.is_empty() {
            let request_placement = self.request_placement;
            return (self.before, Outputs { request_placement, ..Outputs::default() });
        }
        self.report_progress();
        self.instance.revision += 1;
        self.instance.updated_at = self.now;
        let tell = (self.instance.intent_revision != self.before.intent_revision)
            .then(|| intent(&self.instance))
            .flatten();
        let outputs = Outputs {
            say: Some(event(&self.before, &self.instance)),
            operations: self.operations,
            tell,
            request_placement: self.request_placement,
        };
        (self.instance, outputs)
    }

    /// An operation that goes on is told of when it began or came a step further.
    fn report_progress(&mut self) {
        let Some(operation) = self.instance.operation else { return };
        let began = self.before.operation.map(|before| before.id) != Some(operation.id);
        if began || self.before.steps.last() != self.instance.steps.last() {
            self.report(operation.id, OperationStanding::Running, None);
        }
    }
}

fn event(before: &Instance, after: &Instance) -> Event {
    if before.revision == 0 || (before.phase == Phase::Deleted && after.phase != Phase::Deleted) {
        return Event::Accepted;
    }
    if after.generation != before.generation {
        return Event::Placed;
    }
    if after.phase == before.phase {
        return Event::Changed;
    }
    match after.phase {
        Phase::Running => Event::Started,
        Phase::Ready => Event::Ready,
        Phase::Stopped => Event::Stopped,
        Phase::Paused => Event::Paused,
        Phase::Failed => Event::Failed,
        Phase::Deleted => Event::Deleted,
        Phase::Pending | Phase::Starting | Phase::Stopping | Phase::Deleting | Phase::Relocating => {
            Event::Changed
        }
    }
}

/// What the host of an instance should make of it.
pub(super) fn power(instance: &Instance) -> Power {
    match (instance.phase, instance.desired) {
        (Phase::Relocating, _) | (_, Desired::Absent) => Power::Absent,
        (_, Desired::Running) => Power::Running,
        (_, Desired::Stopped) => Power::Stopped,
        (_, Desired::Paused) => Power::Paused,
    }
}

/// The order for the host of an instance, as it stands; none when it has no host.
pub fn intent(instance: &Instance) -> Option<Intent> {
    let placement = instance.placement.as_ref()?;
    Some(Intent {
        host: placement.host,
        generation: instance.generation,
        intent_revision: instance.intent_revision,
        power: power(instance),
        reboot_counter: instance.reboot_counter,
        stop_grace_s: instance.stop_grace_s,
        deleted: instance.desired == Desired::Absent,
        take_back: instance.restoring,
    })
}
