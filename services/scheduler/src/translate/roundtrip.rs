//! Nothing of a snapshot is lost on its way through the domain. The snapshots are written out field by field, so that a
//! new field cannot be forgotten here.

use super::{host, instance};
use contracts::common::v1::*;
use contracts::host_driver::v1::{DriverReport, HostCondition, VmReason};
use contracts::scheduler::v1::*;
use kernel::{HostId, ImageId, InstanceId, OperationId, QuarantineId};
use std::collections::BTreeMap;

fn labels(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("key".to_owned(), value.to_owned())])
}

fn spec() -> InstanceSpec {
    InstanceSpec {
        image_id: ImageId::from_u128(1).to_string(),
        image_name: "debian".into(),
        flavor_name: "small".into(),
        resources: Some(Resources { vcpus_milli: 1, memory_bytes: 2, disk_bytes: 3 }),
        hostname: "web".into(),
        ssh_authorized_keys: vec!["key".into()],
        user_data: Some(Sealed { key_id: "k".into(), nonce: vec![1], ciphertext: vec![2] }),
        labels: labels("own"),
        driver: Driver::Firecracker.into(),
        require_host_labels: labels("need"),
        avoid_host_labels: labels("avoid"),
        affinity_group: "a".into(),
        anti_affinity_group: "b".into(),
        restart_policy: RestartPolicy::OnFailure.into(),
        placement_policy: PlacementPolicy::Pack.into(),
        gpus: 1,
        gpu_milli: 250,
        max_per_host: 3,
    }
}

fn whole_instance() -> Instance {
    Instance {
        id: InstanceId::from_u128(1).to_string(),
        tenant: "acme".into(),
        name: "web".into(),
        revision: 4,
        spec: Some(spec()),
        phase: InstancePhase::Ready.into(),
        desired: DesiredPower::Paused.into(),
        host_id: HostId::from_u128(2).to_string(),
        host_name: "h2".into(),
        generation: 5,
        intent_revision: 6,
        reboot_counter: 7,
        operation: Some(CurrentOperation {
            operation_id: OperationId::from_u128(3).to_string(),
            kind: OperationKind::Pause.into(),
            deadline_us: 8,
        }),
        refusal: Some(Refusal { code: "CODE".into(), message: "text".into(), reasons: vec!["why".into()] }),
        addresses: vec!["192.0.2.1".into()],
        steps: vec![Step { name: "accepted".into(), at_us: 9 }],
        created_at_us: 10,
        updated_at_us: 11,
        failed_host_ids: vec![HostId::from_u128(4).to_string()],
        observation_revision: 12,
        boot: Some(BootSource {
            artifacts: vec![Artifact {
                role: ArtifactRole::Kernel.into(),
                sha256: "ab".into(),
                size_bytes: 13,
                format: DiskFormat::Raw.into(),
                virtual_size_bytes: 14,
            }],
            kernel_cmdline: "quiet".into(),
            guest_agent: true,
            architecture: "x86_64".into(),
        }),
        stop_grace_s: 15,
        driver: Driver::Libvirt.into(),
        has_booted: true,
        gpu_indexes: vec![2],
        restoring: QuarantineId::from_u128(5).to_string(),
        confirmed_intent: 5,
        vm_reason: VmReason::GuestSuspended.into(),
        hypervisor_state: "pmsuspended".into(),
    }
}

fn whole_host() -> Host {
    Host {
        id: HostId::from_u128(1).to_string(),
        name: "h1".into(),
        revision: 2,
        state: HostState::Unreachable.into(),
        cordoned: true,
        cordon_reason: "fan".into(),
        capacity: Some(Resources { vcpus_milli: 3, memory_bytes: 4, disk_bytes: 5 }),
        overcommit: Some(Overcommit { vcpus_percent: 6, memory_percent: 7, disk_percent: 8 }),
        labels: labels("rack"),
        drivers: vec![Driver::Libvirt.into()],
        architecture: "x86_64".into(),
        agent_id: "agent".into(),
        store_id: "agent".into(),
        report_revision: 9,
        created_at_us: 10,
        updated_at_us: 11,
        hypervisor: "libvirt 9 (kvm)".into(),
        driver_reports: vec![DriverReport {
            driver: Driver::Libvirt.into(),
            version: "9".into(),
            acceleration: "kvm".into(),
            direct_kernel_boot: true,
            disk_boot: true,
            guest_agent: true,
            console: true,
            pause: true,
        }],
        gpus: 8,
        gpu_model: "a100".into(),
        conditions: vec![HostCondition { code: "CODE".into(), message: "text".into(), since_us: 12 }],
    }
}

#[test]
fn an_instance_is_the_same_after_the_way_through_the_domain() {
    let there = instance::instance(whole_instance()).expect("a right snapshot");
    assert_eq!(instance::instance_out(&there), whole_instance());
}

#[test]
fn a_share_is_of_one_gpu_and_a_whole_one_needs_no_number() {
    let spec = |gpus, gpu_milli| super::spec::spec(InstanceSpec { gpus, gpu_milli, ..spec() });
    assert_eq!(spec(4, 0).expect("four whole ones").gpus.total(), 4000);
    for (gpus, gpu_milli) in [(0, 1), (2, 999), (1, 1001), (2000, 0)] {
        assert!(spec(gpus, gpu_milli).is_err(), "{gpus} {gpu_milli}");
    }
}

#[test]
fn a_host_is_the_same_after_the_way_through_the_domain() {
    let there = host::host(whole_host()).expect("a right snapshot");
    assert_eq!(host::host_out(&there), whole_host());
}

#[test]
fn every_phase_and_wish_has_a_word_on_both_sides() {
    use super::names;
    for number in 1..=11 {
        let phase = names::phase(number).expect("a phase");
        assert_eq!(i32::from(names::phase_out(phase)), number);
    }
    for number in 1..=4 {
        assert_eq!(names::desired_out(names::desired(number).expect("a wish")), number);
    }
    for number in 1..=7 {
        assert_eq!(names::operation_kind_out(names::operation_kind(number).expect("a kind")), number);
    }
    for number in 1..=7 {
        let seen = names::unordered(number, "words".into()).expect("a reason").expect("not as ordered");
        assert_eq!(names::vm_reason_out(Some(seen.reason)), number);
    }
    assert_eq!(names::unordered(0, String::new()), Ok(None));
    for wrong in [0, 99, -1] {
        assert!(names::phase(wrong).is_err());
    }
}
