//! Somebody logs in through a real identity provider, with a browser that is a few requests.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use stories::node::Node;
use testkit::eventually;

/// Where deploy/prerequisites.sh keeps it.
const PROVIDER: &str = "/opt/berth/python/bin/oidc-provider-mock";
const SOON: Duration = Duration::from_secs(30);

struct Provider {
    child: Child,
    issuer: String,
}

impl Provider {
    async fn start(people: &[Value]) -> Self {
        let port = testkit::free_port();
        let mut command = Command::new(PROVIDER);
        command.args(["--port", &port.to_string(), "--require-nonce", "true"]);
        for person in people {
            command.args(["--user-claims", &person.to_string()]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap_or_else(|error| {
            panic!("cannot start {PROVIDER} ({error}); install it with: deploy/prerequisites.sh test")
        });
        let provider = Self { child, issuer: format!("http://127.0.0.1:{port}") };
        let url = format!("{}/.well-known/openid-configuration", provider.issuer);
        let http = browser();
        eventually(SOON, "the provider to answer", async || {
            http.get(&url).send().await.ok().filter(|answer| answer.status().is_success()).map(drop)
        })
        .await;
        provider
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn browser() -> reqwest::Client {
    let none = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(none).build().expect("a client")
}

/// `berth login --oidc`, with somebody in front of the browser; answers its exit code and what it printed.
async fn login(node: &Node, person: &str, home: &std::path::Path) -> (Option<i32>, String) {
    let mut command = node.cli().command(&["login", "--oidc"]);
    command.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("berth runs");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let url = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.trim().starts_with("http").then(|| line.trim().to_owned()));
    let browser = browser();
    let form =
        browser.post(url.expect("an address")).header("content-type", "application/x-www-form-urlencoded");
    let answer = form.body(format!("sub={person}")).send().await.expect("the provider answers");
    let back = answer.headers()["location"].to_str().expect("ascii").to_owned();
    let page = browser.get(&back).send().await.expect("the command line listens").text().await.expect("text");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let output = child.wait_with_output().expect("it ends");
    let said = format!("{page}\n{}\n{}", String::from_utf8_lossy(&output.stdout), rest.join("\n"));
    (output.status.code(), said)
}

#[tokio::test]
async fn people_of_a_provider_log_in_and_may_what_their_groups_may() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let people = [
        json!({"sub": "s-ann", "preferred_username": "ann", "groups": ["platform-team"]}),
        json!({"sub": "s-eve", "preferred_username": "Eve Mallory"}),
    ];
    let provider = Provider::start(&people).await;
    let issuer = provider.issuer.clone();
    let node = Node::start_prepared(&["--simulated-hosts", "1"], |data| {
        std::fs::create_dir_all(data).expect("our own folder");
        std::fs::write(data.join("oidc.secret"), "anything").expect("written");
        let settings = format!(
            "[oidc]\nissuer = \"{issuer}\"\nclient_id = \"berth\"\nclient_secret_file = \"{}\"\ntenant = \"default\"\n\
             provision = true\n[oidc.roles]\nplatform-team = \"developer\"\n",
            data.join("oidc.secret").display()
        );
        std::fs::write(data.join("node.toml"), settings).expect("written");
    })
    .await;
    let home = tempfile::tempdir().expect("a home");
    let (code, said) = login(&node, "s-ann", home.path()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("logged in as ann@default") && said.contains("close this page"), "{said}");
    let users = node.cli().json(&["--tenant", "default", "user", "list"]);
    assert_eq!(users["users"][0]["name"], "ann", "{users}");
    assert_eq!(users["users"][0]["roles"][0]["role"], "developer", "{users}");
    let (code, said) = login(&node, "s-eve", home.path()).await;
    // a name that no user may have becomes one, without any role: no group gives her one
    assert!(code == Some(0) && said.contains("logged in as eve-mallory@default"), "{said}");
    let records = node.cli().json(&["audit", "list", "--operation", "LoginWithOidc"]);
    assert_eq!(records["records"].as_array().map(Vec::len), Some(2), "{records}");
}
