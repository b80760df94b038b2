//! Programs in guests: at most once, and nobody else can read what they wrote.

use crate::rig::Rig;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use kernel::{InstanceId, OperationId};
use prost::Message;
use std::time::Duration;
use testkit::eventually;

const SOON: Duration = Duration::from_secs(20);

fn request(rig: &Rig, instance: InstanceId, argv: &[&str]) -> wire::ExecInVm {
    let argv = argv.iter().map(|a| (*a).to_owned()).collect();
    let request = wire::ExecRequest { argv, stdin: b"typed".to_vec() };
    wire::ExecInVm {
        agent_id: "agent".into(),
        host_id: rig.host.to_string(),
        instance_id: instance.to_string(),
        tenant: "default".into(),
        operation_id: OperationId::new().to_string(),
        request: Some(rig.sealer.seal(&request.encode_to_vec())),
        timeout_s: 10,
    }
}

async fn answer(rig: &mut Rig) -> wire::ExecFinished {
    rig.parts.execs.clone().pass().await.expect("begun");
    eventually(SOON, "an answer", async || rig.bench.said_of::<wire::ExecFinished>().await.pop()).await
}

fn state(finished: &wire::ExecFinished) -> (common::OperationState, Option<String>) {
    let operation = &finished.operations[0];
    (operation.state(), operation.refusal.clone().map(|r| r.code))
}

#[tokio::test]
async fn a_program_runs_once_and_its_output_is_sealed() {
    for deliveries in [1, 2] {
        let mut rig = Rig::new(deliveries).await;
        let instance = rig.running().await;
        rig.bench.said().await;
        let asked = request(&rig, instance, &["cat"]);
        rig.bench.deliver(&asked).await.expect("taken");
        let finished = answer(&mut rig).await;
        assert_eq!((state(&finished), finished.exit_code), ((common::OperationState::Succeeded, None), 0));
        let sealed = finished.output.expect("an output");
        let opened = rig.sealer.open(&sealed).expect("sealed with our key");
        let output = wire::ExecOutput::decode(opened.as_slice()).expect("an output");
        assert_eq!(output.stdout, b"typed");
        // the same request once more, with another message id
        rig.bench.deliver(&asked).await.expect("known");
        rig.parts.execs.clone().pass().await.expect("nothing to do");
        assert_eq!(rig.world.calls("agent_exec"), 1);
        assert!(rig.bench.said().await.is_empty());
    }
}

#[tokio::test]
async fn a_program_that_fails_is_a_success_with_its_exit_code() {
    let mut rig = Rig::new(1).await;
    let instance = rig.running().await;
    rig.bench.said().await;
    rig.bench.deliver(&request(&rig, instance, &["false"])).await.expect("taken");
    let finished = answer(&mut rig).await;
    assert_eq!((state(&finished).0, finished.exit_code), (common::OperationState::Succeeded, 1));
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_a_reason() {
    let mut rig = Rig::new(1).await;
    let instance = rig.running().await;
    rig.bench.said().await;
    let nobodys = request(&rig, InstanceId::new(), &["true"]);
    let strangers = wire::ExecInVm { tenant: "other".into(), ..request(&rig, instance, &["true"]) };
    let nothing = request(&rig, instance, &[]);
    let key = chassis::Sealer::new(&[9; 32]);
    let unreadable = wire::ExecInVm { request: Some(key.seal(b"")), ..request(&rig, instance, &["true"]) };
    let cases = [
        (nobodys, "NOT_RUNNING"),
        (strangers, "NOT_RUNNING"),
        (nothing, "NO_PROGRAM"),
        (unreadable, "EXEC_UNREADABLE"),
    ];
    for (asked, code) in cases {
        rig.bench.deliver(&asked).await.expect("taken");
        let finished = answer(&mut rig).await;
        assert_eq!(state(&finished), (common::OperationState::Failed, Some(code.to_owned())));
    }
    rig.world.kill(instance);
    rig.bench.deliver(&request(&rig, instance, &["true"])).await.expect("taken");
    assert_eq!(state(&answer(&mut rig).await).1.as_deref(), Some("NOT_RUNNING"));
    assert_eq!(rig.world.calls("agent_exec"), 0);
}

#[tokio::test]
async fn what_an_earlier_process_began_is_interrupted_and_never_run_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rig = Rig::new(1).await;
    let instance = rig.running().await;
    rig.bench.deliver(&request(&rig, instance, &["sleep", "600"])).await.expect("taken");
    rig.parts.execs.clone().pass().await.expect("begun");
    eventually(SOON, "it runs", async || (rig.world.calls("agent_exec") == 1).then_some(())).await;
    let tables = rig.snapshot(folder.path()).await;

    let mut again = Rig::over(tables, rig.world.clone(), rig.host, 1, rig.clock.clone());
    again.bench.said().await;
    let finished = answer(&mut again).await;
    assert_eq!(state(&finished), (common::OperationState::Failed, Some("EXEC_INTERRUPTED".to_owned())));
    again.parts.execs.clone().pass().await.expect("nothing to do");
    assert_eq!(rig.world.calls("agent_exec"), 1);
}
