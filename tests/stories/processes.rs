//! Every service as a process of its own, on one broker: traced through all of them, and killed one by one.

use crate::one_instance::{create, prepare};
use std::collections::BTreeSet;
use std::time::Duration;
use stories::otlp::Receiver;
use stories::platform::{Extra, Platform, programs};
use testkit::{NatsServer, eventually};

async fn start(nats: &NatsServer, traces: &Receiver) -> Platform {
    let lines = [(host_driver::SERVICE.program, "simulated.count = 3")];
    Platform::start_with(&nats.url(), Extra { lines: &lines, traces: traces.endpoint() }).await
}

/// Whether it becomes true within half a minute: the caller knows better what to show when it does not.
async fn eventually_so(check: impl Fn() -> bool) -> bool {
    let holds = eventually(Duration::from_secs(60), "nothing", async || check().then_some(()));
    tokio::time::timeout(Duration::from_secs(30), holds).await.is_ok()
}

#[tokio::test]
async fn one_creation_is_one_trace_through_all_services() {
    let (nats, traces) = (NatsServer::start().await, Receiver::start().await);
    let platform = start(&nats, &traces).await;
    let cli = platform.cli();
    prepare(&cli).await;
    cli.ok(&create("traced", &["--wait"]));
    let spans = eventually(
        Duration::from_secs(60),
        "one trace with spans of gateway, scheduler and host-driver",
        async || {
            let spans = traces.spans();
            let root = spans.iter().find(|s| s.service == "gateway" && s.name.contains("CreateInstance"))?;
            let trace: Vec<_> = spans.iter().filter(|s| s.trace == root.trace).cloned().collect();
            let services: BTreeSet<&str> = trace.iter().map(|s| s.service.as_str()).collect();
            ["gateway", "scheduler", "host-driver"].iter().all(|s| services.contains(s)).then_some(trace)
        },
    )
    .await;
    let steps =
        ["scheduler CreateInstance", "host_driver EnsureVm", "scheduler VmObserved", "gateway InstanceReady"];
    for step in steps {
        let of_trace = || traces.spans().into_iter().filter(|s| s.trace == spans[0].trace);
        let seen = || of_trace().map(|s| format!("{} {}", s.service, s.name)).collect::<Vec<_>>().join(", ");
        let found = eventually_so(|| of_trace().any(|s| s.name == step)).await;
        assert!(found, "{step} is missing in: {}", seen());
    }
    let ids: BTreeSet<&str> = spans.iter().map(|s| s.id.as_str()).collect();
    let orphans = spans.iter().filter(|s| !s.parent.is_empty() && !ids.contains(s.parent.as_str())).count();
    assert!(orphans < spans.len(), "spans hang together: {spans:#?}");
}

#[tokio::test]
async fn each_service_killed_while_it_works() {
    let (nats, traces) = (NatsServer::start().await, Receiver::start().await);
    let mut platform = start(&nats, &traces).await;
    let cli = platform.cli();
    prepare(&cli).await;
    let mut names = Vec::new();
    for service in programs() {
        for n in 0..4 {
            let name = format!("{service}-{n}");
            cli.ok(&create(&name, &[]));
            names.push(name);
        }
        platform.kill(service);
        platform.start_again(service);
        eventually(Duration::from_secs(60), "the gateway to answer", async || {
            (cli.run(&["instance", "list"]).code == 0).then_some(())
        })
        .await;
    }
    eventually(Duration::from_secs(120), "every instance to be ready", async || {
        let list = cli.json(&["instance", "list"]);
        let instances = list["instances"].as_array()?.clone();
        let ready =
            |n: &String| instances.iter().any(|i| i["name"] == **n && i["phase"] == "INSTANCE_PHASE_READY");
        (instances.len() == names.len() && names.iter().all(ready)).then_some(())
    })
    .await;
    assert!(cli.ok(&["dead", "list"]).contains("no dead letters"));
}
