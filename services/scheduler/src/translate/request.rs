//! Whether what a tenant asks for can be taken: every rule about a new instance.

use super::{Invalid, spec};
use contracts::scheduler::v1::CreateInstance;
use contracts::storage::v1::{Image, ImagePhase};
use kernel::names::host_name;
use kernel::{Bytes, InstanceId, OperationId, PLATFORM, Refusal, limits};
use scheduler_placement::instance::{Boot, Draft, Spec};

/// The ids of a request. Without them nobody could be answered: such a message is nobody's.
pub fn ids(command: &CreateInstance) -> Result<(InstanceId, OperationId), Invalid> {
    let instance = command.instance_id.parse().map_err(Invalid::id("instance_id"))?;
    let operation = command.operation_id.parse().map_err(Invalid::id("operation_id"))?;
    Ok((instance, operation))
}

/// What was asked for, once it is known to make sense.
pub fn checked_spec(command: &CreateInstance) -> Result<Spec, Refusal> {
    let invalid =
        |problem: String| Refusal::new("INVALID_REQUEST", "the request cannot be taken").because([problem]);
    if command.tenant.is_empty() {
        return Err(invalid("tenant: is missing".into()));
    }
    if let Some(problem) = name_problem(&command.name) {
        return Err(invalid(format!("name: {problem}")));
    }
    let Some(wire) = command.spec.clone() else { return Err(invalid("spec: is missing".into())) };
    let spec = spec::spec(wire).map_err(|error| invalid(error.to_string()))?;
    if spec.resources.vcpus.0 == 0 {
        return Err(invalid("spec.resources.vcpus_milli: is 0; an instance needs CPU time".into()));
    }
    if spec.resources.memory.0 == 0 {
        return Err(invalid("spec.resources.memory_bytes: is 0; an instance needs memory".into()));
    }
    if let Some(problem) = size_problem(&spec) {
        return Err(invalid(problem));
    }
    if spec.max_per_host > 0 && spec.anti_affinity_group.is_empty() {
        return Err(invalid("spec.max_per_host: limits an anti-affinity group, and there is none".into()));
    }
    let hostname = if spec.hostname.is_empty() { command.name.clone() } else { spec.hostname.clone() };
    host_name(&hostname).map_err(|problem| invalid(format!("spec.hostname: {problem}")))?;
    Ok(Spec { hostname, ..spec })
}

/// What of an instance is more than any host runs, if anything: it would be found out where it starts.
fn size_problem(spec: &Spec) -> Option<String> {
    let size = spec.resources;
    let over =
        |field: &str, asked: String, most: String| Some(format!("spec.{field}: {asked}, at most {most}"));
    if size.vcpus > limits::VCPUS {
        return over("resources.vcpus_milli", format!("{} CPUs", size.vcpus), limits::VCPUS.to_string());
    }
    if size.memory > limits::MEMORY {
        return over("resources.memory_bytes", size.memory.to_string(), limits::MEMORY.to_string());
    }
    if size.disk > limits::DISK {
        return over("resources.disk_bytes", size.disk.to_string(), limits::DISK.to_string());
    }
    if spec.gpus.count > limits::GPUS {
        return over("gpus", spec.gpus.count.to_string(), limits::GPUS.to_string());
    }
    None
}

/// What is wrong with a name, if anything: names become host names.
fn name_problem(name: &str) -> Option<String> {
    let inner = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let right = (1..=63).contains(&name.len()) && inner && !name.starts_with('-') && !name.ends_with('-');
    let shown: String = name.chars().take(70).collect();
    (!right).then(|| {
        format!("{shown:?} is not 1 to 63 lower case letters, digits and '-', beginning and ending with a letter or digit")
    })
}

/// What the image needs to boot, if the tenant may use it and it can be used.
pub fn checked_image(image: Option<Image>, tenant: &str, spec: &Spec) -> Result<Boot, Refusal> {
    let name = if spec.image_name.is_empty() { &spec.image_id } else { &spec.image_name };
    let unknown = || Refusal::new("IMAGE_NOT_FOUND", format!("there is no image {name:?}"));
    // an image of somebody else does not exist, as far as this tenant is concerned
    let image =
        image.filter(|image| image.tenant == tenant || image.tenant == PLATFORM).ok_or_else(unknown)?;
    match ImagePhase::try_from(image.phase) {
        Ok(ImagePhase::Ready) => {}
        Ok(ImagePhase::Importing) => {
            return Err(Refusal::new("IMAGE_NOT_READY", format!("image {name:?} is still being imported")));
        }
        Ok(ImagePhase::Rejected) => {
            return Err(Refusal::new(
                "IMAGE_REJECTED",
                format!("image {name:?} was not taken when it was imported"),
            ));
        }
        Ok(ImagePhase::Deleting | ImagePhase::Deleted | ImagePhase::Unspecified) | Err(_) => {
            return Err(unknown());
        }
    }
    if spec.resources.disk.0 < image.min_disk_bytes {
        let (needs, asked) = (Bytes(image.min_disk_bytes), spec.resources.disk);
        let message = format!("image {name:?} needs a disk of at least {needs}; {asked} was asked for");
        return Err(Refusal::new("DISK_TOO_SMALL", message));
    }
    let artifacts: Result<Vec<_>, _> = image.artifacts.into_iter().map(spec::artifact).collect();
    Ok(Boot {
        artifacts: artifacts.map_err(|error| Refusal::new("IMAGE_UNREADABLE", error.to_string()))?,
        kernel_cmdline: image.kernel_cmdline,
        guest_agent: image.guest_agent,
        architecture: image.architecture,
    })
}

/// A new instance, not yet accepted.
pub fn draft(id: InstanceId, command: CreateInstance, spec: Spec, boot: Boot) -> Draft {
    Draft { id, tenant: command.tenant, name: command.name, spec, boot }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names() {
        for good in ["a", "web-1", "0x", &"a".repeat(63)] {
            assert_eq!(name_problem(good), None, "{good}");
        }
        for bad in ["", "-a", "a-", "Web", "a_b", "a.b", "a b", "ä", "../x", "'; DROP TABLE", &"a".repeat(64)]
        {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
    }
}
