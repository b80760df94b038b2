//! A broker on which each service is a user of its own: everything works, and nothing beyond it is let through.

use crate::one_instance::{create, prepare};
use async_nats::{Client, ConnectOptions, Event};
use bus::{StreamLimits, inbox_of, topology};
use chassis::Service;
use node::broker_users::{self, OPERATOR, SETUP};
use node::{NodeSettings, SERVICES, replay_verify};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use stories::platform::{Extra, Platform};
use stories::programs::program;
use testkit::{NatsServer, eventually};
use tokio::sync::mpsc;

/// The account of the services as `deploy/nats/nats.conf` has it, but for passwords, which are the names. Who says nothing
/// of himself is in another account.
fn configuration() -> String {
    let users = broker_users::in_configuration(&SERVICES, |user| format!("{:?}", user.name));
    format!(
        "accounts {{\n  BERTH {{\n    jetstream: enabled\n    users: [\n{users}    ]\n  }}\n\
         \x20 NOBODY {{ jetstream: enabled, users: [ {{ user: nobody, password: nobody }} ] }}\n}}\nno_auth_user: nobody\n"
    )
}

/// `berth setup`. Answers whether it says that all is well.
fn set_up(nats: &NatsServer) -> bool {
    let ran = Command::new(program("berth"))
        .arg("setup")
        .env("BERTH_SETUP__BUS__URL", nats.url())
        .env("BERTH_SETUP__BUS__USER", SETUP)
        .env("BERTH_SETUP__BUS__PASSWORD", SETUP)
        .output()
        .expect("berth runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ran.status.success() && said.contains("streams are as they should be")
}

async fn start(nats: &NatsServer, ops: &[(&str, String)]) -> Platform {
    let lines = [(host_driver::SERVICE.program, "simulated.count = 3")];
    Platform::start_with(&nats.url(), Extra { lines: &lines, users: true, ops, ..Extra::default() }).await
}

/// The settings of who looks at the platform as at a node.
fn seen_as_node(platform: &Platform, nats: &NatsServer) -> NodeSettings {
    let passwords = platform.folder().join("passwords");
    std::fs::create_dir_all(&passwords).expect("a folder");
    for user in broker_users::users(&SERVICES) {
        std::fs::write(passwords.join(user.name), user.name).expect("written");
    }
    let mut settings = NodeSettings { data_dir: platform.data_dir(), ..NodeSettings::default() };
    settings.nats.url = nats.url();
    settings.nats.passwords = passwords;
    settings
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").to_string()
}

fn denials(platform: &Platform) -> String {
    let logs = SERVICES.map(|service| platform.folder().join(format!("{}.log", service.program)));
    let lines = logs.iter().map(|log: &PathBuf| std::fs::read_to_string(log).unwrap_or_default());
    let denied = |log: String| {
        log.lines().filter(|line| line.contains("does not allow")).collect::<Vec<_>>().join("\n")
    };
    lines.map(denied).filter(|lines| !lines.is_empty()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_service_does_its_work_as_its_own_user() {
    let nats = NatsServer::start_with(&configuration()).await;
    assert!(set_up(&nats) && set_up(&nats), "and again, which changes nothing");
    let mut platform = start(&nats, &[]).await;
    let cli = platform.cli();
    prepare(&cli).await;
    cli.ok(&create("web-1", &["--wait"]));
    cli.ok(&create("web-2", &["--dry-run"]));
    // each comes back, and finds its consumers and its places in the streams
    for service in SERVICES {
        platform.kill(service.program);
        platform.start_again(service.program);
    }
    eventually(Duration::from_secs(60), "the gateway to answer", async || {
        (cli.run(&["instance", "list"]).code == 0).then_some(())
    })
    .await;
    cli.ok(&create("web-3", &["--wait"]));
    cli.ok(&["instance", "delete", "web-1", "--wait"]);
    cli.ok(&["dead", "list"]);
    assert!(!cli.events(&[]).is_empty(), "the stream is read");
    let verdicts = replay_verify(seen_as_node(&platform, &nats)).await.expect("verified");
    assert!(!verdicts.is_empty() && verdicts.iter().all(|it| it.differences.is_empty()), "{verdicts:?}");
    assert_eq!(denials(&platform), "");
}

/// Somebody connected as a user, and what the broker did not let him do.
struct Somebody {
    client: Client,
    denied: mpsc::UnboundedReceiver<String>,
}

impl Somebody {
    async fn come(nats: &NatsServer, user: &str) -> Self {
        let (sender, denied) = mpsc::unbounded_channel();
        let options = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned())
            .custom_inbox_prefix(inbox_of(user))
            .event_callback(move |event| {
                let sender = sender.clone();
                async move {
                    if let Event::ServerError(error) = event {
                        let _ = sender.send(error.to_string());
                    }
                }
            });
        Self { client: options.connect(nats.url()).await.expect("lets him in"), denied }
    }

    /// Whether the broker says that this is denied.
    async fn is_denied(&mut self, verb: &str, subject: &str) -> bool {
        let said = format!("permissions violation for {verb} to \"{subject}\"").to_lowercase();
        let wait = async {
            while let Some(denied) = self.denied.recv().await {
                if denied.to_lowercase().contains(&said) {
                    return true;
                }
            }
            false
        };
        tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap_or(false)
    }

    async fn may_not_publish(&mut self, subject: &str) -> bool {
        let inbox = self.client.new_inbox();
        self.client.publish_with_reply(subject.to_owned(), inbox, "{}".into()).await.expect("sent");
        self.client.flush().await.expect("sent");
        self.is_denied("publish", subject).await
    }

    async fn may_not_listen(&mut self, subject: &str) -> bool {
        let _listening = self.client.subscribe(subject.to_owned()).await.expect("sent");
        self.client.flush().await.expect("sent");
        self.is_denied("subscription", subject).await
    }
}

fn streams() -> Vec<String> {
    topology::streams(1, &StreamLimits::default()).into_iter().map(|stream| stream.name).collect()
}

/// What a service has no business to publish to.
fn not_its_own(service: &Service) -> BTreeSet<String> {
    let mut subjects =
        BTreeSet::from(["evt.unknown.v1.X.t.k", "ext.acme.a", "$SYS.REQ.USER.AUTH"].map(String::from));
    let mut add = |subject: String| subjects.insert(subject);
    for other in SERVICES.into_iter().filter(|other| *other != service) {
        let name = other.name;
        add(format!("evt.{name}.v1.X.t.k"));
        add(format!("evt.bus.v1.ServiceRebuilt.platform.{name}"));
        add(format!("tel.{name}.v1.X.k"));
        add(format!("dead.{name}.x"));
        add(format!("{}.x.y", inbox_of(name)));
        add(format!("$JS.API.CONSUMER.DELETE.EXT.{name}"));
        if other.listens_to_events {
            for verb in ["CREATE", "INFO", "MSG.NEXT", "DELETE"] {
                add(format!("$JS.API.CONSUMER.{verb}.EVENTS.{name}"));
            }
            add(format!("$JS.API.CONSUMER.CREATE.EVENTS.{name}.evt.>"));
            add(format!("$JS.ACK.EVENTS.{name}.1.1.1.1.0"));
        }
        if !service.tells.contains(&name) {
            add(format!("cmd.{name}.v1.X.k"));
        }
        if !service.reach.asks {
            add(format!("ask.{name}.v1.X"));
            add(format!("live.{name}.v1.console.x"));
        }
        let queue = topology::command_stream(name);
        for verb in ["CONSUMER.CREATE", "CONSUMER.MSG.NEXT", "CONSUMER.DELETE"] {
            add(format!("$JS.API.{verb}.{queue}.{name}"));
        }
        add(format!("$JS.API.STREAM.PURGE.{queue}"));
        add(format!("$JS.ACK.{queue}.{name}.1.1.1.1.0"));
        if !service.tells.contains(&name) && !service.reach.door {
            add(format!("$JS.API.DIRECT.GET.{queue}"));
        }
    }
    for stream in streams() {
        for verb in ["CREATE", "UPDATE", "DELETE", "SNAPSHOT", "RESTORE", "MSG.GET"] {
            add(format!("$JS.API.STREAM.{verb}.{stream}"));
        }
        if stream != topology::command_stream(service.name) {
            add(format!("$JS.API.STREAM.PURGE.{stream}"));
        }
        if !(service.reach.door && stream == topology::DEAD) {
            add(format!("$JS.API.STREAM.MSG.DELETE.{stream}"));
        }
    }
    // without a name in the subject it may stand in the request: that of another's consumer
    for api in [
        "CONSUMER.CREATE.EVENTS",
        "STREAM.CREATE.X",
        "STREAM.LIST",
        "CONSUMER.DURABLE.CREATE.EVENTS.x",
        "DIRECT.GET.TELEMETRY",
    ] {
        add(format!("$JS.API.{api}"));
    }
    subjects
}

#[tokio::test]
async fn nothing_beyond_its_work_is_let_through() {
    let nats = NatsServer::start_with(&configuration()).await;
    assert!(set_up(&nats));
    for service in SERVICES {
        let name = service.name;
        let mut somebody = Somebody::come(&nats, name).await;
        for subject in not_its_own(service) {
            assert!(somebody.may_not_publish(&subject).await, "{name} may publish to {subject}");
        }
        let others = SERVICES.into_iter().filter(|other| other.name != name).map(|other| other.name);
        let inboxes = others.chain([SETUP, OPERATOR]).map(|other| format!("{}.>", inbox_of(other)));
        let listens = [">", "_INBOX.>", "evt.>", "cmd.>", "$JS.API.>", "$SYS.>"].map(String::from);
        for subject in inboxes.chain(listens) {
            assert!(somebody.may_not_listen(&subject).await, "{name} may listen to {subject}");
        }
        // what it may do is not denied with the rest
        assert!(!somebody.may_not_publish(&format!("evt.{name}.v1.X.t.k")).await, "{name} says nothing");
    }
}

/// The operator looks, and setup makes streams: neither says anything in the name of a service.
#[tokio::test]
async fn who_is_no_service_does_one_thing() {
    let nats = NatsServer::start_with(&configuration()).await;
    assert!(set_up(&nats));
    for user in [SETUP, OPERATOR] {
        let mut somebody = Somebody::come(&nats, user).await;
        for service in SERVICES {
            for subject in ["evt", "cmd", "dead"].map(|kind| format!("{kind}.{}.v1.X.t.k", service.name)) {
                assert!(somebody.may_not_publish(&subject).await, "{user} may publish to {subject}");
            }
        }
        for stream in streams() {
            // the log is cleared by hand of what is archived
            let clears = user == SETUP && stream == topology::EVENTS;
            let purge = (!clears).then_some("STREAM.PURGE");
            for verb in ["STREAM.MSG.DELETE", "STREAM.MSG.GET"].into_iter().chain(purge) {
                let subject = format!("$JS.API.{verb}.{stream}");
                assert!(somebody.may_not_publish(&subject).await, "{user} may publish to {subject}");
            }
        }
        assert!(somebody.may_not_publish("$JS.API.STREAM.DELETE.EVENTS").await, "{user} may delete the log");
    }
}

/// A broker that does not let a service do its work, because its configuration is older, say.
#[tokio::test]
async fn what_is_denied_is_seen() {
    let told = format!("\"cmd.{}.>\"", host_driver::SERVICE.name);
    let narrow = configuration()
        .lines()
        .map(|line| match line.contains(&format!("user: {},", scheduler::SERVICE.name)) {
            true => line.replace(&told, "\"cmd.nobody\""),
            false => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n");
    let nats = NatsServer::start_with(&narrow).await;
    assert!(set_up(&nats));
    let ops = [(scheduler::SERVICE.program, free_address())];
    let platform = start(&nats, &ops).await;
    let cli = platform.cli();
    prepare(&cli).await;
    cli.ok(&create("web-1", &[]));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let [metrics, ready] = ["metrics", "readyz"].map(|path| format!("http://{}/{path}", ops[0].1));
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
    let read = async |url: &str| client.get(url).send().await.ok()?.text().await.ok();
    eventually(Duration::from_secs(60), "the log, the metric and the health to say it", async || {
        let (metrics, ready) = (read(&metrics).await?, read(&ready).await?);
        let counted = metrics.lines().any(|line| line.starts_with("berth_bus_denied_total{"));
        let unwell = ready.contains("\"healthy\":false")
            && ready.contains(&format!("cmd.{}", host_driver::SERVICE.name));
        (counted && unwell && denials(&platform).contains("cmd.")).then_some(())
    })
    .await;
}
