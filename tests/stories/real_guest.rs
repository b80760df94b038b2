//! A real guest under libvirt, from the command line to its agent's answer, and what happens when somebody meddles.

use crate::one_instance::{create, prepare};
use std::process::Command;
use std::time::Duration;
use stories::node::Node;
use testkit::eventually;

pub fn virsh(words: &[&str]) -> (bool, String) {
    let output = Command::new("virsh")
        .args(["-c", "qemu:///system"])
        .args(words)
        .output()
        .expect("virsh is installed");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn it_boots_answers_is_repaired_and_leaves_nothing_behind() {
    let mut node = Node::start_readable(&[]).await;
    let cli = node.cli();
    prepare(&cli).await;
    let seed = node.data_dir().join("hello.sh");
    std::fs::write(&seed, "#!/bin/sh\necho from-the-seed > /run/seeded\n").expect("a file");
    let more = ["--hostname", "boat", "--user-data", seed.to_str().expect("a readable path"), "--wait"];
    cli.ok(&create("real", &more));
    assert_eq!(cli.ok(&["instance", "exec", "real", "--", "hostname"]).trim(), "boat");
    let code = cli.run(&["instance", "exec", "real", "--", "/bin/sh", "-c", "echo oops >&2; exit 7"]);
    assert_eq!((code.code, code.err.contains("oops")), (7, true), "{code:?}");
    eventually(Duration::from_secs(60), "the user data to have run", async || {
        let ran = cli.run(&["instance", "exec", "real", "--", "cat", "/run/seeded"]);
        (ran.out.trim() == "from-the-seed").then_some(())
    })
    .await;
    eventually(Duration::from_secs(60), "an address", async || {
        let shown = cli.json(&["instance", "show", "real"]);
        shown["instance"]["addresses"][0].as_str().map(str::to_owned)
    })
    .await;

    // killed behind our back: noticed, said, repaired
    let id = cli.json(&["instance", "show", "real"])["instance"]["id"].as_str().expect("an id").to_owned();
    let domain = format!("berth-{id}");
    assert!(virsh(&["destroy", &domain]).0, "the domain is there under our name");
    eventually(Duration::from_secs(60), "the drift to be said", async || {
        let events = cli.ok(&["events", "-o", "json", "--object", &id]);
        (events.contains("VmDrifted") && events.contains("DRIFT_KIND_STOPPED")).then_some(())
    })
    .await;
    eventually(Duration::from_secs(120), "the guest to answer again", async || {
        (cli.run(&["instance", "exec", "real", "--", "true"]).code == 0).then_some(())
    })
    .await;

    // the node dies; its guest does not, and is found again
    node.kill();
    assert!(virsh(&["domstate", &domain]).1.contains("running"));
    node.up().await;
    eventually(Duration::from_secs(60), "the guest to be looked after again", async || {
        (cli.run(&["instance", "exec", "real", "--", "true"]).code == 0).then_some(())
    })
    .await;

    cli.ok(&["instance", "delete", "real", "--wait"]);
    assert!(!virsh(&["domstate", &domain]).0, "the domain is gone");
    let folder = node.data_dir().join("host/instances").join(&id);
    assert!(!folder.exists(), "{} is gone", folder.display());
    cli.ok(&["replay", "verify"]);
}
