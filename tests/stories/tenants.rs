//! Two tenants on one platform, by the command line: each works on its own, neither learns of the other, and what is
//! kept about them comes out of the events.

use crate::one_instance::{IMAGE, create, prepare};
use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use stories::node::Node;
use stories::programs::{program, small_image};

const PASSWORD: &str = "correct horse battery";

/// Somebody with a settings file of their own.
struct Person {
    home: tempfile::TempDir,
}

impl Person {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a home");
        std::fs::write(home.path().join("config.toml"), "# mine\n").expect("a settings file");
        Self { home }
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("config.toml")
    }

    /// At home in their own settings; nothing leads to the node's administrator.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("berth"));
        command.env_clear().env("HOME", self.home.path()).env("XDG_DATA_HOME", self.home.path());
        command.env("BERTH_CONFIG", self.config()).args(words).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("berth runs")
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "berth {}\n{out}{err}", words.join(" "));
        out.into_owned()
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        let text = self.ok(&[words, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", words.join(" ")))
    }

    /// Logs in at the node.
    fn login(&self, node: &Node, user: &str) -> String {
        let endpoint = format!("https://{}", node.address());
        let ca = node.data_dir().join("pki/ca.pem");
        let mut command = self.command(&["login", user, "--password-stdin", "--endpoint", &endpoint]);
        typed(command.arg("--ca-file").arg(ca))
    }
}

/// Runs a command that reads the password.
fn typed(command: &mut Command) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("berth runs");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(format!("{PASSWORD}\n").as_bytes()).expect("read");
    drop(input);
    let output = child.wait_with_output().expect("ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test]
async fn two_tenants_share_a_platform_and_nothing_else() {
    let mut node = Node::start(&["--simulated-hosts", "2"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    let mut people = Vec::new();
    for (tenant, user) in [("acme", "ann"), ("bravo", "bob")] {
        cli.ok(&["tenant", "create", tenant]);
        let words = ["--tenant", tenant, "user", "create", user, "--role", "admin", "--password-stdin"];
        typed(&mut cli.command(&words));
        let person = Person::new();
        let said = person.login(&node, &format!("{user}@{tenant}"));
        assert!(said.contains(&format!("logged in as {user}@{tenant}")), "{said}");
        people.push(person);
    }
    let (ann, bob) = (&people[0], &people[1]);
    let config = std::fs::read_to_string(ann.config()).expect("settings");
    assert!(config.contains("# mine\n") && config.contains("[contexts.\"ann.acme\"]"), "{config}");
    assert_eq!(ann.json(&["whoami"])["tenant"], "acme");

    // each has an image and an instance of the same names
    let manifest = small_image();
    for person in [ann, bob] {
        let manifest = manifest.to_str().expect("a readable path");
        person.ok(&["image", "import", IMAGE, "--manifest", manifest]);
        person.ok(&create("web-1", &["--wait"]));
    }
    let theirs = bob.json(&["instance", "show", "web-1"]);
    let id = theirs["instance"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(theirs["instance"]["host_name"], "", "hosts are the platform's business");
    let refused = ann.run(&["instance", "show", &id]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert_eq!(ann.json(&["instance", "list"])["instances"].as_array().map(Vec::len), Some(1));
    assert_eq!(ann.run(&["host", "list"]).status.code(), Some(4));
    assert_eq!(ann.run(&["--tenant", "bravo", "instance", "list"]).status.code(), Some(3));
    let events = ann.ok(&["events", "-o", "json"]);
    assert!(
        events.contains("InstanceReady") && !events.contains("bravo") && !events.contains(&id),
        "{events}"
    );
    // the administrator of the platform goes where it says
    assert_eq!(cli.json(&["--tenant", "bravo", "instance", "list"])["instances"][0]["id"], *id);
    assert_eq!(cli.json(&["instance", "list"])["instances"].as_array().map(Vec::len), Some(0));

    // a program with a token that may only look
    let made = ann.json(&["token", "create", "watcher", "--permission", "instance.read", "--expires", "1h"]);
    let secret = made["secret"].as_str().expect("shown once").to_owned();
    let watch = |words: &[&str]| {
        let mut command = ann.command(words);
        command.env("BERTH_TOKEN", &secret).output().expect("berth runs").status.code()
    };
    assert_eq!(watch(&["instance", "list"]), Some(0));
    assert_eq!(watch(&["instance", "delete", "web-1"]), Some(4));
    ann.ok(&["token", "revoke", "watcher"]);
    // repeated under one key it is made once and shown once, and nobody takes an empty answer for a token
    let once = ["token", "create", "again", "--idempotency-key", "again-1"];
    assert!(ann.ok(&once).starts_with("berth_"));
    let again = ann.run(&once);
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!((again.status.code(), again.stdout.len()), (Some(4), 0), "{said}");
    assert!(said.contains("first answer") && said.contains("berth token revoke"), "{said}");
    assert_ne!(watch(&["instance", "list"]), Some(0));

    // all of it comes out of the events again
    cli.ok(&["replay", "verify"]);
    // a tenant that owns something stays
    cli.ok(&["tenant", "disable", "bravo"]);
    assert_eq!(bob.run(&["instance", "delete", "web-1"]).status.code(), Some(4));
    assert!(cli.fails(4, &["tenant", "delete", "bravo"]).contains("1 instance"));
    bob.ok(&["logout"]);
    assert!(!std::fs::read_to_string(bob.config()).expect("settings").contains("berth_"), "forgotten");
    assert!(node.stop());
}
