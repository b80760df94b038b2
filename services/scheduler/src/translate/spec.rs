//! What an instance is made of.

use super::{Invalid, names, required};
use contracts::common::v1 as common;
use contracts::scheduler::v1 as wire;
use kernel::{Bytes, MilliVcpus};
use scheduler_placement::instance::{Artifact, Boot, Sealed, Spec};
use scheduler_placement::resources::{Gpus, Resources};

/// Amounts. None may be more than tables hold (2^63 - 1).
pub fn resources(from: Option<common::Resources>, field: &'static str) -> Result<Resources, Invalid> {
    let from = required(from, field)?;
    for amount in [from.vcpus_milli, from.memory_bytes, from.disk_bytes] {
        if i64::try_from(amount).is_err() {
            return Err(Invalid::new(field, format!("{amount} is more than any host has")));
        }
    }
    Ok(Resources {
        vcpus: MilliVcpus(from.vcpus_milli),
        memory: Bytes(from.memory_bytes),
        disk: Bytes(from.disk_bytes),
    })
}

/// Amounts.
pub fn resources_out(from: Resources) -> common::Resources {
    common::Resources { vcpus_milli: from.vcpus.0, memory_bytes: from.memory.0, disk_bytes: from.disk.0 }
}

/// What was asked for.
pub fn spec(from: wire::InstanceSpec) -> Result<Spec, Invalid> {
    Ok(Spec {
        image_id: from.image_id,
        image_name: from.image_name,
        flavor_name: from.flavor_name,
        resources: resources(from.resources, "spec.resources")?,
        hostname: from.hostname,
        ssh_authorized_keys: from.ssh_authorized_keys,
        user_data: from.user_data.map(sealed),
        labels: from.labels,
        driver: names::driver(from.driver)?,
        require_host_labels: from.require_host_labels,
        avoid_host_labels: from.avoid_host_labels,
        affinity_group: from.affinity_group,
        anti_affinity_group: from.anti_affinity_group,
        restart_policy: names::restart_policy(from.restart_policy)?,
        policy: names::policy(from.placement_policy)?,
        max_per_host: from.max_per_host,
        gpus: gpus(from.gpus, from.gpu_milli)?,
    })
}

/// More GPUs than any host has. What was taken on under earlier limits is still read.
pub const GPUS_OF_A_HOST: u32 = 1024;

fn gpus(count: u32, milli: u32) -> Result<Gpus, Invalid> {
    let milli = match (count, milli) {
        (GPUS_OF_A_HOST.., _) => return Err(Invalid::new("spec.gpus", "is more than any host has")),
        (_, 1001..) => return Err(Invalid::new("spec.gpu_milli", "is more than 1000, a whole GPU")),
        (0, 1..) => return Err(Invalid::new("spec.gpu_milli", "is a share of no GPU: spec.gpus is 0")),
        (2.., 1..=999) => {
            return Err(Invalid::new("spec.gpu_milli", "is a share, which only one GPU can have"));
        }
        (1.., 0) => Gpus::WHOLE,
        (_, milli) => milli,
    };
    Ok(Gpus { count, milli })
}

/// What was asked for.
pub fn spec_out(from: &Spec) -> wire::InstanceSpec {
    let from = from.clone();
    wire::InstanceSpec {
        image_id: from.image_id,
        image_name: from.image_name,
        flavor_name: from.flavor_name,
        resources: Some(resources_out(from.resources)),
        hostname: from.hostname,
        ssh_authorized_keys: from.ssh_authorized_keys,
        user_data: from.user_data.map(sealed_out),
        labels: from.labels,
        driver: names::driver_out(from.driver),
        require_host_labels: from.require_host_labels,
        avoid_host_labels: from.avoid_host_labels,
        affinity_group: from.affinity_group,
        anti_affinity_group: from.anti_affinity_group,
        restart_policy: names::restart_policy_out(from.restart_policy),
        placement_policy: names::policy_out(from.policy),
        gpus: from.gpus.count,
        gpu_milli: from.gpus.milli,
        max_per_host: from.max_per_host,
    }
}

fn sealed(from: common::Sealed) -> Sealed {
    Sealed { key_id: from.key_id, nonce: from.nonce, ciphertext: from.ciphertext }
}

/// A secret.
pub fn sealed_out(from: Sealed) -> common::Sealed {
    common::Sealed { key_id: from.key_id, nonce: from.nonce, ciphertext: from.ciphertext }
}

/// One file of an image.
pub fn artifact(from: common::Artifact) -> Result<Artifact, Invalid> {
    Ok(Artifact {
        role: names::role(from.role)?,
        sha256: from.sha256,
        size_bytes: from.size_bytes,
        format: names::format(from.format)?,
        virtual_size_bytes: from.virtual_size_bytes,
    })
}

/// One file of an image.
pub fn artifact_out(from: &Artifact) -> common::Artifact {
    common::Artifact {
        role: names::role_out(from.role),
        sha256: from.sha256.clone(),
        size_bytes: from.size_bytes,
        format: names::format_out(from.format),
        virtual_size_bytes: from.virtual_size_bytes,
    }
}

/// What an image needs to boot.
pub fn boot(from: wire::BootSource) -> Result<Boot, Invalid> {
    Ok(Boot {
        artifacts: from.artifacts.into_iter().map(artifact).collect::<Result<_, _>>()?,
        kernel_cmdline: from.kernel_cmdline,
        guest_agent: from.guest_agent,
        architecture: from.architecture,
    })
}

/// What an image needs to boot.
pub fn boot_out(from: &Boot) -> wire::BootSource {
    wire::BootSource {
        artifacts: from.artifacts.iter().map(artifact_out).collect(),
        kernel_cmdline: from.kernel_cmdline.clone(),
        guest_agent: from.guest_agent,
        architecture: from.architecture.clone(),
    }
}
