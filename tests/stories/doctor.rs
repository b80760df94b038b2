//! `berth doctor` on a node that is well, on one that is not, and where there is none.

use crate::one_instance::prepare;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use stories::cli::Cli;
use stories::node::Node;

fn findings<'a>(report: &'a Value, state: &str) -> Vec<&'a str> {
    let all = report["findings"].as_array().expect("a list").iter();
    all.filter(|f| f["state"] == state).filter_map(|f| f["check"].as_str()).collect()
}

fn examine(cli: &Cli, more: &[&str]) -> (i32, Value) {
    let ran = cli.run(&[&["doctor", "-o", "json"], more].concat());
    let report = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err));
    (ran.code, report)
}

#[tokio::test]
async fn a_node_that_is_well_has_no_problem_and_each_fault_is_found_with_its_advice() {
    let mut node = Node::start_readable(&["--simulated-hosts", "2"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    let (code, report) = examine(&cli, &[]);
    assert_eq!((code, &report["problems"]), (0, &Value::from(0)), "{report:#}");
    let ok = findings(&report, "ok");
    for check in [
        "certificates",
        "consumers",
        "dead-letters",
        "health",
        "hosts",
        "messages",
        "nats-durability",
        "nats-server",
        "outboxes",
        "ports",
        "sealing-key",
        "secret-files",
        "streams",
    ] {
        assert!(ok.contains(&check), "{check} is not ok: {report:#}");
    }
    // hosts are pretended: nothing is said about what was not looked at
    assert!(findings(&report, "skipped").contains(&"kvm"), "{report:#}");

    let key = node.data_dir().join("keys/sealing.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("our own file");
    let ran = cli.run(&["doctor", "--only", "secret-files"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("problem") && ran.out.contains("chmod 600"), "{}", ran.out);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("our own file");

    // the node is down: what can be seen of it is looked at, the rest is skipped
    assert!(node.stop());
    let (code, report) = examine(&cli, &[]);
    assert_eq!(code, 0, "{report:#}");
    assert!(findings(&report, "ok").contains(&"certificates"), "{report:#}");
    for check in ["consumers", "hosts", "outboxes", "streams", "health"] {
        assert!(findings(&report, "skipped").contains(&check), "{check}: {report:#}");
    }
}

#[test]
fn what_was_asked_wrongly_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let cli = Cli::new(&folder.path().join("nothing"));
    assert!(cli.fails(2, &["doctor"]).contains("no node"));
    assert!(cli.fails(2, &["doctor", "--only", "clocks"]).contains("known are"));
    assert!(cli.ok(&["doctor", "--list"]).contains("nats-durability"));
}
