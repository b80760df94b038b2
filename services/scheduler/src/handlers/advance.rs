//! Steps of an instance's life, with everything that follows from them: the row, the events, the order to its host.

use super::Context;
use crate::domain::lifecycle::{self, Event, Input, Intent, OperationStep};
use crate::quota;
use crate::store::{hosts, instances};
use crate::translate::{instance as snapshot, lifecycle as translate};
use bus::{Failure, Work};
use contracts::common::v1::OperationProgress;
use contracts::scheduler::v1 as said;
use kernel::Refusal;
use scheduler_placement::instance::{Instance, Phase};
use scheduler_placement::solver::Resident;

/// An instance on its way through one message. Each step is said at once; the row is written when it has arrived.
pub struct Passage {
    instance: Instance,
    /// The revision of its row; 0 = none yet.
    from: u64,
    /// What it held before.
    held: Option<Resident>,
    tell: Option<Intent>,
    request_placement: bool,
}

impl Passage {
    /// Begins with the instance as its row has it, or as a draft.
    pub fn of(instance: Instance) -> Self {
        let (from, held) = (instance.revision, Resident::of(&instance));
        Self { instance, from, held, tell: None, request_placement: false }
    }

    /// As far as it has come.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// It has no row yet.
    pub fn is_new(&self) -> bool {
        self.from == 0
    }

    /// Decides what `input` makes of the instance, and says it.
    pub fn step(&mut self, work: &mut Work, context: &Context, input: Input) {
        let (instance, outputs) = lifecycle::step(self.instance.clone(), input, work.now(), &context.limits);
        self.instance = instance;
        if let Some(event) = outputs.say {
            say(work, event, &self.instance, &outputs.operations);
            let (metrics, operations) = (context.metrics.clone(), outputs.operations);
            if operations.iter().any(|progress| progress.standing.is_end()) {
                work.after_commit(move || metrics.progressed(&operations));
            }
        }
        self.tell = outputs.tell.or(self.tell);
        self.request_placement |= outputs.request_placement;
    }

    /// The solver was just asked: nobody needs to be woken for that.
    pub fn tried(&mut self) {
        self.request_placement = false;
    }

    /// Writes the row, notes what it holds now, and tells its host. Answers the instance.
    pub async fn arrive(self, work: &mut Work, context: &Context) -> Result<Instance, Failure> {
        let holds = Resident::of(&self.instance);
        let (moved, released) = (holds != self.held, self.held.is_some() && holds.is_none());
        if self.instance.revision != self.from {
            if moved {
                context.fleet.hold(work, &context.metrics).await?;
            }
            instances::save(work, &self.instance, self.from);
            if self.instance.phase == Phase::Deleted {
                quota::changed(work, &self.instance.tenant);
            }
            if moved {
                context.fleet.reserved(work, self.instance.id, holds);
            }
        }
        if let Some(intent) = self.tell {
            tell(work, context, &self.instance, intent).await?;
        }
        if self.request_placement || released {
            let placement = context.placement.clone();
            work.after_commit(move || placement.notify_one());
        }
        Ok(self.instance)
    }
}

/// Decides what `input` makes of the instance, and saves that. Answers the instance as it is now.
pub async fn advance(
    work: &mut Work,
    context: &Context,
    before: Instance,
    input: Input,
) -> Result<Instance, Failure> {
    let mut passage = Passage::of(before);
    passage.step(work, context, input);
    passage.arrive(work, context).await
}

/// A request about an instance of the command's tenant; another tenant's instance does not exist.
pub async fn request(
    work: &mut Work,
    context: &Context,
    (tenant, instance_id, operation_id): (&str, &str, &str),
    input: impl FnOnce(kernel::OperationId) -> Input,
) -> Result<(), Failure> {
    let operation = operation_id
        .parse()
        .map_err(|error: kernel::InvalidId| Failure::Poison(format!("operation_id: {error}")))?;
    match instances::find_of(work, tenant, instance_id).await? {
        Some(instance) => drop(advance(work, context, instance, input(operation)).await?),
        None => {
            let refusal = Refusal::new("NOT_FOUND", format!("there is no instance {instance_id}"));
            let operations = vec![translate::failed(operation_id, &refusal)];
            let event = said::RequestRefused { object_id: instance_id.to_owned(), operations };
            work.say_for(tenant, &event);
        }
    }
    Ok(())
}

/// Sends an instance's host its order as it stands.
pub async fn tell(
    work: &mut Work,
    context: &Context,
    instance: &Instance,
    intent: Intent,
) -> Result<(), Failure> {
    match context.fleet.agent_of(work, intent.host) {
        Some(agent) => work.tell(&translate::ensure_vm(instance, intent, agent)),
        None => tell_by_table(work, instance, intent).await?,
    }
    Ok(())
}

/// The same where no fleet is in memory.
pub async fn tell_by_table(work: &mut Work, instance: &Instance, intent: Intent) -> Result<(), Failure> {
    let agent = hosts::agent_of(work.tx(), intent.host).await?;
    // a host that has a reservation was registered, and hosts are never forgotten
    let agent = agent.ok_or_else(|| {
        Failure::Poison(format!("instance {} is on host {}, which is unknown", instance.id, intent.host))
    })?;
    work.tell(&translate::ensure_vm(instance, intent, agent));
    Ok(())
}

fn say(work: &mut Work, event: Event, instance: &Instance, operations: &[OperationStep]) {
    let tenant = instance.tenant.as_str();
    let operations: Vec<OperationProgress> = operations.iter().map(translate::progress_out).collect();
    if event == Event::RequestRefused {
        let object_id = instance.id.to_string();
        return work.say_for(tenant, &said::RequestRefused { object_id, operations });
    }
    let instance = Some(snapshot::instance_out(instance));
    match event {
        Event::Accepted => work.say_for(tenant, &said::InstanceAccepted { instance, operations }),
        Event::Placed => work.say_for(tenant, &said::InstancePlaced { instance, operations }),
        Event::Started => work.say_for(tenant, &said::InstanceStarted { instance, operations }),
        Event::Ready => work.say_for(tenant, &said::InstanceReady { instance, operations }),
        Event::Changed | Event::RequestRefused => {
            work.say_for(tenant, &said::InstanceChanged { instance, operations });
        }
        Event::Stopped => work.say_for(tenant, &said::InstanceStopped { instance, operations }),
        Event::Paused => work.say_for(tenant, &said::InstancePaused { instance, operations }),
        Event::Failed => work.say_for(tenant, &said::InstanceFailed { instance, operations }),
        Event::Deleted => work.say_for(tenant, &said::InstanceDeleted { instance, operations }),
    }
}
