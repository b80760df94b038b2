//! A real guest whose agent never answers, on a host whose network goes down while it is stopped: it comes up again with
//! its own disk, and nobody has to ask. Afterwards it is deleted, and brought back with that disk.

use crate::one_instance::IMAGE;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stories::cli::Cli;
use stories::machine::Machine;
use stories::programs::small_image;
use testkit::eventually;

const LONG: Duration = Duration::from_secs(120);

/// Writes a number to the disk the first time, and says at each boot what it finds there.
const GUEST: &str = "#!/bin/sh
found=$(head -c 36 /dev/vda | tr -dc 'a-f0-9-')
if [ -z \"$found\" ]; then
  cat /proc/sys/kernel/random/uuid | dd of=/dev/vda bs=36 count=1 conv=fsync 2>/dev/null
  found=$(head -c 36 /dev/vda)
fi
echo \"the disk says $found.\"
";

/// The small image, as if it carried no agent though it is said to.
fn silent_image(folder: &Path) -> PathBuf {
    let original = small_image();
    let beside = original.parent().expect("a folder");
    std::fs::create_dir_all(folder).expect("a folder");
    for file in ["vmlinuz", "initramfs"] {
        std::fs::copy(beside.join(file), folder.join(file)).expect("copied");
    }
    let text = std::fs::read_to_string(&original).expect("a manifest");
    let manifest = folder.join("silent.json");
    let silent = text.replace("console=ttyS0 quiet", "console=ttyS0 quiet berth.agent=off");
    assert_ne!(text, silent, "the manifest has the command line that is changed here");
    std::fs::write(&manifest, silent).expect("written");
    manifest
}

struct Story {
    machine: Machine,
    cli: Cli,
    data: PathBuf,
}

impl Story {
    fn instance(&self, name: &str) -> Value {
        self.cli.json(&["instance", "show", name])["instance"].take()
    }

    async fn phase(&self, name: &str, wanted: &str) {
        let phase = format!("INSTANCE_PHASE_{wanted}");
        eventually(LONG, &format!("{name} to be {wanted}"), async || {
            (self.instance(name)["phase"] == phase).then_some(())
        })
        .await;
    }

    /// What the guest found on its disk at each of its boots so far.
    fn found(&self, id: &str) -> Vec<String> {
        let log = self.data.join("host/instances").join(id).join("console.log");
        let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
        let said = text.split("the disk says ").skip(1);
        said.filter_map(|rest| rest.split_once('.')).map(|(found, _)| found.to_owned()).collect()
    }

    async fn boots(&self, id: &str, count: usize) -> Vec<String> {
        eventually(LONG, &format!("boot number {count}"), async || {
            let found = self.found(id);
            (found.len() >= count).then_some(found)
        })
        .await
    }

    /// A counter of the host-driver.
    fn failed_starts(&self) -> u64 {
        let text = self.machine.shell("curl -s http://127.0.0.1:7481/metrics");
        let is_it = |line: &&str| {
            line.starts_with("berth_host_actions")
                && line.contains("\"start\"")
                && line.contains("\"failed\"")
        };
        let line = text.lines().find(is_it);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0) as u64
    }
}

