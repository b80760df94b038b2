//! Events of other systems, sent by what other systems really run: nats-py, curl, Alertmanager.

use futures::StreamExt as _;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use stories::cli::Cli;
use stories::node::Node;
use testkit::eventually;

const SOON: Duration = Duration::from_secs(30);
/// Where deploy/prerequisites.sh keeps a Python with what clients need.
const PYTHON: &str = "/opt/berth/python/bin/python";

fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

fn ca(node: &Node) -> PathBuf {
    node.data_dir().join("pki/ca.pem")
}

fn admin_token(node: &Node) -> String {
    let file = node.data_dir().join("gateway/admin.token");
    std::fs::read_to_string(file).expect("the first token").trim().to_owned()
}

/// `127.0.0.1:port` of the node's broker.
fn broker(node: &Node) -> String {
    let port = std::fs::read_to_string(node.data_dir().join("nats/port")).expect("the port of the broker");
    format!("127.0.0.1:{}", port.trim())
}

/// Ids of the events of other systems, in the order of the stream.
fn taken(cli: &Cli) -> Vec<String> {
    let events = cli.events(&["--type", "gateway.ExternalEventReceived"]);
    let id = |event: &Value| event["event"]["data"]["event"]["id"].as_str().expect("an id").to_owned();
    events.iter().map(id).collect()
}

async fn taken_at_last(cli: &Cli, wanted: &[String]) {
    let all = eventually(SOON, &format!("{} events", wanted.len()), async || {
        let ids = taken(cli);
        (ids.len() >= wanted.len()).then_some(ids)
    })
    .await;
    assert_eq!(all, wanted);
}

fn event(id: &str) -> String {
    json!({"specversion": "1.0", "id": id, "source": "/stories", "type": "com.example.tested"}).to_string()
}

/// Runs nats-py; answers what it printed.
fn python(node: &Node, token: &str, tenant: &str, subjects: &[&str]) -> String {
    let there = Command::new(PYTHON).args(["-c", "import nats"]).output();
    let there = there.is_ok_and(|output| output.status.success());
    assert!(there, "{PYTHON} has no nats-py; install it with: deploy/prerequisites.sh test");
    let mut child = Command::new("timeout")
        .args(["60", PYTHON])
        .arg(client("publish.py"))
        .arg(format!("tls://{}", broker(node)))
        .arg(ca(node))
        .arg(tenant)
        .args(subjects)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python runs");
    writeln!(child.stdin.take().expect("piped"), "{token}").expect("read");
    let output = child.wait_with_output().expect("python ends");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn nats_py_sends_to_its_tenant_alone_and_curl_in_three_modes() {
    let node = Node::start(&["--simulated-hosts", "1"]).await;
    let cli = node.cli();
    cli.ok(&["tenant", "create", "acme"]);
    cli.ok(&["--tenant", "acme", "user", "create", "robot", "--role", "developer"]);
    let made = cli.json(&["--tenant", "acme", "token", "create", "nats", "--user", "robot"]);
    let token = made["secret"].as_str().expect("a secret");

    let said =
        python(&node, token, "acme", &["ext.acme.orders.paid", "ext.default.orders", "evt.x.v1.Y.acme.z"]);
    for line in
        ["ext.acme.orders.paid kept", "ext.default.orders refused", "evt.x.v1.Y.acme.z refused", "> deaf"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("HEARS"), "{said}");
    let shown = eventually(SOON, "the event of acme", async || {
        let events = cli.events(&["--type", "gateway.ExternalEventReceived"]);
        (!events.is_empty()).then_some(events)
    })
    .await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!((&shown[0]["event"]["tenant"], &shown[0]["event"]["actor"]), (&json!("acme"), &json!("nats")));

    // a stranger, and a token that was taken away
    let said = python(&node, &"f".repeat(64), "acme", &["ext.acme.x"]);
    assert!(said.contains("not let in"), "{said}");
    cli.ok(&["--tenant", "acme", "token", "revoke", "nats", "--user", "robot"]);
    let said = eventually(SOON, "the token to be forgotten", async || {
        let said = python(&node, token, "acme", &["ext.acme.x"]);
        (!said.contains("kept")).then_some(said)
    })
    .await;
    assert!(said.contains("not let in"), "{said}");

    let output = Command::new(client("publish.sh"))
        .arg(format!("https://{}", node.address()))
        .arg(ca(&node))
        .arg(node.data_dir().join("gateway/admin.token"))
        .output()
        .expect("the script runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("\"duplicate\":true").count(), 1, "{said}");
    assert!(
        said.lines().last().is_some_and(|line| line.contains("\"sh-3\"")),
        "it reads what it sent: {said}"
    );

    // the command line sends too, and shows what there is
    let publish = ["events", "publish", "--type", "com.example.done", "--source", "/cli", "--id", "cli-1"];
    let words = [&publish[..], &["--data", "{\"commit\": 1}", "--attribute", "region=eu"]].concat();
    assert!(cli.ok(&words).contains("accepted"));
    assert!(cli.ok(&words).contains("duplicate"));
    assert!(cli.fails(2, &[&publish[..], &["--data", "{"]].concat()).contains("JSON"));
    let refused = cli.run(&["events", "publish", "--type", "t", "--source", "a b"]);
    assert!(refused.code != 0 && refused.err.contains("source"), "{}", refused.err);
}

