//! An instance as people read it.

use super::super::operation::{in_order, steps};
use crate::output::{Table, age, fields, local_time, refusal_line, resources, word};
use contracts::scheduler::v1::{Instance, InstanceSpec};
use std::collections::BTreeMap;

pub(super) fn phase(instance: &Instance) -> String {
    word(instance.phase().as_str_name(), "INSTANCE_PHASE_")
}

pub(super) fn list(instances: &[Instance]) -> String {
    let mut table = Table::new(
        ["name", "phase", "host", "image", "vcpus", "memory", "disk", "address", "age"],
        "no instances",
    );
    for instance in instances {
        let spec = instance.spec.clone().unwrap_or_default();
        let [vcpus, memory, disk] = resources(spec.resources.as_ref());
        table.row([
            instance.name.clone(),
            phase(instance),
            instance.host_name.clone(),
            spec.image_name,
            vcpus,
            memory,
            disk,
            instance.addresses.first().cloned().unwrap_or_default(),
            age(instance.created_at_us),
        ]);
    }
    table.render()
}

pub(super) fn show(instance: &Instance) -> String {
    let spec = instance.spec.clone().unwrap_or_default();
    let [vcpus, memory, disk] = resources(spec.resources.as_ref());
    let operation = instance.operation.as_ref();
    let busy =
        operation.map(|o| format!("{} {}", word(o.kind().as_str_name(), "OPERATION_KIND_"), o.operation_id));
    let text = fields([
        ("name", instance.name.clone()),
        ("id", instance.id.clone()),
        ("phase", phase(instance)),
        ("should be", word(instance.desired().as_str_name(), "DESIRED_POWER_")),
        ("why", refusal_line(instance.refusal.as_ref())),
        ("hypervisor", instance.hypervisor_state.clone()),
        ("busy with", busy.unwrap_or_default()),
        ("host", instance.host_name.clone()),
        ("driver", word(instance.driver().as_str_name(), "DRIVER_")),
        ("image", spec.image_name.clone()),
        ("size", size(&spec, &vcpus, &memory, &disk)),
        ("gpus", gpus(&spec, &instance.gpu_indexes)),
        ("addresses", instance.addresses.join("\n")),
        ("hostname", spec.hostname.clone()),
        ("labels", pairs(&spec.labels)),
        ("requires host", pairs(&spec.require_host_labels)),
        ("avoids host", pairs(&spec.avoid_host_labels)),
        ("affinity", spec.affinity_group.clone()),
        ("anti-affinity", anti_affinity(&spec)),
        ("restart", word(spec.restart_policy().as_str_name(), "RESTART_POLICY_")),
        ("placement", word(spec.placement_policy().as_str_name(), "PLACEMENT_POLICY_")),
        ("created", local_time(instance.created_at_us)),
        ("changed", local_time(instance.updated_at_us)),
    ]);
    format!("{text}{}", steps(begun(instance), &instance.steps))
}

/// The steps are those of the newest start or stop, which may come long after the instance was made.
fn begun(instance: &Instance) -> i64 {
    in_order(&instance.steps).first().map_or(instance.created_at_us, |step| step.at_us)
}

fn size(spec: &InstanceSpec, vcpus: &str, memory: &str, disk: &str) -> String {
    let size = format!("{vcpus} vCPU, {memory} memory, {disk} disk");
    if spec.flavor_name.is_empty() { size } else { format!("{size} ({})", spec.flavor_name) }
}

/// "2 (numbers 0, 3 of the host)", "250/1000 of one (number 1 of the host)".
fn gpus(spec: &InstanceSpec, held: &[u32]) -> String {
    if spec.gpus == 0 {
        return String::new();
    }
    let asked = match spec.gpu_milli {
        0 | 1000 => spec.gpus.to_string(),
        share => format!("{share}/1000 of one"),
    };
    let numbers = held.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match held.len() {
        0 => asked,
        1 => format!("{asked} (number {numbers} of the host)"),
        _ => format!("{asked} (numbers {numbers} of the host)"),
    }
}

fn anti_affinity(spec: &InstanceSpec) -> String {
    match spec.max_per_host {
        0 | 1 => spec.anti_affinity_group.clone(),
        most => format!("{}, at most {most} on a host", spec.anti_affinity_group),
    }
}

