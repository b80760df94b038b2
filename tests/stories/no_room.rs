//! A disk fills up under a node: new work is refused by name, what was taken on is finished when there is room again.

use crate::one_instance::{create, prepare};
use std::time::Duration;
use stories::node::Node;
use testkit::{SmallDisk, eventually};

const LATER: Duration = Duration::from_secs(120);

async fn ops(node: &Node, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
    let url = format!("http://{}{path}", node.ops_address());
    let answer = client.get(url).send().await.expect("the node answers");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn a_full_disk_refuses_by_name_and_costs_only_time() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut disk = None;
    let make = |data: &std::path::Path| disk = Some(SmallDisk::mount(&data.join("gateway"), 6 << 20));
    let mut node = Node::start_prepared(&["--simulated-hosts", "4"], make).await;
    let disk = disk.expect("mounted");
    let cli = node.cli();
    prepare(&cli).await;
    let mut names: Vec<String> = (0..4).map(|n| format!("web-{n}")).collect();
    for name in &names {
        cli.ok(&create(name, &[]));
    }
    let hosts = cli.json(&["host", "list"]);
    let host = hosts["hosts"][0]["host"]["name"]
        .as_str()
        .or(hosts["hosts"][0]["name"].as_str())
        .expect("a host")
        .to_owned();
    disk.fill();
    // what the store's log has room for is still taken on
    let refused = eventually(LATER, "a refusal", async || {
        let orders = [["host", "cordon", &host], ["host", "uncordon", &host]];
        orders.iter().map(|words| cli.run(words)).find(|ran| ran.code != 0)
    })
    .await;
    assert!(refused.err.contains("STORE_FULL"), "{}", refused.err);
    eventually(LATER, "the node to say that its store is full", async || {
        let (status, text) = ops(&node, "/readyz").await;
        (status == 503 && text.contains("gateway.store") && text.contains("STORE_FULL")).then_some(())
    })
    .await;
    let (_, metrics) = ops(&node, "/metrics").await;
    let says = |line: &str| {
        line.starts_with("berth_component_trouble{")
            && line.contains("component=\"gateway.store\"")
            && line.contains("reason=\"store_full\"")
            && line.ends_with(" 1")
    };
    assert!(metrics.lines().any(says), "{metrics}");
    let words = create("late", &[]);
    assert_ne!(cli.run(&words).code, 0);
    // reading goes on
    cli.ok(&["instance", "list"]);

    disk.free();
    eventually(LATER, "the node to be well", async || (ops(&node, "/readyz").await.0 == 200).then_some(()))
        .await;
    cli.ok(&["host", "uncordon", &host]);
    cli.ok(&words);
    names.push("late".into());
    crate::broken_pieces::all_ready(&cli, &names).await;
    assert!(cli.ok(&["dead", "list"]).contains("no dead letters"));
    cli.ok(&["replay", "verify"]);
    assert!(node.stop(), "an ordered end\n{}", node.log_tail());
}
