//! A host's snapshot, and what a host says about itself.

use super::{Invalid, names, required, spec};
use contracts::host_driver::v1 as vm;
use contracts::scheduler::v1 as wire;
use kernel::Timestamp;
use scheduler_placement::host::{Condition, DriverCaps, Host, Report};
use scheduler_placement::resources::Overcommit;

/// What a host says about itself.
pub fn report(from: Option<vm::HostReport>) -> Result<Report, Invalid> {
    let from = required(from, "report")?;
    if from.gpus >= spec::GPUS_OF_A_HOST {
        return Err(Invalid::new("report.gpus", format!("{} is more than any host has", from.gpus)));
    }
    Ok(Report {
        host: from.host_id.parse().map_err(Invalid::id("report.host_id"))?,
        name: from.name,
        agent_id: from.agent_id,
        store_id: from.store_id,
        revision: from.revision,
        capacity: spec::resources(from.capacity, "report.capacity")?,
        labels: from.labels,
        // a driver of a later version is no reason to lose the whole host
        drivers: from.drivers.into_iter().filter_map(caps).collect(),
        architecture: from.architecture,
        gpus: from.gpus,
        gpu_model: from.gpu_model,
        conditions: from.conditions.into_iter().map(condition).collect(),
    })
}

fn condition(from: vm::HostCondition) -> Condition {
    Condition { code: from.code, message: from.message, since: Timestamp(from.since_us) }
}

fn condition_out(from: &Condition) -> vm::HostCondition {
    vm::HostCondition {
        code: from.code.clone(),
        message: from.message.clone(),
        since_us: from.since.micros(),
    }
}

/// A host from its snapshot.
pub fn host(from: wire::Host) -> Result<Host, Invalid> {
    let overcommit = required(from.overcommit, "host.overcommit")?;
    Ok(Host {
        id: from.id.parse().map_err(Invalid::id("host.id"))?,
        name: from.name,
        revision: from.revision,
        state: names::host_state(from.state)?,
        cordoned: from.cordoned,
        cordon_reason: from.cordon_reason,
        capacity: spec::resources(from.capacity, "host.capacity")?,
        overcommit: Overcommit {
            vcpus: overcommit.vcpus_percent,
            memory: overcommit.memory_percent,
            disk: overcommit.disk_percent,
        },
        labels: from.labels,
        drivers: from.driver_reports.into_iter().filter_map(caps).collect(),
        architecture: from.architecture,
        agent_id: from.agent_id,
        store_id: from.store_id,
        report_revision: from.report_revision,
        created_at: Timestamp(from.created_at_us),
        updated_at: Timestamp(from.updated_at_us),
        hypervisor: from.hypervisor,
        gpus: from.gpus,
        gpu_model: from.gpu_model,
        conditions: from.conditions.into_iter().map(condition).collect(),
    })
}

/// A host's snapshot.
pub fn host_out(from: &Host) -> wire::Host {
    wire::Host {
        id: from.id.to_string(),
        name: from.name.clone(),
        revision: from.revision,
        state: names::host_state_out(from.state).into(),
        cordoned: from.cordoned,
        cordon_reason: from.cordon_reason.clone(),
        capacity: Some(spec::resources_out(from.capacity)),
        overcommit: Some(wire::Overcommit {
            vcpus_percent: from.overcommit.vcpus,
            memory_percent: from.overcommit.memory,
            disk_percent: from.overcommit.disk,
        }),
        labels: from.labels.clone(),
        drivers: from.drivers.iter().map(|caps| names::driver_out(Some(caps.driver))).collect(),
        architecture: from.architecture.clone(),
        agent_id: from.agent_id.clone(),
        store_id: from.store_id.clone(),
        report_revision: from.report_revision,
        created_at_us: from.created_at.micros(),
        updated_at_us: from.updated_at.micros(),
        hypervisor: from.hypervisor.clone(),
        driver_reports: from.drivers.iter().map(caps_out).collect(),
        gpus: from.gpus,
        gpu_model: from.gpu_model.clone(),
        conditions: from.conditions.iter().map(condition_out).collect(),
    }
}

fn caps(from: vm::DriverReport) -> Option<DriverCaps> {
    let driver = names::driver(from.driver).ok()??;
    Some(DriverCaps {
        driver,
        version: from.version,
        acceleration: from.acceleration,
        direct_kernel_boot: from.direct_kernel_boot,
        disk_boot: from.disk_boot,
        guest_agent: from.guest_agent,
        console: from.console,
        pause: from.pause,
    })
}

fn caps_out(from: &DriverCaps) -> vm::DriverReport {
    vm::DriverReport {
        driver: names::driver_out(Some(from.driver)),
        version: from.version.clone(),
        acceleration: from.acceleration.clone(),
        direct_kernel_boot: from.direct_kernel_boot,
        disk_boot: from.disk_boot,
        guest_agent: from.guest_agent,
        console: from.console,
        pause: from.pause,
    }
}
