//! Readers of the event stream on a node that is killed, and the catalogue against everything that a node says.

use crate::one_instance::{create, prepare};
use futures::StreamExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stories::node::Node;
use testkit::eventually;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Interval;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const SOON: Duration = Duration::from_secs(60);
const QUERY: &str = "types=scheduler&types=gateway.OperationAccepted&follow=true";

/// The cursors of what a reader got, in order: "incarnation:sequence".
type Seen = Arc<Mutex<Vec<String>>>;

fn cursor(event: &Value) -> String {
    let incarnation = event["incarnation"].as_str().expect("an incarnation");
    format!("{incarnation}:{}", event["sequence"])
}

/// How often a reader that was cut off comes back.
fn again() -> Interval {
    tokio::time::interval(Duration::from_millis(100))
}

/// Reads server-sent events; comes back with the last id whenever the connection ends.
fn by_sse(base: String, token: String, seen: Seen) -> JoinHandle<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::spawn(async move {
        let mut pace = again();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        loop {
            let last = seen.lock().expect("whole").last().cloned();
            let request = client.get(format!("http://{base}/v1/events?{QUERY}")).bearer_auth(&token);
            let request = match last {
                Some(last) => request.header("last-event-id", last),
                None => request,
            };
            if let Ok(response) = request.send().await.and_then(reqwest::Response::error_for_status) {
                let (mut bytes, mut buffer) = (response.bytes_stream(), String::new());
                while let Some(Ok(part)) = bytes.next().await {
                    buffer += &String::from_utf8_lossy(&part);
                    while let Some((block, rest)) =
                        buffer.split_once("\n\n").map(|(b, r)| (b.to_owned(), r.to_owned()))
                    {
                        buffer = rest;
                        let id = block.lines().find_map(|line| line.strip_prefix("id: "));
                        seen.lock().expect("whole").extend(id.map(str::to_owned));
                    }
                }
            }
            pace.tick().await;
        }
    })
}

/// Reads a WebSocket; comes back with `after` whenever it ends.
fn by_socket(base: String, token: String, seen: Seen) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut pace = again();
        loop {
            let last = seen.lock().expect("whole").last().cloned();
            let after = last.map_or_else(String::new, |last| format!("&after={last}"));
            let url = format!("ws://{base}/v1/events/ws?{QUERY}{after}");
            let mut request = url.into_client_request().expect("a request");
            let value = format!("Bearer {token}").parse().expect("ascii");
            request.headers_mut().insert("authorization", value);
            if let Ok(tcp) = TcpStream::connect(&base).await
                && let Ok((mut socket, _)) = client_async(request, tcp).await
            {
                while let Some(Ok(message)) = socket.next().await {
                    let Message::Text(text) = message else { continue };
                    let frame: Value = serde_json::from_str(&text).expect("JSON");
                    assert!(frame["gap"].is_null(), "{frame}");
                    if !frame["event"].is_null() {
                        seen.lock().expect("whole").push(cursor(&frame["event"]));
                    }
                }
                let _ = socket.close(None).await;
            }
            pace.tick().await;
        }
    })
}

/// `berth events --follow`, which comes back by itself.
fn by_command(node: &Node) -> (Child, std::path::PathBuf) {
    let path = node.data_dir().join("read-by-command.jsonl");
    let file = std::fs::File::create(&path).expect("a file");
    let words = ["events", "--follow", "-o", "json", "--type", "scheduler"];
    let mut command = node.cli().command(&[&words[..], &["--type", "gateway.OperationAccepted"]].concat());
    // a node that starts again takes longer than a person would wait for one call
    let child = command.env("BERTH_ATTEMPTS", "100").stdout(file).stderr(Stdio::null()).spawn();
    (child.expect("berth runs"), path)
}

#[tokio::test]
async fn readers_of_a_killed_node_go_on_with_nothing_lost_and_nothing_twice() {
    let mut node = Node::start(&["--simulated-hosts", "2", "--insecure-dev"]).await;
    prepare(&node.cli()).await;
    let token =
        std::fs::read_to_string(node.data_dir().join("gateway/admin.token")).expect("the first token");
    let (base, token) = (node.address().to_owned(), token.trim().to_owned());
    let (sse, socket) = (Seen::default(), Seen::default());
    let readers = [by_sse(base.clone(), token.clone(), sse.clone()), by_socket(base, token, socket.clone())];
    let (mut command, path) = by_command(&node);
    let mut count = 0;
    for round in 0..3 {
        for number in 0..4 {
            node.cli().ok(&create(&format!("web-{round}-{number}"), &[]));
            count += 1;
        }
        // in the middle: what was asked for is still being done, and said
        node.kill();
        node.up().await;
    }
    let cli = node.cli();
    eventually(SOON, "every instance to be ready", async || {
        let list = cli.json(&["instance", "list"]);
        let ready = |instance: &&Value| instance["phase"] == "INSTANCE_PHASE_READY";
        (list["instances"].as_array()?.iter().filter(ready).count() == count).then_some(())
    })
    .await;
    let all = || -> Vec<String> {
        let events = cli.events(&["--type", "scheduler", "--type", "gateway.OperationAccepted"]);
        events.iter().map(|line| cursor(&line["event"])).collect()
    };
    let by_command = || -> Vec<String> {
        let text = std::fs::read_to_string(&path).expect("our own file");
        // the last line may be under way
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let line = |line: &str| serde_json::from_str::<Value>(line).expect("one JSON object a line");
        whole.lines().map(line).map(|line| cursor(&line["event"])).collect()
    };
    // hosts go on talking, so the readers are compared up to what was there at one moment
    let truth = all();
    let upto = |seen: Vec<String>| (seen.len() >= truth.len()).then(|| seen[..truth.len()].to_vec());
    for (name, seen) in [("server-sent events", &sse), ("the websocket", &socket)] {
        let got = eventually(SOON, name, async || upto(seen.lock().expect("whole").clone())).await;
        assert_eq!(got, truth, "{name}");
    }
    let got = eventually(SOON, "the command", async || upto(by_command())).await;
    assert_eq!(got, truth, "the command");
    assert!(truth.len() > 12 * 3, "{} events say little", truth.len());
    for reader in &readers {
        assert!(!reader.is_finished(), "a reader gave up");
        reader.abort();
    }
    command.kill().expect("our own child");
    command.wait().expect("our own child");
}

