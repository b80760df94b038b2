//! Every service as a process of its own, on one broker: traced through all of them, and killed one by one.

use crate::one_instance::{create, prepare};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use stories::cli::Cli;
use stories::otlp::Receiver;
use stories::programs::program;
use testkit::{NatsServer, eventually};

const SERVICES: [&str; 4] = ["storage", "scheduler", "host-driver", "gateway"];

/// Four processes with one folder between them.
struct Platform {
    folder: tempfile::TempDir,
    children: Vec<(&'static str, Child)>,
}

impl Platform {
    async fn start(nats: &NatsServer, traces: &Receiver) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        for service in SERVICES {
            let path = |name: &str| folder.path().join(name).display().to_string();
            let database = format!("database_url = 'sqlite://{}'", path(&format!("{service}.db")));
            let datastore = format!("datastore_url = 'file://{}'", path("datastore"));
            let own = match service {
                "scheduler" => database,
                "storage" => format!("{database}\n{datastore}"),
                "gateway" => format!(
                    "{database}\n{datastore}\nlisten = '127.0.0.1:{port}'\ndata_dir = '{}'",
                    path("gateway")
                ),
                _ => format!(
                    "{database}\n{datastore}\ndata_dir = '{}'\ndrivers = ['simulated']\nsimulated.count = 3",
                    path("host")
                ),
            };
            let text = format!(
                "sealing_key_file = '{}'\n[bus]\nurl = '{}'\n[telemetry]\notlp_endpoint = '{}'\n[service]\n{own}\n",
                path("sealing.key"),
                nats.url(),
                traces.endpoint()
            );
            std::fs::write(folder.path().join(format!("{service}.toml")), text).expect("a settings file");
        }
        let mut platform = Self { folder, children: Vec::new() };
        for service in SERVICES {
            platform.spawn(service);
        }
        let token = platform.folder.path().join("gateway/admin.token");
        eventually(Duration::from_secs(60), "the gateway's first token", async || {
            token.exists().then_some(())
        })
        .await;
        let context = format!(
            "current = 'local'\n[contexts.local]\nendpoint = 'http://127.0.0.1:{port}'\ntoken_file = '{}'\n",
            token.display()
        );
        std::fs::write(platform.folder.path().join("client.toml"), context).expect("a context");
        platform
    }

    fn spawn(&mut self, service: &'static str) {
        let folder: &Path = self.folder.path();
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{service}.log")));
        let child = Command::new(program(service))
            .arg(folder.join(format!("{service}.toml")))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("the service starts");
        self.children.push((service, child));
    }

    fn kill(&mut self, service: &str) {
        let index = self.children.iter().position(|(name, _)| *name == service).expect("it runs");
        let (_, mut child) = self.children.swap_remove(index);
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }

    fn cli(&self) -> Cli {
        Cli::new(self.folder.path())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for service in SERVICES {
                let log = std::fs::read_to_string(self.folder.path().join(format!("{service}.log")));
                let log = log.unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("== {service}\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
            }
        }
        for (_, child) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether it becomes true within half a minute: the caller knows better what to show when it does not.
async fn eventually_so(check: impl Fn() -> bool) -> bool {
    let holds = eventually(Duration::from_secs(60), "nothing", async || check().then_some(()));
    tokio::time::timeout(Duration::from_secs(30), holds).await.is_ok()
}

#[tokio::test]
async fn one_creation_is_one_trace_through_all_services() {
    let (nats, traces) = (NatsServer::start().await, Receiver::start().await);
    let platform = Platform::start(&nats, &traces).await;
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
    let mut platform = Platform::start(&nats, &traces).await;
    let cli = platform.cli();
    prepare(&cli).await;
    let mut names = Vec::new();
    for service in ["scheduler", "host-driver", "storage", "gateway"] {
        for n in 0..4 {
            let name = format!("{service}-{n}");
            cli.ok(&create(&name, &[]));
            names.push(name);
        }
        platform.kill(service);
        platform.spawn(service);
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
