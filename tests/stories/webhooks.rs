//! A receiver of webhooks outside, in another language and with nothing but the published scheme, gets every event of an
//! instance, signed and in order, while the node is killed and started again.

use crate::one_instance::{IMAGE, prepare};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use stories::node::Node;
use testkit::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// The receiver: python3 and its standard library.
struct Outside {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Outside {
    fn start(folder: &Path, refuse: u32) -> Self {
        let (secrets, log) = (folder.join("secrets"), folder.join("log"));
        std::fs::write(&secrets, "").expect("a file");
        std::fs::write(&log, "").expect("a file");
        let mut child = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/stories/receiver.py"))
            .args([&secrets, &log])
            .arg(refuse.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed: deploy/prerequisites.sh run test");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        Self { child, port: line.trim().parse().expect("a port"), log }
    }

    fn got(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).expect("a log");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// "incarnation:sequence" of an event.
fn sequence(got: &Value) -> u64 {
    let place = got["event"]["berthsequence"].as_str().expect("a place");
    place.split_once(':').and_then(|(_, sequence)| sequence.parse().ok()).expect("a sequence")
}

#[tokio::test]
async fn a_receiver_outside_gets_every_event_of_an_instance_signed_and_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = Outside::start(folder.path(), 2);
    let mut node = Node::start_prepared(&["--simulated-hosts", "1"], |data| {
        std::fs::create_dir_all(data).expect("a folder");
        let text = "[webhooks]\nallow = \"127.0.0.0/8\"\nallow_http = true\n";
        std::fs::write(data.join("node.toml"), text).expect("settings");
    })
    .await;
    let cli = node.cli();
    prepare(&cli).await;
    let url = format!("http://127.0.0.1:{}/berth", outside.port);
    let secret = cli.ok(&["webhook", "create", "deploys", "--url", &url, "--type", "scheduler", "-q"]);
    std::fs::write(folder.path().join("secrets"), &secret).expect("written");
    let from = cli.json(&["webhook", "show", "deploys"])["webhook"]["from_sequence"].clone();
    cli.ok(&["instance", "create", "web-1", "--image", IMAGE, "--flavor", "micro", "--wait"]);
    node.kill();
    node.up().await;
    cli.ok(&["instance", "stop", "web-1", "--wait"]);
    cli.ok(&["instance", "delete", "web-1", "--wait"]);
    let said: Vec<Value> = cli
        .events(&["--type", "scheduler", "--after", &from.to_string()])
        .into_iter()
        .map(|line| line["event"].clone())
        .filter(|event| event["tenant"] == "default")
        .collect();
    assert!(said.len() > 4, "{} events", said.len());
    let got = eventually(PATIENCE, "every event at the receiver", async || {
        let got = outside.got();
        let taken = |id: &Value| got.iter().any(|g| g["id"] == *id && g["status"] == 204);
        said.iter().all(|event| taken(&event["id"])).then_some(got)
    })
    .await;
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut attempts: BTreeMap<&str, u64> = BTreeMap::new();
    for request in &got {
        assert_eq!(
            (&request["signed"], &request["media_type"]),
            (&true.into(), &"application/cloudevents+json".into())
        );
        let (id, event) = (request["id"].as_str().expect("an id"), &request["event"]);
        assert_eq!((&event["specversion"], event["id"].as_str()), (&"1.0".into(), Some(id)));
        let object = event["subject"].as_str().expect("an object");
        let before = last.insert(object, sequence(request)).unwrap_or_default();
        assert!(before <= sequence(request), "{object}: {} after {before}", sequence(request));
        let attempt = request["attempt"].as_u64().expect("a number");
        let earlier = attempts.insert(id, attempt).unwrap_or_default();
        assert!(attempt > earlier, "{id}: attempt {attempt} after {earlier}");
    }
    assert!(got.iter().any(|g| g["status"] == 503) && got.iter().any(|g| g["attempt"] == 2));

    // what people do with it by hand
    assert!(cli.ok(&["webhook", "probe", "deploys"]).contains("the receiver took it: 204"));
    let log = cli.json(&["webhook", "deliveries", "deploys"]);
    assert_eq!(log["deliveries"].as_array().map(Vec::len), Some(said.len()), "the trial is not in it");
    let first = log["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    cli.ok(&["webhook", "resend", "deploys", &first]);
    eventually(PATIENCE, "it again", async || {
        let got = outside.got();
        (got.iter().filter(|g| g["id"] == first.as_str() && g["status"] == 204).count() == 2).then_some(())
    })
    .await;
    let fresh = cli.ok(&["webhook", "rotate-secret", "deploys", "--at-once", "-q"]);
    assert_ne!(fresh, secret);
    let refused = cli.run(&["webhook", "probe", "deploys"]);
    assert!(refused.code == 1 && refused.out.contains("401"), "{refused:?}");
    cli.ok(&["webhook", "update", "deploys", "--disable"]);
    let table = cli.ok(&["webhook", "list"]);
    assert!(table.contains("deploys") && table.contains("disabled") && table.contains(&url), "{table}");
    cli.ok(&["webhook", "delete", "deploys"]);
    assert!(cli.ok(&["webhook", "list"]).contains("no webhooks"));
    cli.fails(3, &["webhook", "show", "deploys"]);
    let inside = cli.fails(2, &["webhook", "create", "x", "--url", "https://169.254.169.254/"]);
    assert!(inside.contains("not in the public Internet"), "{inside}");
}
