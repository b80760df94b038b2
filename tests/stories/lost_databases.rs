//! Databases are deleted and rolled back under a stopped node; afterwards everything is as it was.

use crate::one_instance::{create, prepare};
use crate::real_guest::virsh;
use node::SERVICES;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stories::cli::Cli;
use stories::node::Node;
use testkit::eventually;

pub fn database(node: &Node, service: &str) -> PathBuf {
    node.data_dir().join(service).join(format!("{service}.db"))
}

/// A SQLite database and what may lie beside it.
pub fn files_of(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", database.display())))
}

fn delete(node: &Node, service: &str) {
    let database = database(node, service);
    assert!(database.exists(), "{}", database.display());
    for file in files_of(&database) {
        let _ = std::fs::remove_file(file);
    }
}

/// What a user sees of instances and hosts, without what changes by itself.
fn seen(cli: &Cli) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for it in cli.json(&["instance", "list"])["instances"].as_array().into_iter().flatten() {
        let fields = ["id", "name", "phase", "host_name", "spec"].map(|field| it[field].to_string());
        lines.push(fields.join(" "));
    }
    for it in cli.json(&["host", "list"])["hosts"].as_array().into_iter().flatten() {
        lines.push(format!(
            "{} {} {}",
            text(&it["host"]["name"]),
            text(&it["host"]["state"]),
            it["instances"]
        ));
    }
    for it in cli.json(&["image", "list"])["images"].as_array().into_iter().flatten() {
        lines.push(format!("{} {}", it["name"], it["phase"]));
    }
    for it in cli.json(&["flavor", "list"])["flavors"].as_array().into_iter().flatten() {
        lines.push(it["name"].to_string());
    }
    for it in cli.json(&["operation", "list"])["operations"].as_array().into_iter().flatten() {
        lines.push(format!("{} {}", it["id"], it["state"]));
    }
    lines.sort();
    lines
}

async fn is_as_before(cli: &Cli, before: &[String], what: &str) {
    let mut now = Vec::new();
    let mut tries = 0;
    eventually(Duration::from_secs(90), &format!("everything to be as it was: {what}"), async || {
        now = seen(cli);
        tries += 1;
        if tries % 20 == 0 {
            eprintln!("{what}: {:#?}", now.iter().filter(|line| !before.contains(line)).collect::<Vec<_>>());
        }
        (now == before).then_some(())
    })
    .await;
    eventually(Duration::from_secs(60), "the tables to be what the events say", async || {
        (cli.run(&["replay", "verify"]).code == 0).then_some(())
    })
    .await;
}

fn rebuilt(cli: &Cli, service: &str) -> usize {
    let events = cli.events(&["--type", "bus.ServiceRebuilt"]);
    events.iter().filter(|e| e.to_string().contains(&format!("\"{service}\""))).count()
}

#[tokio::test]
async fn each_database_deleted_in_turn_comes_back_out_of_the_events() {
    // who has said nothing has nothing to lose: the archive writes a segment soon
    let soon = |data: &Path| {
        std::fs::create_dir_all(data).expect("a folder");
        std::fs::write(data.join("node.toml"), "[archive]\nsegment_age_s = 1\n").expect("settings");
    };
    let mut node = Node::start_prepared(&["--simulated-hosts", "3", "--insecure-dev"], soon).await;
    let cli = node.cli();
    prepare(&cli).await;
    for name in ["web-1", "web-2", "web-3", "web-4"] {
        cli.ok(&create(name, &["--wait"]));
    }
    cli.ok(&["instance", "reboot", "web-1", "--wait"]);
    cli.ok(&["instance", "stop", "web-2", "--wait"]);
    cli.ok(&["instance", "delete", "web-4", "--wait"]);
    eventually(Duration::from_secs(60), "a segment in the archive", async || {
        (!cli.events(&["--type", "archive.SegmentArchived"]).is_empty()).then_some(())
    })
    .await;
    let before = seen(&cli);
    for (number, service) in SERVICES.iter().map(|service| service.name).enumerate() {
        // an ordered end, and a kill: what was said is on the stream either way
        if number % 2 == 0 {
            assert!(node.stop(), "{}", node.log_tail())
        } else {
            node.kill()
        }
        delete(&node, service);
        node.up().await;
        is_as_before(&cli, &before, service).await;
        assert_eq!(rebuilt(&cli, service), 1, "{service} says that it was rebuilt, once");
    }
    assert!(cli.ok(&["dead", "list"]).contains("no dead letters"));
    // it goes on from there
    cli.ok(&["instance", "start", "web-2", "--wait"]);
    cli.ok(&create("web-5", &["--wait"]));
    for name in ["web-1", "web-2", "web-3", "web-5"] {
        cli.ok(&["instance", "delete", name, "--wait"]);
    }
    cli.ok(&["replay", "verify"]);
}

#[tokio::test]
async fn a_real_guest_does_not_notice_that_databases_are_lost() {
    let mut node = Node::start_readable(&[]).await;
    let cli = node.cli();
    prepare(&cli).await;
    cli.ok(&create("real", &["--wait"]));
    cli.ok(&["instance", "reboot", "real", "--wait"]);
    let id = cli.json(&["instance", "show", "real"])["instance"]["id"].as_str().expect("an id").to_owned();
    let domain = format!("berth-{id}");
    let process = || virsh(&["domid", &domain]).1.trim().to_owned();
    let boot = || cli.ok(&["instance", "exec", "real", "--", "cat", "/proc/sys/kernel/random/boot_id"]);
    let (process_before, boot_before) = (process(), boot());
    for service in SERVICES.map(|service| service.name) {
        let before = seen(&cli);
        node.kill();
        delete(&node, service);
        node.up().await;
        is_as_before(&cli, &before, service).await;
        assert_eq!(process(), process_before, "{service}: the guest was not started again");
        assert_eq!(boot(), boot_before, "{service}: nor rebooted");
    }
    let said = cli.ok(&["events", "-o", "json", "--object", &id]);
    assert!(!said.contains("VmDrifted"), "nobody saw anything amiss");
    let domains = virsh(&["list", "--all", "--name"]).1;
    assert_eq!(domains.lines().filter(|line| *line == domain).count(), 1);
    cli.ok(&["instance", "delete", "real", "--wait"]);
    assert!(!virsh(&["domstate", &domain]).0, "the domain is gone");
}

#[tokio::test]
async fn a_database_that_is_behind_is_refused_and_made_again_on_command() {
    let mut node = Node::start(&["--simulated-hosts", "2", "--insecure-dev"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    cli.ok(&create("old-1", &["--wait"]));
    let some = [&scheduler::SERVICE, &gateway::SERVICE, &host_driver::SERVICE];
    for service in some.map(|service| service.name) {
        assert!(node.stop(), "{}", node.log_tail());
        let old = node.data_dir().join("old.db");
        std::fs::copy(database(&node, service), &old).expect("a copy");
        node.up().await;
        cli.ok(&create(&format!("after-{}", service.replace('_', "-")), &["--wait"]));
        let before = seen(&cli);
        assert!(node.stop(), "{}", node.log_tail());
        delete(&node, service);
        std::fs::copy(&old, database(&node, service)).expect("rolled back");

        let said = node.refuses();
        assert!(said.contains(&format!("berth replay rebuild {service}")), "{said}");
        let told = cli.ok(&["replay", "rebuild", service]);
        assert!(told.contains("made again from") && told.contains("the old database is"), "{told}");
        node.up().await;
        is_as_before(&cli, &before, service).await;
    }
}
