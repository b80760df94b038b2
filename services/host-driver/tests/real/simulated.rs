//! Simulated hosts behind a real broker.

use crate::service::Service;
use bytes::Bytes;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use futures::StreamExt;
use kernel::{InstanceId, OperationId};
use prost::Message;
use std::collections::BTreeSet;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

fn kernel() -> Vec<common::Artifact> {
    let role = common::ArtifactRole::Kernel.into();
    vec![common::Artifact { role, sha256: "a".repeat(64), ..common::Artifact::default() }]
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_report_beat_obey_and_answer() {
    let mut service = Service::start(|settings, _| {
        settings.drivers = vec!["simulated".into()];
        settings.simulated.count = 50;
        settings.labels = [("zone".to_owned(), "a".to_owned())].into();
    })
    .await;
    let mut hosts = BTreeSet::new();
    while hosts.len() < 50 {
        let report =
            service.hears(SOON, "a report", |_: &wire::HostReported| true).await.report.expect("a report");
        assert_eq!((report.agent_id.as_str(), report.labels["zone"].as_str()), (service.agent.as_str(), "a"));
        assert_eq!(report.drivers[0].driver(), common::Driver::Simulated);
        hosts.insert(report.host_id);
    }
    let mut beats =
        bus::samples::subscribe::<wire::HostHeartbeat>(&service.chassis.bus).await.expect("subscribed");
    let beat = tokio::time::timeout(SOON, beats.next()).await.expect("in time").expect("a beat");
    assert_eq!(beat.host_ids.into_iter().collect::<BTreeSet<_>>(), hosts);

    let mut instances = BTreeSet::new();
    for host in &hosts {
        let instance = InstanceId::new();
        service.tell(&service.order(host, instance, kernel())).await;
        instances.insert(instance.to_string());
    }
    while !instances.is_empty() {
        let seen = service.sees(SOON, "all ready", |o| o.agent_answered).await;
        instances.remove(&seen.instance_id);
    }

    let (host, instance) = (hosts.first().expect("hosts"), InstanceId::new());
    service.tell(&service.order(host, instance, kernel())).await;
    service.sees(SOON, "ready", |o| o.instance_id == instance.to_string() && o.agent_answered).await;
    exec(&mut service, host, instance).await;
    console(&service, instance).await;
    service.chassis.tasks.stop().await;
}

async fn exec(service: &mut Service, host: &str, instance: InstanceId) {
    let request = wire::ExecRequest { argv: vec!["echo".into(), "hello".into()], stdin: Vec::new() };
    let asked = wire::ExecInVm {
        agent_id: service.agent.clone(),
        host_id: host.to_owned(),
        instance_id: instance.to_string(),
        tenant: "acme".into(),
        operation_id: OperationId::new().to_string(),
        request: Some(service.chassis.sealer.seal(&request.encode_to_vec())),
        timeout_s: 10,
    };
    service.tell(&asked).await;
    let finished = service.hears(SOON, "an answer", |_: &wire::ExecFinished| true).await;
    let opened = service.chassis.sealer.open(&finished.output.expect("an output")).expect("our key");
    assert_eq!(wire::ExecOutput::decode(opened.as_slice()).expect("an output").stdout, b"hello\n");
}

async fn console(service: &Service, instance: InstanceId) {
    let subject = bus::live::console_subject(&service.agent);
    let open =
        async |request: String| bus::live::open(&service.chassis.bus, &subject, Bytes::from(request)).await;
    let Err(refused) = open(InstanceId::new().to_string()).await else { panic!("a console of nothing") };
    assert!(refused.to_string().contains("no instance"), "{refused}");
    let mut channel = open(instance.to_string()).await.expect("a console");
    let mut read = Vec::new();
    let mut until = async |text: &str, channel: &mut bus::live::Channel| {
        let reading = async {
            while !String::from_utf8_lossy(&read).contains(text) {
                read.extend(channel.receiver.recv().await.expect("open"));
            }
        };
        tokio::time::timeout(SOON, reading).await.expect("in time");
    };
    until("login:", &mut channel).await;
    channel.sender.send(Bytes::from_static(b"said back")).await.expect("typed");
    until("said back", &mut channel).await;
}
