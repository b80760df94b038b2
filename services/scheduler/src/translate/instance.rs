//! An instance's snapshot.

use super::{Invalid, names, required, spec};
use contracts::common::v1 as common;
use contracts::scheduler::v1 as wire;
use kernel::{HostId, Timestamp};
use scheduler_placement::instance::{Instance, Operation, Phase, Placement, Step};

/// An instance from its snapshot.
pub fn instance(from: wire::Instance) -> Result<Instance, Invalid> {
    let driver = names::driver(from.driver)?;
    let placement = match (from.host_id.as_str(), driver) {
        ("", _) => None,
        (_, None) => return Err(Invalid::new("driver", "is missing, though there is a host")),
        (host, Some(driver)) => Some(Placement {
            host: host.parse().map_err(Invalid::id("host_id"))?,
            host_name: from.host_name,
            driver,
            gpu_indexes: from.gpu_indexes,
        }),
    };
    let failed: Result<Vec<HostId>, _> = from.failed_host_ids.iter().map(|id| id.parse()).collect();
    Ok(Instance {
        id: from.id.parse().map_err(Invalid::id("id"))?,
        tenant: from.tenant,
        name: from.name,
        revision: from.revision,
        spec: spec::spec(required(from.spec, "spec")?)?,
        boot: spec::boot(from.boot.unwrap_or_default())?,
        phase: names::phase(from.phase)?,
        desired: names::desired(from.desired)?,
        placement,
        generation: from.generation,
        intent_revision: from.intent_revision,
        reboot_counter: from.reboot_counter,
        operation: from.operation.map(operation).transpose()?,
        refusal: from.refusal.map(Into::into),
        addresses: from.addresses,
        steps: from.steps.into_iter().map(step).collect(),
        created_at: Timestamp(from.created_at_us),
        updated_at: Timestamp(from.updated_at_us),
        failed_hosts: failed.map_err(Invalid::id("failed_host_ids"))?,
        observation_revision: from.observation_revision,
        stop_grace_s: from.stop_grace_s,
        has_booted: from.has_booted,
        restoring: match from.restoring.as_str() {
            "" => None,
            id => Some(id.parse().map_err(Invalid::id("restoring"))?),
        },
        confirmed_intent: from.confirmed_intent,
        unordered: names::unordered(from.vm_reason, from.hypervisor_state)?,
    })
}

/// An instance's snapshot.
pub fn instance_out(from: &Instance) -> wire::Instance {
    let placement = from.placement.as_ref();
    wire::Instance {
        id: from.id.to_string(),
        tenant: from.tenant.clone(),
        name: from.name.clone(),
        revision: from.revision,
        spec: Some(spec::spec_out(&from.spec)),
        phase: names::phase_out(from.phase).into(),
        desired: names::desired_out(from.desired),
        host_id: placement.map(|placement| placement.host.to_string()).unwrap_or_default(),
        host_name: placement.map(|placement| placement.host_name.clone()).unwrap_or_default(),
        generation: from.generation,
        intent_revision: from.intent_revision,
        reboot_counter: from.reboot_counter,
        operation: from.operation.map(operation_out),
        refusal: from.refusal.clone().map(Into::into),
        addresses: from.addresses.clone(),
        steps: from.steps.iter().map(step_out).collect(),
        created_at_us: from.created_at.micros(),
        updated_at_us: from.updated_at.micros(),
        failed_host_ids: from.failed_hosts.iter().map(ToString::to_string).collect(),
        observation_revision: from.observation_revision,
        boot: Some(spec::boot_out(&from.boot)),
        stop_grace_s: from.stop_grace_s,
        driver: names::driver_out(placement.map(|placement| placement.driver)),
        has_booted: from.has_booted,
        gpu_indexes: placement.map(|placement| placement.gpu_indexes.clone()).unwrap_or_default(),
        restoring: from.restoring.map(|id| id.to_string()).unwrap_or_default(),
        confirmed_intent: from.confirmed_intent,
        vm_reason: names::vm_reason_out(from.unordered.as_ref().map(|seen| seen.reason)),
        hypervisor_state: from.unordered.as_ref().map(|seen| seen.words.clone()).unwrap_or_default(),
    }
}

/// The snapshot of an instance that was asked for and does not exist.
pub fn refused(command: &wire::CreateInstance, refusal: &kernel::Refusal, now: Timestamp) -> wire::Instance {
    wire::Instance {
        id: command.instance_id.clone(),
        tenant: command.tenant.clone(),
        name: command.name.clone(),
        revision: 1,
        spec: command.spec.clone(),
        phase: names::phase_out(Phase::Failed).into(),
        refusal: Some(refusal.clone().into()),
        created_at_us: now.micros(),
        updated_at_us: now.micros(),
        ..wire::Instance::default()
    }
}

fn operation(from: wire::CurrentOperation) -> Result<Operation, Invalid> {
    Ok(Operation {
        id: from.operation_id.parse().map_err(Invalid::id("operation.operation_id"))?,
        kind: names::operation_kind(from.kind)?,
        deadline: Timestamp(from.deadline_us),
    })
}

fn operation_out(from: Operation) -> wire::CurrentOperation {
    wire::CurrentOperation {
        operation_id: from.id.to_string(),
        kind: names::operation_kind_out(from.kind),
        deadline_us: from.deadline.micros(),
    }
}

/// A named moment.
pub fn step(from: common::Step) -> Step {
    Step { name: from.name, at: Timestamp(from.at_us) }
}

fn step_out(from: &Step) -> common::Step {
    common::Step { name: from.name.clone(), at_us: from.at.micros() }
}
