//! Pieces are killed while work goes on; afterwards everything is as it was asked for.

use crate::one_instance::{create, prepare};
use serde_json::Value;
use std::time::Duration;
use stories::cli::Cli;
use stories::node::Node;
use testkit::eventually;

fn phases(cli: &Cli) -> Vec<(String, String)> {
    let list = cli.json(&["instance", "list"]);
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    list["instances"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|i| (text(&i["name"]), text(&i["phase"])))
        .collect()
}

pub async fn all_ready(cli: &Cli, names: &[String]) {
    eventually(Duration::from_secs(120), "every instance to be ready", async || {
        let found = phases(cli);
        let ready = |name: &String| found.iter().any(|(n, p)| n == name && p == "INSTANCE_PHASE_READY");
        (found.len() == names.len() && names.iter().all(ready)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_killed_again_and_again_loses_and_doubles_nothing() {
    let mut node = Node::start(&["--simulated-hosts", "4"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    let names: Vec<String> = (0..12).map(|n| format!("web-{n}")).collect();
    for (index, name) in names.iter().enumerate() {
        cli.ok(&create(name, &[]));
        if index % 4 == 3 {
            node.kill();
            node.up().await;
        }
    }
    all_ready(&cli, &names).await;
    for name in &names[..6] {
        cli.ok(&["instance", "delete", name]);
    }
    node.kill();
    node.up().await;
    all_ready(&cli, &names[6..]).await;
    assert!(cli.ok(&["dead", "list"]).contains("no dead letters"));
    eventually(Duration::from_secs(30), "reservations to be given back", async || {
        let hosts = cli.json(&["host", "list"]);
        let instances: u64 =
            hosts["hosts"].as_array()?.iter().map(|h| h["instances"].as_u64().unwrap_or(0)).sum();
        (instances == 6).then_some(())
    })
    .await;
    cli.ok(&["replay", "verify"]);
    assert!(node.stop(), "an ordered end\n{}", node.log_tail());
}

#[tokio::test]
async fn what_happens_while_tables_are_compared_is_no_difference() {
    let node = Node::start(&["--simulated-hosts", "4"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for round in 0..12 {
                let name = format!("web-{round}");
                cli.ok(&create(&name, &["--wait"]));
                cli.ok(&["instance", "delete", &name]);
            }
        });
        while !busy.is_finished() {
            cli.ok(&["replay", "verify"]);
        }
    });
}

#[tokio::test]
async fn a_broker_killed_under_load_costs_only_time() {
    let node = Node::start(&["--simulated-hosts", "4"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    let names: Vec<String> = (0..12).map(|n| format!("web-{n}")).collect();
    for (index, name) in names.iter().enumerate() {
        // the gateway takes requests also while the broker is away: its outbox keeps them
        cli.ok(&create(name, &[]));
        if index % 4 == 3 {
            node.kill_broker().await;
        }
    }
    all_ready(&cli, &names).await;
    assert!(cli.ok(&["dead", "list"]).contains("no dead letters"));
    cli.ok(&["replay", "verify"]);
}