fn pairs(pairs: &BTreeMap<String, String>) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("\n")
}

/// What a user who waited for a new instance wants to know.
pub(super) fn came_up(instance: &Instance) -> String {
    let addresses = if instance.addresses.is_empty() {
        String::new()
    } else {
        format!(", {}", instance.addresses.join(", "))
    };
    // whoever may not see hosts is not told
    let host = match instance.host_name.as_str() {
        "" => String::new(),
        host => format!(" on {host}"),
    };
    let head = format!("{} is {}{host}{addresses}\n", instance.name, phase(instance));
    format!("{head}{}", steps(begun(instance), &instance.steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::common::v1::{Refusal, Resources, Step};

    fn instance() -> Instance {
        let resources = Resources { vcpus_milli: 500, memory_bytes: 512 << 20, disk_bytes: 4 << 30 };
        Instance {
            name: "web-1".into(),
            phase: 4,
            host_name: "h1".into(),
            addresses: vec!["192.0.2.7".into()],
            created_at_us: 1_000_000,
            steps: vec![
                Step { name: "placed".into(), at_us: 1_050_000 },
                Step { name: "ready".into(), at_us: 4_050_000 },
            ],
            spec: Some(InstanceSpec {
                image_name: "tiny".into(),
                resources: Some(resources),
                ..InstanceSpec::default()
            }),
            ..Instance::default()
        }
    }

    #[test]
    fn gpus_and_groups_are_told_in_words() {
        let spec = |gpus, gpu_milli| InstanceSpec { gpus, gpu_milli, ..InstanceSpec::default() };
        assert_eq!(gpus(&spec(0, 0), &[]), "");
        assert_eq!(gpus(&spec(2, 0), &[0, 3]), "2 (numbers 0, 3 of the host)");
        assert_eq!(gpus(&spec(1, 250), &[1]), "250/1000 of one (number 1 of the host)");
        assert_eq!(gpus(&spec(1, 1000), &[]), "1");
        let group =
            InstanceSpec { anti_affinity_group: "db".into(), max_per_host: 3, ..InstanceSpec::default() };
        assert_eq!(anti_affinity(&group), "db, at most 3 on a host");
    }

    #[test]
    fn a_list_has_a_line_each() {
        let text = list(&[instance()]);
        let cells: Vec<&str> = text
            .lines()
            .nth(1)
            .expect("a row")
            .split("   ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        assert_eq!(cells[..8], ["web-1", "ready", "h1", "tiny", "0.5", "512 MiB", "4 GiB", "192.0.2.7"]);
        assert_eq!(list(&[]), "no instances\n");
    }

    #[test]
    fn waiting_ends_with_the_time_each_step_took() {
        assert_eq!(
            came_up(&instance()),
            "web-1 is ready on h1, 192.0.2.7\nSTEP     TOOK     AFTER\nplaced   0 ms     0 ms\nready    3.00 s   3.00 s\nin all 3.00 s\n"
        );
        let of_a_tenant = came_up(&Instance { host_name: String::new(), ..instance() });
        assert!(of_a_tenant.starts_with("web-1 is ready, 192.0.2.7\n"), "{of_a_tenant}");
    }

    #[test]
    fn an_instance_that_waits_says_why() {
        let refusal = Refusal {
            code: "NO_HOST_HAS_ROOM".into(),
            message: "no host has room".into(),
            reasons: vec!["2 are cordoned".into()],
        };
        let text = show(&Instance { phase: 1, refusal: Some(refusal), ..instance() });
        assert!(text.contains("why         no host has room (NO_HOST_HAS_ROOM): 2 are cordoned"), "{text}");
    }

    #[test]
    fn a_guest_that_stands_still_is_shown_with_the_hypervisors_own_words() {
        let text = show(&Instance { phase: 7, hypervisor_state: "paused (I/O error)".into(), ..instance() });
        assert!(text.contains("hypervisor   paused (I/O error)"), "{text}");
        assert!(!show(&instance()).contains("hypervisor"), "one that runs as ordered has none");
    }
}