#[tokio::test]
async fn everything_a_node_says_fits_the_catalogue() {
    let node = Node::start(&["--simulated-hosts", "2", "--insecure-dev"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    cli.ok(&create("web-1", &["--label", "team=web", "--wait"]));
    cli.ok(&create("web-2", &["--label", "team=db", "--wait"]));
    for verb in ["pause", "resume", "reboot", "stop", "start"] {
        cli.ok(&["instance", verb, "web-1", "--wait"]);
    }
    cli.ok(&["instance", "exec", "web-1", "--", "true"]);
    // larger than any host: it waits, with a decision that says why
    let giant = ["instance", "create", "giant", "--image", crate::one_instance::IMAGE, "--vcpus", "512"];
    cli.run(&[&giant[..], &["--memory", "4TiB", "--disk", "10GiB"]].concat());
    let host = cli.json(&["host", "list"])["hosts"][0]["host"]["name"].as_str().expect("a name").to_owned();
    cli.ok(&["host", "cordon", &host, "--reason", "tests"]);
    cli.ok(&["host", "uncordon", &host]);
    cli.ok(&["tenant", "create", "acme"]);
    cli.ok(&["--tenant", "acme", "user", "create", "ann", "--role", "developer"]);
    cli.ok(&["token", "create", "ci", "--permission", "instance.read", "--expires", "720h"]);
    cli.ok(&["instance", "delete", "web-1", "--wait"]);
    cli.ok(&["instance", "delete", "web-2", "--wait"]);
    cli.run(&["image", "delete", crate::one_instance::IMAGE]);

    let types = cli.json(&["events", "catalogue"]);
    let names: Vec<&str> =
        types["types"].as_array().expect("types").iter().filter_map(|t| t["name"].as_str()).collect();
    let mut validators = BTreeMap::new();
    let mut seen = BTreeMap::<String, usize>::new();
    for line in cli.events(&[]) {
        let event = &line["event"];
        let name = event["type"].as_str().expect("a type").to_owned();
        assert!(names.contains(&name.as_str()), "{name} is not in the catalogue");
        let validator = validators.entry(name.clone()).or_insert_with(|| {
            let schema = cli.json(&["events", "catalogue", &name]);
            jsonschema::validator_for(&schema).expect("a schema")
        });
        let wrong: Vec<String> =
            validator.iter_errors(&event["data"]).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{event:#}");
        *seen.entry(name).or_default() += 1;
    }
    for wanted in [
        "storage.ImageImported",
        "host_driver.HostReported",
        "host_driver.VmObserved",
        "scheduler.HostRegistered",
        "scheduler.InstanceAccepted",
        "scheduler.InstancePlaced",
        "scheduler.InstanceReady",
        "scheduler.InstanceStopped",
        "scheduler.InstanceDeleted",
        "scheduler.PlacementDecided",
        "gateway.TenantCreated",
        "gateway.UserCreated",
        "gateway.TokenCreated",
        "gateway.OperationAccepted",
        "gateway.AuditRecorded",
    ] {
        assert!(seen.contains_key(wanted), "{wanted} was not said: {seen:?}");
    }
    // by label, and as CloudEvents: the same events in another form
    let labelled = cli.events(&["--label", "team=web"]);
    assert!(!labelled.is_empty());
    for line in &labelled {
        assert_eq!(line["event"]["data"]["instance"]["spec"]["labels"]["team"], "web", "{line}");
    }
    let text = cli.ok(&["events", "--label", "team=web", "--format", "cloudevents"]);
    let clouds: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let ids = |events: Vec<&Value>| events.iter().map(|e| e["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(clouds.iter().collect()), ids(labelled.iter().map(|l| &l["event"]).collect()));
    assert!(clouds.iter().all(|cloud| cloud["specversion"] == "1.0"), "{text}");
    let document = cli.json(&["events", "catalogue", "--asyncapi"]);
    assert_eq!(document["asyncapi"], "3.0.0");
}
