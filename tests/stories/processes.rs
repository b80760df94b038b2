//! Every service as a process of its own, on one broker: traced through all of them, and killed one by one.

use crate::one_instance::{IMAGE, create, prepare};
use std::collections::BTreeSet;
use std::time::Duration;
use stories::otlp::Receiver;
use stories::platform::{Extra, Platform, programs};
use testkit::{NatsServer, eventually};

async fn start(nats: &NatsServer, traces: &Receiver) -> Platform {
    let lines = [(host_driver::SERVICE.program, "simulated.count = 3")];
    Platform::start_with(&nats.url(), Extra { lines: &lines, traces: traces.endpoint(), ..Extra::default() })
        .await
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
            let own = [&gateway::SERVICE, &scheduler::SERVICE, &host_driver::SERVICE];
            own.iter().all(|own| services.contains(own.program)).then_some(trace)
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

#[tokio::test]
async fn what_would_become_of_an_instance_is_said_by_the_scheduler_or_at_once_that_it_is_away() {
    let (nats, traces) = (NatsServer::start().await, Receiver::start().await);
    let mut platform = start(&nats, &traces).await;
    let cli = platform.cli();
    prepare(&cli).await;
    let said = cli.ok(&create("web-1", &["--dry-run"]));
    assert!(
        said.contains("web-1 would fit on simulated-0000") && said.contains("3 hosts were considered"),
        "{said}"
    );
    let large = [
        "instance",
        "create",
        "big",
        "--image",
        IMAGE,
        "--vcpus",
        "1",
        "--memory",
        "24TiB",
        "--disk",
        "1GiB",
        "--dry-run",
    ];
    let refused = cli.run(&large);
    assert_eq!(refused.code, 4, "{} {}", refused.out, refused.err);
    assert!(
        refused.out.contains("big would wait for a host") && refused.err.contains("lack memory"),
        "{} {}",
        refused.out,
        refused.err
    );
    let unknown =
        cli.run(&["instance", "create", "x", "--image", "nothing", "--flavor", "micro", "--dry-run"]);
    assert_eq!(unknown.code, 3, "{}", unknown.err);
    assert_eq!(cli.json(&["instance", "list"])["instances"], serde_json::json!([]), "nothing was made");
    assert_eq!(
        cli.json(&["operation", "list"])["operations"].as_array().map(Vec::len),
        Some(1),
        "the import"
    );

    platform.kill(scheduler::SERVICE.program);
    let began = std::time::Instant::now();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
    let asked = || {
        let instance = serde_json::json!({"name": "web-1", "image": IMAGE, "flavor": "micro"});
        let post = client.post(format!("{}/v1/instances/preview", platform.endpoint()));
        post.bearer_auth(platform.token()).json(&serde_json::json!({"instance": instance})).send()
    };
    let away = asked().await.expect("an answer");
    assert_eq!(away.status(), 503);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(away.headers()["retry-after"], "2");
    let problem: serde_json::Value = away.json().await.expect("a problem");
    assert_eq!(problem["code"], "OWNER_AWAY", "{problem}");
    // reads and what is asked of queues go on meanwhile
    cli.ok(&["instance", "list"]);
    cli.ok(&create("web-2", &[]));
    platform.start_again(scheduler::SERVICE.program);
    eventually(Duration::from_secs(60), "an answer of the scheduler that is back", async || {
        (cli.run(&create("web-1", &["--dry-run"])).code == 0).then_some(())
    })
    .await;
    cli.ok(&create("web-1", &["--wait"]));
}
