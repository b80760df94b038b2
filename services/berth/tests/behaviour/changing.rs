//! Requests that change something: keys, retries, waiting, exec.

use super::fake::{Answer, Fake};
use super::running::Berth;
use contracts::common::v1::{OperationState, Refusal, Step};
use contracts::gateway::v1::*;
use contracts::scheduler::v1::{Instance, InstancePhase};
use std::collections::BTreeSet;

const CREATE: &str = "instance create web-1 --image tiny --flavor small";

fn operation(state: OperationState, revision: u64, steps: &[&str]) -> GetOperationResponse {
    let steps = steps.iter().map(|name| Step { name: (*name).into(), at_us: 0 }).collect();
    let (id, method) = ("op-1".to_owned(), "CreateInstance".to_owned());
    GetOperationResponse {
        operation: Some(Operation {
            id,
            method,
            state: state.into(),
            revision,
            steps,
            ..Operation::default()
        }),
    }
}

async fn accepting() -> Fake {
    let fake = Fake::start().await;
    fake.answer(
        "CreateInstance",
        &CreateInstanceResponse {
            instance_id: "i-1".into(),
            operation_id: "op-1".into(),
            ..Default::default()
        },
    );
    fake
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    let fake = Fake::start().await;
    fake.say("CreateInstance", Answer::Cut);
    fake.refuse("CreateInstance", tonic::Status::unavailable("restarting"));
    fake.answer(
        "CreateInstance",
        &CreateInstanceResponse {
            instance_id: "i-1".into(),
            operation_id: "op-1".into(),
            ..Default::default()
        },
    );
    let outcome = Berth::at(&fake).run(CREATE).await;
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, "accepted: instance i-1, operation op-1\n"),
        "{outcome:?}"
    );
    let calls = fake.calls("CreateInstance");
    let keys: BTreeSet<&str> = calls.iter().map(|call| call.key.as_str()).collect();
    assert_eq!((calls.len(), keys.len()), (3, 1), "{keys:?}");
    assert!(!keys.contains(""), "a change without a key");
    assert_eq!(calls[0].body, calls[2].body);
}

#[tokio::test]
async fn each_invocation_has_a_key_of_its_own_unless_one_is_given() {
    let fake = accepting().await;
    Berth::at(&fake).run(CREATE).await;
    Berth::at(&fake).run(CREATE).await;
    Berth::at(&fake).run(&format!("{CREATE} --idempotency-key deploy-17")).await;
    let keys: Vec<String> = fake.calls("CreateInstance").into_iter().map(|call| call.key).collect();
    assert!(keys[0] != keys[1] && keys[2] == "deploy-17", "{keys:?}");
    let bad = Berth::at(&fake).run(&format!("{CREATE} --idempotency-key ü")).await;
    assert_eq!(bad.code, 2);
}

#[tokio::test]
async fn every_change_carries_a_key() {
    for (line, method) in [
        ("instance start a", "StartInstance"),
        ("instance stop a --grace 5", "StopInstance"),
        ("instance reboot a", "RebootInstance"),
        ("instance pause a", "PauseInstance"),
        ("instance resume a", "ResumeInstance"),
        ("instance expect-agent a no", "ExpectGuestAgent"),
        ("instance delete a", "DeleteInstance"),
        ("image delete a", "DeleteImage"),
        ("host cordon a --reason x", "CordonHost"),
        ("host uncordon a", "UncordonHost"),
        ("host drop-quarantined a q", "DropQuarantined"),
        ("instance restore a", "RestoreInstance"),
        ("instance drop-disks a q", "DropInstanceDisks"),
        ("host set-overcommit a --memory 150", "SetHostOvercommit"),
        ("dead replay 1", "ReplayDeadLetter"),
        ("dead drop 1", "DropDeadLetter"),
        ("flavor create f --vcpus 1 --memory 1GiB --disk 1GiB", "CreateFlavor"),
    ] {
        let fake = Fake::start().await;
        fake.answer(method, &());
        let outcome = Berth::at(&fake).run(line).await;
        assert_eq!((outcome.code, fake.all_calls()), (0, vec![method]), "{line}: {outcome:?}");
        assert_eq!(fake.calls(method)[0].key.len(), 36, "{line}");
    }
}