#[tokio::test]
async fn a_guest_without_an_agent_keeps_its_disk_while_the_network_of_its_host_is_down() {
    let machine = Machine::start();
    let data = machine.folder().join("data");
    let story = Story { cli: Cli::inside(&machine, &data), data, machine };
    let cli = &story.cli;
    cli.ok(&["up", "--detach"]);
    let manifest = silent_image(&story.machine.folder().join("image"));
    let manifest = manifest.to_str().expect("a readable path");
    cli.ok(&["image", "import", IMAGE, "--manifest", manifest]);
    let script = story.machine.folder().join("guest.sh");
    std::fs::write(&script, GUEST).expect("written");
    let script = script.to_str().expect("a readable path");
    cli.ok(&["instance", "create", "quiet", "--image", IMAGE, "--flavor", "micro", "--user-data", script]);
    story.phase("quiet", "RUNNING").await;
    let id = story.instance("quiet")["id"].as_str().expect("an id").to_owned();
    let first = story.boots(&id, 1).await[0].clone();
    assert_eq!(first.len(), 36, "a number of its own: {first}");

    cli.ok(&["instance", "stop", "quiet", "--grace", "20", "--wait"]);
    story.machine.shell("virsh -q -c qemu:///system net-destroy default");
    cli.ok(&["instance", "start", "quiet"]);
    eventually(LONG, "more failed starts than any instance has patience for", async || {
        (story.failed_starts() > 5).then_some(())
    })
    .await;
    let waits = story.instance("quiet");
    assert_eq!(waits["phase"], "INSTANCE_PHASE_STARTING", "{waits:#}");
    assert_eq!(waits["refusal"]["code"], "HOST_NETWORK_DOWN", "{waits:#}");
    let disk = story.data.join("host/instances").join(&id).join("disk.qcow2");
    assert!(disk.exists(), "{}", disk.display());
    let said = cli.events(&["--object", &id]);
    let told = |event: &&Value| {
        event.to_string().contains("HOST_NETWORK_DOWN") && event.to_string().contains("VmObserved")
    };
    assert_eq!(said.iter().filter(told).count(), 1, "said once, not with every try");
    let host = cli.json(&["host", "list"])["hosts"][0]["host"]["name"].as_str().expect("a name").to_owned();
    eventually(LONG, "the host to say what is the matter", async || {
        cli.ok(&["host", "show", &host]).contains("virsh net-start default").then_some(())
    })
    .await;

    // the power cut is over, the network comes late, nobody is awake
    story.machine.shell("virsh -q -c qemu:///system net-start default");
    story.phase("quiet", "RUNNING").await;
    assert_eq!(story.boots(&id, 2).await[1], first, "the same disk");
    eventually(LONG, "the host to be well again", async || {
        (!cli.ok(&["host", "show", &host]).contains("HOST_NETWORK_DOWN")).then_some(())
    })
    .await;

    given_back(&story, &id, &host, &first).await;
    cli.ok(&["replay", "verify"]);
    let judged = cli.json(&["replay", "check"]);
    assert_eq!(judged["violations"].as_array().map_or(0, Vec::len), 0, "{judged:#}");
    cli.ok(&["down"]);
}

/// Deleted by mistake, and brought back; then deleted for good.
async fn given_back(story: &Story, id: &str, host: &str, first: &str) {
    let cli = &story.cli;
    cli.ok(&["instance", "delete", "quiet", "--wait"]);
    assert!(!story.data.join("host/instances").join(id).exists());
    let held = |words: &[&str]| cli.json(words)["quarantine"].as_array().cloned().unwrap_or_default();
    let listed =
        eventually(LONG, "the disk to be listed", async || held(&["host", "show", host]).pop()).await;
    assert_eq!(
        (listed["reason"].as_str(), listed["instance_id"].as_str()),
        (Some("QUARANTINE_REASON_DELETED"), Some(id))
    );
    assert!(listed["size_bytes"].as_u64().is_some_and(|size| size > 0), "{listed:#}");
    cli.ok(&["instance", "restore", "quiet", "--wait"]);
    eventually(LONG, "nothing to be held any more", async || {
        held(&["host", "show", host]).is_empty().then_some(())
    })
    .await;
    cli.ok(&["instance", "start", "quiet"]);
    story.phase("quiet", "RUNNING").await;
    assert_eq!(story.boots(id, 3).await[2], first, "the same disk, after it was deleted");

    cli.ok(&["instance", "delete", "quiet", "--wait"]);
    let listed =
        eventually(LONG, "the disk to be listed", async || held(&["instance", "show", id]).pop()).await;
    let quarantine = listed["id"].as_str().expect("an id");
    let lies = story.data.join("host/quarantine").join(quarantine);
    assert!(lies.join("disk.qcow2").exists());
    cli.ok(&["instance", "drop-disks", "quiet", quarantine, "--wait"]);
    eventually(LONG, "the files to go", async || (!lies.exists()).then_some(())).await;
    cli.fails(3, &["instance", "restore", "quiet", "--wait"]);
}
