//! One step of an instance's life, with everything that follows from it: the row, the event, the order to its host.

use super::Context;
use crate::domain::instance::Instance;
use crate::domain::lifecycle::{self, Event, Input, Intent, Progress};
use crate::store::{hosts, instances};
use crate::translate::{instance as snapshot, lifecycle as translate};
use bus::{Failure, Work};
use contracts::common::v1::OperationProgress;
use contracts::scheduler::v1 as said;
use kernel::Refusal;

/// Decides what `input` makes of the instance, and saves that. Answers the instance as it is now.
pub async fn advance(
    work: &mut Work,
    context: &Context,
    before: Instance,
    input: Input,
) -> Result<Instance, Failure> {
    let (from, had_reservation) = (before.revision, before.reservation().is_some());
    let (instance, outputs) = lifecycle::step(before, input, work.now(), &context.limits);
    if let Some(event) = outputs.say {
        if event != Event::RequestRefused {
            save(work, &instance, from).await?;
        }
        say(work, event, &instance, &outputs.operations);
        let (metrics, operations) = (context.metrics.clone(), outputs.operations);
        work.after_commit(move || metrics.progressed(&operations));
    }
    if let Some(intent) = outputs.tell {
        tell(work, &instance, intent).await?;
    }
    let released = had_reservation && instance.reservation().is_none();
    if outputs.request_placement || released {
        let placement = context.placement.clone();
        work.after_commit(move || placement.notify_one());
    }
    Ok(instance)
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
    match instances::find_of(work.tx(), tenant, instance_id).await? {
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
pub async fn tell(work: &mut Work, instance: &Instance, intent: Intent) -> Result<(), Failure> {
    // a host that has a reservation was registered, and hosts are never forgotten
    let agent = hosts::agent_of(work.tx(), intent.host).await?.ok_or_else(|| {
        Failure::Poison(format!("instance {} is on host {}, which is unknown", instance.id, intent.host))
    })?;
    work.tell(&translate::ensure_vm(instance, intent, agent));
    Ok(())
}

async fn save(work: &mut Work, instance: &Instance, from: u64) -> Result<(), Failure> {
    match from {
        0 => instances::insert(work.tx(), instance).await,
        _ => instances::update(work.tx(), instance, from).await,
    }
}

fn say(work: &mut Work, event: Event, instance: &Instance, operations: &[Progress]) {
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
