//! Whether the broker is there, new enough, and keeps streams.

use super::{Check, no_node};
use crate::broker_program;
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use contracts::gateway::v1::BrokerDiagnosis;

/// The oldest server that knows atomic batches.
const OLDEST: (u32, u32) = (2, 12);
const INSTALL: &str = "install a current one with: deploy/prerequisites.sh run";

/// See the module.
pub struct NatsServer;

#[async_trait]
impl Check for NatsServer {
    fn name(&self) -> &'static str {
        "nats-server"
    }

    fn about(&self) -> &'static str {
        "the broker is installed, answers, is new enough and keeps streams"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let mut found = Vec::new();
        match &ground.node {
            None => {}
            Some(node) if !node.nats.url.is_empty() => {}
            Some(node) => {
                if let Err(error) = broker_program(&node.nats.server_path).await {
                    found.push(Finding::problem(format!("{error:#}"), INSTALL));
                }
            }
        }
        match (&ground.broker, &ground.node) {
            (Ok(broker), _) => found.push(judge(broker)),
            (Err(_), None) => found.push(no_node()),
            // nothing has to answer while nothing runs
            (Err(_), Some(node)) if ground.process.is_empty() && node.nats.url.is_empty() => {
                found.push(Finding::skipped("the node does not run, and its broker with it"));
            }
            (Err(why), Some(node)) => found.push(Finding::problem(
                format!("the broker does not answer: {why}"),
                format!("look into {}", node.data_dir.join("nats/nats-server.log").display()),
            )),
        }
        found
    }
}

fn judge(broker: &BrokerDiagnosis) -> Finding {
    let mut numbers = broker.server_version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        let text = format!("nats-server {} is older than {}.{}", broker.server_version, OLDEST.0, OLDEST.1);
        return Finding::problem(text, INSTALL);
    }
    if !broker.jetstream {
        return Finding::problem(
            "the broker keeps no streams: JetStream is off",
            "switch it on: `jetstream { store_dir: …, sync_interval: always }` in its configuration",
        );
    }
    let millis = broker.round_trip_us as f64 / 1000.0;
    Finding::ok(format!("nats-server {} answers in {millis:.1} ms", broker.server_version))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn a_broker_that_is_missing_old_or_silent_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let mut ground = node_in(folder.path());
        ground.node.as_mut().expect("node").nats.server_path = "/bin/true".into();
        let found = NatsServer.look(&ground).await;
        finds(&found, State::Problem, "does not say that it is nats-server", "prerequisites.sh");
        finds(&found, State::Skipped, "does not run", "");
        ground.process = "1".into();
        finds(&NatsServer.look(&ground).await, State::Problem, "does not answer", "nats-server.log");
        let broker = |version: &str, jetstream| BrokerDiagnosis {
            server_version: version.into(),
            jetstream,
            ..BrokerDiagnosis::default()
        };
        finds(&[judge(&broker("2.9.10", true))], State::Problem, "older than 2.12", "prerequisites.sh");
        finds(&[judge(&broker("2.15.1", false))], State::Problem, "JetStream is off", "sync_interval");
        assert_eq!(judge(&broker("2.12.0", true)).state, State::Ok);
    }
}