#[tokio::test]
async fn waiting_follows_to_ready_and_tells_each_step() {
    let fake = accepting().await;
    fake.answer("WaitOperation", &operation(OperationState::Pending, 1, &[]));
    fake.answer("WaitOperation", &operation(OperationState::Running, 2, &["placed"]));
    fake.answer("WaitOperation", &operation(OperationState::Succeeded, 3, &["placed", "booted"]));
    let at = |name: &str, at_us| Step { name: name.into(), at_us };
    let ready = Instance {
        name: "web-1".into(),
        phase: InstancePhase::Ready.into(),
        host_name: "h1".into(),
        created_at_us: 1_000_000,
        steps: vec![at("placed", 1_020_000), at("ready", 3_500_000)],
        ..Instance::default()
    };
    let waits = Instance {
        refusal: Some(Refusal { message: "no host has room".into(), ..Refusal::default() }),
        ..Instance::default()
    };
    fake.answer("GetInstance", &GetInstanceResponse { instance: Some(waits), quarantine: Vec::new() });
    // its address comes a moment after its guest
    fake.answer(
        "GetInstance",
        &GetInstanceResponse { instance: Some(ready.clone()), quarantine: Vec::new() },
    );
    let reached = Instance { addresses: vec!["192.0.2.7".into()], ..ready };
    fake.answer("GetInstance", &GetInstanceResponse { instance: Some(reached), quarantine: Vec::new() });
    let outcome = Berth::at(&fake).run(&format!("{CREATE} --wait --timeout 1m")).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(
        outcome.out,
        "web-1 is ready on h1, 192.0.2.7\nSTEP     TOOK     AFTER\nplaced   0 ms     0 ms\nready    2.48 s   2.48 s\nin all 2.48 s\n"
    );
    assert!(
        outcome.err.contains("waits: no host has room") && outcome.err.contains("placed (running)"),
        "{outcome:?}"
    );
    let seen: Vec<u64> =
        fake.calls("WaitOperation").iter().map(|c| c.read::<WaitOperationRequest>().after_revision).collect();
    assert_eq!(seen, [0, 1, 2]);
}

#[tokio::test]
async fn a_gateway_that_restarts_while_we_wait_is_no_failure() {
    let fake = accepting().await;
    fake.say("WaitOperation", Answer::Cut);
    fake.answer("WaitOperation", &operation(OperationState::Succeeded, 3, &[]));
    fake.answer(
        "GetInstance",
        &GetInstanceResponse { instance: Some(Instance::default()), quarantine: Vec::new() },
    );
    assert_eq!(Berth::at(&fake).run(&format!("{CREATE} --wait")).await.code, 0);
}

#[tokio::test]
async fn a_failed_operation_is_4_with_its_reasons() {
    let fake = accepting().await;
    let mut failed = operation(OperationState::Failed, 2, &[]);
    let refusal = Refusal {
        code: "BOOT_FAILED".into(),
        message: "it did not boot".into(),
        reasons: vec!["no kernel".into()],
    };
    failed.operation.as_mut().unwrap().refusal = Some(refusal);
    fake.answer("WaitOperation", &failed);
    fake.answer("GetInstance", &GetInstanceResponse::default());
    let outcome = Berth::at(&fake).run(&format!("{CREATE} --wait -q")).await;
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (4, "error: it did not boot (BOOT_FAILED)\n  - no kernel\n")
    );
    let fake = accepting().await;
    fake.answer("WaitOperation", &operation(OperationState::Superseded, 2, &["placed"]));
    assert_eq!(Berth::at(&fake).run(&format!("{CREATE} --wait")).await.code, 4);
}

