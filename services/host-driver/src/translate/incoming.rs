//! Orders. What cannot be an order at all is an error; what is one and cannot be followed is a refusal.

use super::outgoing;
use crate::store::VmKey;
use crate::store::vms::VmRow;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use host_driver_domain::progress::STEP_STARTED;
use host_driver_domain::{
    Artifact, DiskFormat, Disposal, DriverKind, Intent, IntentKey, Progress, RestartPolicy, Role, SealedData,
    VmSpec, Wanted,
};
use kernel::limits::{MEMORY, MEMORY_LEAST, VCPUS};
use kernel::{Bytes, MilliVcpus, QuarantineId, Refusal, Timestamp};
use prost::Message;
use std::time::Duration;

/// The row of an order. The error says what makes it none.
pub fn order(message: &wire::EnsureVm) -> Result<VmRow, String> {
    let spec = message.spec.as_ref().ok_or("spec is missing")?;
    let power = wire::VmPower::try_from(message.power).unwrap_or_default();
    if wanted(power).is_none() {
        return Err(format!(
            "power {} cannot be ordered: expected RUNNING, STOPPED, PAUSED or ABSENT",
            message.power
        ));
    }
    Ok(VmRow {
        key: VmKey {
            host: message.host_id.parse().map_err(|e| format!("host_id: {e}"))?,
            instance: spec.instance_id.parse().map_err(|e| format!("spec.instance_id: {e}"))?,
        },
        tenant: spec.tenant.clone(),
        intent: IntentKey { generation: message.generation, revision: message.intent_revision },
        power: power.as_str_name().to_owned(),
        reboot_counter: message.reboot_counter,
        stop_grace_s: message.stop_grace_s,
        disposal: wire::Disposal::try_from(message.disposal).unwrap_or_default().as_str_name().to_owned(),
        take_back: match message.take_back.as_str() {
            "" => String::new(),
            // it becomes the name of a folder
            id => id.parse::<QuarantineId>().map_err(|e| format!("take_back: {e}"))?.to_string(),
        },
        spec: spec.encode_to_vec(),
        observation: Vec::new(),
        observation_revision: 0,
    })
}

fn wanted(power: wire::VmPower) -> Option<Wanted> {
    match power {
        wire::VmPower::Running => Some(Wanted::Running),
        wire::VmPower::Stopped => Some(Wanted::Stopped),
        wire::VmPower::Paused => Some(Wanted::Paused),
        wire::VmPower::Absent => Some(Wanted::Absent),
        wire::VmPower::Unspecified | wire::VmPower::Crashed | wire::VmPower::Unknown => None,
    }
}

/// What a row wants. `definition` is the fingerprint of what the hypervisor should hold.
pub fn intent(row: &VmRow, restart_policy: RestartPolicy, definition: String) -> Intent {
    let power = wire::VmPower::from_str_name(&row.power).unwrap_or_default();
    Intent {
        key: row.intent,
        // rows are written by `order`
        wanted: wanted(power).unwrap_or(Wanted::Stopped),
        reboot_counter: row.reboot_counter,
        stop_grace: Duration::from_secs(row.stop_grace_s.into()),
        restart_policy,
        definition,
        // what does not say that somebody deleted the instance is no order to destroy anything
        disposal: match wire::Disposal::from_str_name(&row.disposal) {
            Some(wire::Disposal::Delete) => Disposal::Delete,
            _ => Disposal::SetAside,
        },
        take_back: row.take_back.parse().ok(),
    }
}

