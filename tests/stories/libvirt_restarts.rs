//! libvirt's daemon is killed and restarted under guests that start, reboot and stop.

use crate::one_instance::{create, prepare};
use std::time::Duration;
use stories::cli::Cli;
use stories::machine::Machine;
use testkit::eventually;

const LONG: Duration = Duration::from_secs(120);

async fn phase(cli: &Cli, name: &str, wanted: &str) {
    let phase = format!("INSTANCE_PHASE_{wanted}");
    eventually(LONG, &format!("{name} to be {wanted}"), async || {
        (cli.json(&["instance", "show", name])["instance"]["phase"] == phase).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_dies_mid_work_loses_no_guest() {
    let machine = Machine::start();
    let cli = Cli::inside(&machine, &machine.folder().join("data"));
    cli.ok(&["up", "--detach"]);
    prepare(&cli).await;
    for name in ["one", "two"] {
        cli.ok(&create(name, &[]));
    }
    eventually(LONG, "a first domain", async || {
        machine.shell("virsh -q -c qemu:///system list --all --name").contains("berth-").then_some(())
    })
    .await;
    machine.shell("kill -9 $(cat /run/libvirtd.pid)");
    // asked for while nobody is there to do it
    cli.ok(&create("three", &[]));
    eventually(LONG, "the node to say that its hypervisor is away", async || {
        let said = cli.run(&["status", "-o", "json"]).out;
        let status: serde_json::Value = serde_json::from_str(&said).ok()?;
        let parts = status["components"].as_array()?;
        let part = parts.iter().find(|part| part["name"] == "host_driver.hypervisors")?;
        (part["healthy"] != true).then_some(())
    })
    .await;
    machine.start_libvirt();
    for name in ["one", "two", "three"] {
        phase(&cli, name, "READY").await;
    }

    cli.ok(&["instance", "stop", "one"]);
    cli.ok(&["instance", "reboot", "two"]);
    machine.shell("kill -9 $(cat /run/libvirtd.pid)");
    machine.start_libvirt();
    phase(&cli, "one", "STOPPED").await;
    phase(&cli, "two", "READY").await;
    assert_eq!(cli.run(&["instance", "exec", "three", "--", "true"]).code, 0, "it was left alone");

    for name in ["one", "two", "three"] {
        cli.ok(&["instance", "delete", name, "--wait"]);
    }
    assert_eq!(machine.shell("virsh -q -c qemu:///system list --all --name").trim(), "");
    cli.ok(&["replay", "verify"]);
    assert_eq!(cli.json(&["dead", "list"])["dead_letters"].as_array().map_or(0, Vec::len), 0);
    cli.ok(&["down"]);
}