#[tokio::test]
async fn a_wait_that_takes_too_long_is_6_and_says_how_to_go_on() {
    let fake = accepting().await;
    fake.answer("WaitOperation", &operation(OperationState::Running, 1, &["placed"]));
    let outcome = Berth::at(&fake).run(&format!("{CREATE} --wait --timeout 1s")).await;
    assert_eq!(outcome.code, 6, "{outcome:?}");
    assert!(outcome.err.contains("berth operation wait op-1"), "{outcome:?}");
    assert!(fake.calls("WaitOperation").len() < 30, "an eager gateway must not be asked in a tight loop");
}

#[tokio::test]
async fn exec_hands_through_output_and_exit_code() {
    let fake = Fake::start().await;
    fake.answer(
        "ExecInstance",
        &OperationResponse { operation_id: "op-1".into(), object_id: "i".into(), outcome: None },
    );
    fake.answer("WaitOperation", &operation(OperationState::Succeeded, 1, &[]));
    let output = GetExecOutputResponse {
        exit_code: 7,
        stdout: b"out\n".to_vec(),
        stderr: b"err\n".to_vec(),
        truncated: false,
    };
    fake.answer("GetExecOutput", &output);
    let outcome =
        Berth::at(&fake).stdin(b"typed").run("instance exec web-1 -i --timeout 9 -- sh -c true").await;
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (7, "out\n", "err\n"));
    let request: ExecInstanceRequest = fake.calls("ExecInstance")[0].read();
    assert_eq!(request.argv, ["sh", "-c", "true"]);
    assert_eq!((request.stdin.as_slice(), request.timeout_s), (&b"typed"[..], 9));
    assert_eq!(fake.calls("GetExecOutput")[0].read::<GetExecOutputRequest>().operation, "op-1");
}

#[tokio::test]
async fn user_data_are_bytes_and_hints_about_them_are_shown() {
    let fake = Fake::start().await;
    let hints = vec!["user data, line 1: cloud-init does not see what it is".to_owned()];
    let answer = CreateInstanceResponse {
        instance_id: "i-1".into(),
        operation_id: "op-1".into(),
        hints,
        ..Default::default()
    };
    fake.answer("CreateInstance", &answer);
    let berth = Berth::at(&fake);
    let zipped = berth.file("user-data.gz", b"\x1f\x8b\x08\x00\xff");
    let outcome =
        berth.run(&format!("instance create web-1 --image tiny --flavor small --user-data {zipped}")).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.err.contains("hint: user data, line 1: cloud-init does not see"), "{outcome:?}");
    let request: CreateInstanceRequest = fake.calls("CreateInstance")[0].read();
    assert_eq!(
        (request.user_data.as_str(), request.user_data_bytes.as_slice()),
        ("", &b"\x1f\x8b\x08\x00\xff"[..])
    );
}

#[tokio::test]
async fn what_is_asked_for_is_what_is_sent() {
    let fake = accepting().await;
    let berth = Berth::at(&fake);
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me";
    let key = berth.file("id.pub", format!("{public}\n").as_bytes());
    let data = berth.file("user-data", b"#cloud-config\n");
    let line = format!(
        "instance create web-1 --image tiny --vcpus 0.5 --memory 512MiB --disk 4GiB --ssh-key {key} --user-data {data} --label a=b \
         --driver simulated --require-host zone=fra1 --avoid-host old=yes --affinity g --anti-affinity h --restart-policy never --policy pack"
    );
    let outcome = berth.run(&line).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let request: CreateInstanceRequest = fake.calls("CreateInstance")[0].read();
    let resources = request.resources.unwrap();
    assert_eq!(
        (resources.vcpus_milli, resources.memory_bytes, resources.disk_bytes),
        (500, 512 << 20, 4 << 30)
    );
    assert_eq!(
        (request.ssh_authorized_keys, request.user_data.as_str()),
        (vec![public.into()], "#cloud-config\n")
    );
    assert_eq!((request.driver, request.restart_policy, request.placement_policy), (4, 3, 1));
    assert_eq!((request.labels["a"].as_str(), request.require_host_labels["zone"].as_str()), ("b", "fra1"));
    assert_eq!((request.avoid_host_labels["old"].as_str(), request.affinity_group.as_str()), ("yes", "g"));
}