/// How far the work of an order came, as far as what was said of it tells: for tables that were rebuilt from events.
pub fn recalled(row: &VmRow) -> Progress {
    let Some(said) = outgoing::last(row).filter(|said| said.generation == row.intent.generation) else {
        return Progress::default();
    };
    let steps: Vec<_> = said.steps.iter().map(|step| (step.name.clone(), Timestamp(step.at_us))).collect();
    let started = steps.iter().rfind(|(name, _)| name == STEP_STARTED).map(|(_, at)| *at);
    let mut progress =
        Progress { reboots_done: said.reboot_counter, started_at: started, steps, ..Progress::default() };
    if said.intent_revision != row.intent.revision {
        return progress;
    }
    let wanted = wire::VmPower::from_str_name(&row.power).and_then(wanted);
    let ended = matches!(said.power(), wire::VmPower::Stopped | wire::VmPower::Crashed);
    let should_run = matches!(wanted, Some(Wanted::Running | Wanted::Paused));
    // one that suspended itself had run as ordered, and is left to sleep
    let asleep = wanted == Some(Wanted::Running) && said.reason() == wire::VmReason::GuestSuspended;
    if said.power().as_str_name() == row.power || asleep {
        progress.reached = wanted;
    } else if should_run && ended && started.is_some() && said.failure.is_none() {
        // it ended by itself: said only once it was decided that it stays so, or while its restart is waited for
        progress.reached = wanted;
        progress.adopted = stays_ended(row, said.power());
    }
    progress.failure = said.failure.map(Into::into);
    progress.attempts.gave_up = said.gave_up;
    progress.attempts.failed = u32::from(said.gave_up);
    progress
}

fn stays_ended(row: &VmRow, power: wire::VmPower) -> bool {
    match spec(&row.spec).map(|spec| spec.restart_policy) {
        Ok(RestartPolicy::Never) => true,
        Ok(RestartPolicy::OnFailure) => power == wire::VmPower::Stopped,
        Ok(RestartPolicy::Always) | Err(_) => false,
    }
}

fn refused(message: impl Into<String>) -> Refusal {
    Refusal::new("SPEC_REFUSED", message)
}

/// The spec of a row. The refusal says what in it cannot be followed.
pub fn spec(bytes: &[u8]) -> Result<VmSpec, Refusal> {
    let spec = wire::VmSpec::decode(bytes).map_err(|e| refused(format!("the spec cannot be read: {e}")))?;
    let size = spec.resources.unwrap_or_default();
    let (vcpus, memory) = (MilliVcpus(size.vcpus_milli), Bytes(size.memory_bytes));
    if vcpus.0 == 0 || vcpus > VCPUS {
        return Err(refused(format!("{vcpus} CPUs: expected more than 0 and at most {VCPUS}")));
    }
    if !(MEMORY_LEAST..=MEMORY).contains(&memory) {
        return Err(refused(format!("{memory} of memory: expected {MEMORY_LEAST} to {MEMORY}")));
    }
    let artifacts = spec.artifacts.iter().map(artifact).collect::<Result<Vec<_>, _>>()?;
    Ok(VmSpec {
        instance: spec.instance_id.parse().map_err(|e| refused(format!("{e}")))?,
        tenant: spec.tenant,
        name: spec.name,
        vcpus,
        memory,
        disk: Bytes(size.disk_bytes),
        artifacts,
        kernel_cmdline: spec.kernel_cmdline,
        guest_agent: spec.guest_agent,
        hostname: spec.hostname,
        ssh_authorized_keys: spec.ssh_authorized_keys,
        user_data: spec.user_data.filter(|s| !s.ciphertext.is_empty()).map(|s| SealedData {
            key_id: s.key_id,
            nonce: s.nonce,
            ciphertext: s.ciphertext,
        }),
        restart_policy: match common::RestartPolicy::try_from(spec.restart_policy).unwrap_or_default() {
            common::RestartPolicy::Never => RestartPolicy::Never,
            common::RestartPolicy::OnFailure => RestartPolicy::OnFailure,
            common::RestartPolicy::Always | common::RestartPolicy::Unspecified => RestartPolicy::Always,
        },
        driver: match common::Driver::try_from(spec.driver) {
            Ok(common::Driver::Unspecified) => None,
            Ok(common::Driver::Libvirt) => Some(DriverKind::Libvirt),
            Ok(common::Driver::CloudHypervisor) => Some(DriverKind::CloudHypervisor),
            Ok(common::Driver::Firecracker) => Some(DriverKind::Firecracker),
            Ok(common::Driver::Simulated) => Some(DriverKind::Simulated),
            Err(_) => {
                return Err(Refusal::new(
                    "DRIVER_UNKNOWN",
                    format!("driver number {} is not known here", spec.driver),
                ));
            }
        },
    })
}

