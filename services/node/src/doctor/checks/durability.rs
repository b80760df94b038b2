//! Whether what the broker acknowledges is on its disk.

use super::{Check, no_node};
use crate::doctor::{Finding, Ground, http};
use async_trait::async_trait;
use std::path::Path;

const ADVICE: &str = "set nats.sync_always = true in node.toml and restart the node without --insecure-dev";
const ADVICE_ELSEWHERE: &str = "`jetstream { sync_interval: always }` in the configuration of every server, then restart them one by one";

/// See the module.
pub struct Durability;

#[async_trait]
impl Check for Durability {
    fn name(&self) -> &'static str {
        "nats-durability"
    }

    fn about(&self) -> &'static str {
        "the broker syncs every message to disk before it acknowledges"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        if !ground.nats_monitor.is_empty() {
            return vec![of_monitor(&ground.nats_monitor).await];
        }
        let Some(node) = &ground.node else { return vec![no_node()] };
        if node.nats.url.is_empty() {
            return vec![of_file(&node.data_dir.join("nats/nats-server.conf"), node.insecure_dev)];
        }
        vec![Finding::skipped(
            "a broker that somebody else runs shows its settings only at its monitoring port: --nats-monitor http://host:8222",
        )]
    }
}

/// The node's own broker was started with this file.
fn of_file(file: &Path, insecure_dev: bool) -> Finding {
    let Ok(text) = std::fs::read_to_string(file) else {
        return Finding::skipped("the node has not started its broker yet");
    };
    let setting = text.split_once("sync_interval:").map(|(_, rest)| {
        rest.trim_start().chars().take_while(|c| !c.is_whitespace() && !",}".contains(*c)).collect::<String>()
    });
    match setting.as_deref() {
        Some("always") => Finding::ok("every message is on disk before it is acknowledged"),
        other => {
            let every = other.map_or("2m".to_owned(), |text| text.trim_matches('"').to_owned());
            let text =
                format!("the broker syncs every {every}: a power cut loses what it acknowledged since");
            // whoever said insecure_dev was told
            if insecure_dev { Finding::warning(text, ADVICE) } else { Finding::problem(text, ADVICE) }
        }
    }
}

async fn of_monitor(base: &str) -> Finding {
    let asked = http::get(base, "/varz").await.and_then(|body| Ok(serde_json::from_str(&body)?));
    match asked {
        Ok(value) => judge(&value),
        Err(error) => Finding::problem(
            format!("{base}/varz cannot be read: {error:#}"),
            "name the monitoring port of the broker (`http_port` in its configuration)",
        ),
    }
}

/// `sync_always`, or `sync_interval` in nanoseconds.
fn judge(varz: &serde_json::Value) -> Finding {
    let jetstream = &varz["jetstream"]["config"];
    if jetstream.is_null() {
        return Finding::problem("the broker keeps no streams: JetStream is off", ADVICE_ELSEWHERE);
    }
    if jetstream["sync_always"].as_bool() == Some(true) {
        return Finding::ok("every message is on disk before it is acknowledged");
    }
    let seconds = jetstream["sync_interval"].as_u64().unwrap_or(120_000_000_000) / 1_000_000_000;
    Finding::problem(
        format!("the broker syncs every {seconds} s: a power cut loses what it acknowledged since"),
        ADVICE_ELSEWHERE,
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;
    use std::time::Duration;

    /// A real nats-server with a monitoring port.
    async fn server(configuration: &str) -> (tempfile::TempDir, std::process::Child, String) {
        let folder = tempfile::tempdir().expect("folder");
        let (port, monitor) = (testkit::free_port(), testkit::free_port());
        let store = folder.path().join("store");
        let text = format!(
            "host: 127.0.0.1\nport: {port}\nhttp: \"127.0.0.1:{monitor}\"\njetstream {{ store_dir: {:?}{configuration} }}\n",
            store.display().to_string()
        );
        let file = folder.path().join("conf");
        std::fs::write(&file, text).expect("written");
        let child = std::process::Command::new("nats-server")
            .arg("-c")
            .arg(&file)
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("nats-server; install it with: deploy/prerequisites.sh run");
        let base = format!("http://127.0.0.1:{monitor}");
        testkit::eventually(Duration::from_secs(20), "the monitoring port", async || {
            // the port answers before JetStream is up
            http::get(&base, "/varz").await.ok().filter(|body| body.contains("store_dir"))
        })
        .await;
        (folder, child, base)
    }

    #[tokio::test]
    async fn a_server_that_syncs_now_and_then_is_found() {
        for (configuration, state) in [("", State::Problem), (", sync_interval: always", State::Ok)] {
            let (_folder, mut child, base) = server(configuration).await;
            let ground = Ground { nats_monitor: base, ..Ground::empty() };
            let found = Durability.look(&ground).await;
            child.kill().and_then(|()| child.wait()).expect("our own child");
            assert_eq!(found[0].state, state, "{found:?}");
            if state == State::Problem {
                finds(&found, state, "syncs every 120 s", "sync_interval: always");
            }
        }
        let nobody = Ground { nats_monitor: "http://127.0.0.1:1".into(), ..Ground::empty() };
        finds(&Durability.look(&nobody).await, State::Problem, "cannot be read", "monitoring port");
    }

    #[tokio::test]
    async fn the_nodes_own_broker_is_judged_by_its_file() {
        let folder = tempfile::tempdir().expect("folder");
        let mut ground = node_in(folder.path());
        assert_eq!(Durability.look(&ground).await[0].state, State::Skipped);
        std::fs::create_dir(folder.path().join("nats")).expect("folder");
        let write = |sync: &str| {
            let text = format!("port: 4222\njetstream {{ store_dir: \"x\"{sync} }}\n");
            std::fs::write(folder.path().join("nats/nats-server.conf"), text).expect("written");
        };
        write(", sync_interval: always");
        assert_eq!(Durability.look(&ground).await[0].state, State::Ok);
        write("");
        finds(&Durability.look(&ground).await, State::Problem, "syncs every 2m", "sync_always = true");
        write(", sync_interval: \"30s\"");
        ground.node.as_mut().expect("node").insecure_dev = true;
        finds(&Durability.look(&ground).await, State::Warning, "syncs every 30s", "without --insecure-dev");
        ground.node.as_mut().expect("node").nats.url = "nats://elsewhere:4222".into();
        assert_eq!(Durability.look(&ground).await[0].state, State::Skipped);
    }
}
