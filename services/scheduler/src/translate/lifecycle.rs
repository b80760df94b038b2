//! What goes into the life of an instance and what comes out of it.

use super::{Invalid, instance as snapshot, names, required, spec};
use crate::domain::lifecycle::{Intent, Observation, OperationStep};
use contracts::common::v1 as common;
use contracts::host_driver::v1 as vm;
use scheduler_placement::instance::Instance;

/// What a host saw of an instance.
pub fn observation(from: vm::VmObservation) -> Result<Observation, Invalid> {
    Ok(Observation {
        host: from.host_id.parse().map_err(Invalid::id("observation.host_id"))?,
        revision: from.revision,
        generation: from.generation,
        intent_revision: from.intent_revision,
        seen: names::seen(from.power)?,
        agent_answered: from.agent_answered,
        addresses: from.addresses,
        reboot_counter: from.reboot_counter,
        failure: from.failure.map(Into::into),
        gave_up: from.gave_up,
        steps: from.steps.into_iter().map(snapshot::step).collect(),
        has_run: from.has_run,
        unordered: names::unordered(from.reason, from.hypervisor_state)?,
    })
}

/// The observation of an event; it must be there.
pub fn observed(from: vm::VmObserved) -> Result<vm::VmObservation, Invalid> {
    required(from.observation, "observation")
}

/// How far an operation got.
pub fn progress_out(from: &OperationStep) -> common::OperationProgress {
    common::OperationProgress {
        operation_id: from.operation.to_string(),
        state: names::standing_out(from.standing).into(),
        step: from.step.clone(),
        refusal: from.refusal.clone().map(Into::into),
    }
}

/// An operation that failed before it was anybody's.
pub fn failed(operation_id: &str, refusal: &kernel::Refusal) -> common::OperationProgress {
    common::OperationProgress {
        operation_id: operation_id.to_owned(),
        state: common::OperationState::Failed.into(),
        step: String::new(),
        refusal: Some(refusal.clone().into()),
    }
}

/// An operation that is done.
pub fn succeeded(operation_id: &str, step: &str) -> common::OperationProgress {
    common::OperationProgress {
        operation_id: operation_id.to_owned(),
        state: common::OperationState::Succeeded.into(),
        step: step.to_owned(),
        refusal: None,
    }
}

/// The order to a host.
pub fn ensure_vm(instance: &Instance, intent: Intent, agent_id: String) -> vm::EnsureVm {
    let driver = instance.placement.as_ref().map(|placement| placement.driver);
    vm::EnsureVm {
        agent_id,
        host_id: intent.host.to_string(),
        generation: intent.generation,
        intent_revision: intent.intent_revision,
        power: names::power_out(intent.power),
        reboot_counter: intent.reboot_counter,
        stop_grace_s: intent.stop_grace_s,
        disposal: if intent.deleted { vm::Disposal::Delete } else { vm::Disposal::SetAside }.into(),
        take_back: intent.take_back.map(|id| id.to_string()).unwrap_or_default(),
        answer_again: false,
        spec: Some(vm::VmSpec {
            instance_id: instance.id.to_string(),
            tenant: instance.tenant.clone(),
            name: instance.name.clone(),
            resources: Some(spec::resources_out(instance.spec.resources)),
            artifacts: instance.boot.artifacts.iter().map(spec::artifact_out).collect(),
            kernel_cmdline: instance.boot.kernel_cmdline.clone(),
            guest_agent: instance.boot.guest_agent,
            hostname: instance.spec.hostname.clone(),
            ssh_authorized_keys: instance.spec.ssh_authorized_keys.clone(),
            user_data: instance.spec.user_data.clone().map(spec::sealed_out),
            restart_policy: names::restart_policy_out(instance.spec.restart_policy),
            driver: names::driver_out(driver),
        }),
    }
}