fn artifact(artifact: &common::Artifact) -> Result<Artifact, Refusal> {
    // it becomes the name of a file
    let digest = &artifact.sha256;
    if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(refused(format!("{digest:?} is not a SHA-256: expected 64 lower-case hex digits")));
    }
    Ok(Artifact {
        role: match common::ArtifactRole::try_from(artifact.role).unwrap_or_default() {
            common::ArtifactRole::Disk => Role::Disk,
            common::ArtifactRole::Kernel => Role::Kernel,
            common::ArtifactRole::Initramfs => Role::Initramfs,
            common::ArtifactRole::Unspecified => {
                return Err(refused(format!("the artifact {digest} has no role this host knows")));
            }
        },
        sha256: digest.clone(),
        size: Bytes(artifact.size_bytes),
        format: match common::DiskFormat::try_from(artifact.format).unwrap_or_default() {
            common::DiskFormat::Qcow2 => DiskFormat::Qcow2,
            common::DiskFormat::Raw | common::DiskFormat::Unspecified => DiskFormat::Raw,
        },
        virtual_size: Bytes(artifact.virtual_size_bytes),
    })
}

/// A sealed secret as the sealer takes it.
pub fn sealed(data: &SealedData) -> common::Sealed {
    common::Sealed {
        key_id: data.key_id.clone(),
        nonce: data.nonce.clone(),
        ciphertext: data.ciphertext.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> wire::EnsureVm {
        let spec = wire::VmSpec {
            instance_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
            resources: Some(common::Resources {
                vcpus_milli: 1500,
                memory_bytes: 128 << 20,
                disk_bytes: 1 << 30,
            }),
            artifacts: vec![common::Artifact {
                role: 2,
                sha256: "a".repeat(64),
                ..common::Artifact::default()
            }],
            ..wire::VmSpec::default()
        };
        wire::EnsureVm {
            host_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
            power: wire::VmPower::Running.into(),
            spec: Some(spec),
            ..wire::EnsureVm::default()
        }
    }

    #[test]
    fn what_is_no_order_is_an_error() {
        type Change = fn(&mut wire::EnsureVm);
        let changes: [(Change, &str); 4] = [
            (|m| m.spec = None, "spec"),
            (|m| m.host_id = "../etc".into(), "host_id"),
            (|m| m.power = wire::VmPower::Crashed.into(), "RUNNING"),
            (|m| m.spec.as_mut().expect("a spec").instance_id.clear(), "instance_id"),
        ];
        assert!(order(&message()).is_ok());
        for (change, names) in changes {
            let mut bad = message();
            change(&mut bad);
            let error = order(&bad).expect_err(names);
            assert!(error.contains(names), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_a_refusal() {
        type Change = fn(&mut wire::VmSpec);
        let changes: [(Change, &str); 7] = [
            (|s| s.resources = None, "SPEC_REFUSED"),
            (|s| s.resources.as_mut().expect("sizes").vcpus_milli = VCPUS.0 + 1, "SPEC_REFUSED"),
            (|s| s.resources.as_mut().expect("sizes").memory_bytes = 1 << 60, "SPEC_REFUSED"),
            (|s| s.artifacts[0].sha256 = format!("../../{}", "a".repeat(58)), "SPEC_REFUSED"),
            (|s| s.artifacts[0].sha256 = "A".repeat(64), "SPEC_REFUSED"),
            (|s| s.artifacts[0].role = 0, "SPEC_REFUSED"),
            (|s| s.driver = 99, "DRIVER_UNKNOWN"),
        ];
        let good = message().spec.expect("a spec");
        assert_eq!(spec(&good.encode_to_vec()).expect("followed").vcpus, MilliVcpus(1500));
        for (change, code) in changes {
            let mut bad = good.clone();
            change(&mut bad);
            assert_eq!(spec(&bad.encode_to_vec()).expect_err(code).code, code);
        }
    }
}