#[tokio::test]
async fn what_is_sent_while_the_node_is_dead_is_taken_when_it_is_back() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut node = Node::start(&["--simulated-hosts", "1"]).await;
    let client = async_nats::ConnectOptions::with_token(admin_token(&node))
        .custom_inbox_prefix("_INBOX.default")
        .add_root_certificates(ca(&node))
        .require_tls(true)
        .connect(format!("tls://{}", broker(&node)))
        .await
        .expect("let in");
    let stream = async_nats::jetstream::new(client.clone());
    let send = async |id: String| {
        let sent = stream.publish("ext.default.orders", event(&id).into()).await.expect("sent");
        sent.await.expect("kept");
    };
    send("before".into()).await;
    node.kill();
    let mut wanted = vec!["before".to_owned()];
    for n in 0..20 {
        send(format!("away-{n}")).await;
        wanted.push(format!("away-{n}"));
    }
    node.up().await;
    taken_at_last(&node.cli(), &wanted).await;
    // what cannot be taken is shown with its reason
    let client = async_nats::ConnectOptions::with_token(admin_token(&node))
        .custom_inbox_prefix("_INBOX.default")
        .add_root_certificates(ca(&node))
        .connect(format!("tls://{}", broker(&node)))
        .await
        .expect("let in again");
    client.publish("ext.default.orders", "no event".into()).await.expect("sent");
    client.flush().await.expect("sent");
    let letters = eventually(SOON, "a dead letter", async || {
        let letters = node.cli().ok(&["dead", "list"]);
        letters.contains("ext.default.orders").then_some(letters)
    })
    .await;
    assert!(letters.contains("not JSON"), "{letters}");
    let mut own = client.subscribe("_INBOX.default.test").await.expect("its own inbox");
    client.publish("_INBOX.default.test", "x".into()).await.expect("sent");
    let heard = tokio::time::timeout(Duration::from_millis(500), own.next()).await;
    assert!(heard.is_err(), "a client sends to subjects of events alone");
}

struct Alertmanager {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    /// A real one that tells the node of every alert.
    fn start(node: &Node) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        std::fs::write(&token, admin_token(node)).expect("written");
        let config = json!({
            "route": {"receiver": "berth", "group_wait": "100ms", "group_interval": "1s", "repeat_interval": "1s"},
            "receivers": [{"name": "berth", "webhook_configs": [{
                "url": format!("https://{}/v1/events/alertmanager", node.address()),
                "send_resolved": true,
                "max_alerts": 1000,
                "http_config": {
                    "authorization": {"credentials_file": token},
                    "tls_config": {"ca_file": ca(node)},
                },
            }]}],
        });
        let file = folder.path().join("alertmanager.yaml");
        std::fs::write(&file, config.to_string()).expect("written");
        let free = format!("127.0.0.1:{}", testkit::free_port());
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).expect("a log"))
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("cannot start prometheus-alertmanager ({error}); install it with: deploy/prerequisites.sh test")
        });
        Self { child, address: free, _folder: folder }
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn alertmanager_tells_of_an_alert_once_though_it_repeats_itself() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let node = Node::start(&["--simulated-hosts", "1"]).await;
    let alertmanager = Alertmanager::start(&node);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = async |ends: Option<&str>| {
        let mut alert = json!({
            "labels": {"alertname": "OutboxStuck", "service": "gateway"},
            "annotations": {"summary": "messages wait"},
            "startsAt": "2026-01-31T12:00:00Z",
        });
        if let Some(ends) = ends {
            alert["endsAt"] = json!(ends);
        }
        let url = format!("http://{}/api/v2/alerts", alertmanager.address);
        let request = http.post(url).header("content-type", "application/json");
        let answer = request.body(json!([alert]).to_string()).send().await.ok()?;
        answer.status().is_success().then_some(())
    };
    eventually(SOON, "alertmanager to answer", async || post(None).await).await;
    let cli = node.cli();
    let types = || -> Vec<String> {
        let events = cli.events(&["--type", "gateway.ExternalEventReceived"]);
        let kind =
            |event: &Value| event["event"]["data"]["event"]["type"].as_str().expect("a type").to_owned();
        events.iter().map(kind).collect()
    };
    eventually(SOON, "the alert", async || (types() == ["io.prometheus.alert.firing"]).then_some(())).await;
    // it repeats itself every second: all repeats are known
    eventually(SOON, "two repeats", async || {
        let metrics = http.get(format!("http://{}/metrics", node.ops_address())).send().await.ok()?;
        let text = metrics.text().await.ok()?;
        let line = text.lines().find(|line| {
            line.starts_with("berth_gateway_external_events_total{") && line.contains("outcome=\"duplicate\"")
        })?;
        let count: f64 = line.rsplit(' ').next()?.parse().ok()?;
        (line.contains("via=\"alertmanager\"") && count >= 2.0).then_some(())
    })
    .await;
    post(Some("2026-01-31T12:05:00Z")).await.expect("taken");
    eventually(SOON, "the end of the alert", async || {
        (types() == ["io.prometheus.alert.firing", "io.prometheus.alert.resolved"]).then_some(())
    })
    .await;
}
