//! One instance through its whole life on a simulated host, by the command line.

use serde_json::Value;
use std::time::Duration;
use stories::cli::Cli;
use stories::node::Node;
use stories::programs::small_image;
use testkit::eventually;

pub const IMAGE: &str = "berth-small";

/// Imports the small image and waits until a host has reported.
pub async fn prepare(cli: &Cli) {
    cli.ok(&[
        "image",
        "import",
        IMAGE,
        "--manifest",
        small_image().to_str().expect("a readable path"),
        "--if-absent",
    ]);
    eventually(Duration::from_secs(60), "a host that is up", async || {
        let hosts = cli.json(&["host", "list"]);
        let up = |host: &Value| host["host"]["state"] == "HOST_STATE_UP";
        hosts["hosts"].as_array()?.iter().any(up).then_some(())
    })
    .await;
}

pub fn create<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["instance", "create", name, "--image", IMAGE, "--flavor", "micro"], more].concat()
}

fn phase(cli: &Cli, name: &str) -> String {
    let instance = cli.json(&["instance", "show", name]);
    instance["instance"]["phase"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn from_create_to_delete_with_everything_between() {
    let node = Node::start(&["--simulated-hosts", "3", "--insecure-dev"]).await;
    let cli = node.cli();
    prepare(&cli).await;

    let said = cli.ok(&create("web-1", &["--label", "tier=web", "--wait"]));
    for step in ["accepted", "placed", "ready"] {
        assert!(said.contains(step), "the time of step {step} is told: {said}");
    }
    for (verb, phase_after) in [
        ("pause", "INSTANCE_PHASE_PAUSED"),
        ("resume", "INSTANCE_PHASE_READY"),
        ("reboot", "INSTANCE_PHASE_READY"),
        ("stop", "INSTANCE_PHASE_STOPPED"),
        ("start", "INSTANCE_PHASE_READY"),
    ] {
        cli.ok(&["instance", verb, "web-1", "--wait"]);
        assert_eq!(phase(&cli, "web-1"), phase_after, "after {verb}");
    }
    let explained = cli.ok(&["instance", "explain", "web-1"]);
    assert!(explained.contains("3 hosts were considered") && explained.contains("chosen"), "{explained}");

    let id = cli.json(&["instance", "show", "web-1"])["instance"]["id"].as_str().expect("an id").to_owned();
    cli.ok(&["instance", "delete", "web-1", "--wait"]);
    cli.fails(3, &["instance", "show", "web-1"]);
    let types: Vec<String> = cli
        .events(&["--object", &id])
        .iter()
        .map(|e| e["event"]["type"].as_str().or(e["type"].as_str()).unwrap_or_default().to_owned())
        .collect();
    let mut at = 0;
    for expected in [
        "scheduler.InstanceAccepted",
        "scheduler.InstancePlaced",
        "scheduler.InstanceStarted",
        "scheduler.InstanceReady",
        "scheduler.InstancePaused",
        "scheduler.InstanceStopped",
        "scheduler.InstanceDeleted",
    ] {
        let found = types[at..].iter().position(|t| t == expected);
        at += found.unwrap_or_else(|| panic!("{expected} is missing after event {at} of {types:?}"));
    }
    assert!(cli.ok(&["dead", "list"]).contains("no dead letters"));
    cli.ok(&["replay", "verify"]);
}

#[tokio::test]
async fn groups_labels_and_cordons_decide_where_and_explain_says_why_not() {
    let node = Node::start(&["--simulated-hosts", "2", "--insecure-dev"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    let host_of = |name: &str| {
        cli.json(&["instance", "show", name])["instance"]["host_name"].as_str().expect("placed").to_owned()
    };
    cli.ok(&create("a-1", &["--anti-affinity", "a", "--wait"]));
    cli.ok(&create("a-2", &["--anti-affinity", "a", "--wait"]));
    assert_ne!(host_of("a-1"), host_of("a-2"));
    cli.ok(&create("b-1", &["--affinity", "b", "--wait"]));
    cli.ok(&create("b-2", &["--affinity", "b", "--wait"]));
    assert_eq!(host_of("b-1"), host_of("b-2"));

    // a third member finds no host: it waits, and says why; others are not held up by it
    cli.ok(&create("a-3", &["--anti-affinity", "a"]));
    let waits = eventually(Duration::from_secs(20), "the reason", async || {
        let text = cli.ok(&["instance", "explain", "a-3"]);
        text.contains("anti-affinity").then_some(text)
    })
    .await;
    assert!(waits.contains("pending"), "{waits}");
    cli.ok(&create("c-1", &["--wait"]));

    let (first, second) = (host_of("a-1"), host_of("a-2"));
    cli.ok(&["host", "cordon", &first, "--reason", "new disks", "--wait"]);
    cli.ok(&create("d-1", &["--wait"]));
    assert_eq!(host_of("d-1"), second, "nothing new on a cordoned host");
    cli.ok(&["host", "uncordon", &first, "--wait"]);
    // room appears: the one that waited gets it without being asked again
    cli.ok(&["instance", "delete", "a-1", "--wait"]);
    eventually(Duration::from_secs(30), "a-3 to be placed", async || {
        (phase(&cli, "a-3") == "INSTANCE_PHASE_READY").then_some(())
    })
    .await;
    assert_eq!(host_of("a-3"), first);
    cli.ok(&["replay", "verify"]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_code_and_reason() {
    let node = Node::start(&["--simulated-hosts", "1", "--insecure-dev"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    cli.ok(&create("web-1", &["--wait"]));
    assert!(cli.fails(4, &create("web-1", &["--wait"])).contains("NAME_TAKEN"));
    let missing = cli.fails(3, &["instance", "create", "x", "--image", "nothing", "--flavor", "micro"]);
    assert!(missing.contains("nothing"), "{missing}");
    cli.fails(2, &create("Not_A_Name", &[]));
    cli.fails(3, &["instance", "start", "nobody"]);
    cli.ok(&["instance", "stop", "web-1", "--wait"]);
    let refused = cli.fails(4, &["instance", "pause", "web-1", "--wait"]);
    assert!(refused.contains("web-1") || refused.contains("INSTANCE_"), "{refused}");
    let used = cli.fails(4, &["image", "delete", IMAGE, "--wait"]);
    assert!(used.contains("IMAGE_IN_USE") && used.contains("web-1"), "{used}");
    // larger than any host: it waits, and the reason has numbers
    cli.ok(&[
        "instance", "create", "big", "--image", IMAGE, "--vcpus", "2", "--memory", "20TiB", "--disk", "1GiB",
    ]);
    eventually(Duration::from_secs(20), "the reason", async || {
        cli.ok(&["instance", "explain", "big"]).contains("capacity").then_some(())
    })
    .await;
    cli.ok(&["instance", "delete", "big", "--wait"]);
    cli.ok(&["replay", "verify"]);
}
