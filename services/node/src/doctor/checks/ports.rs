//! Whether the node's ports are its own.

use super::{Check, no_node};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// See the module.
pub struct Ports;

#[async_trait]
impl Check for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }

    fn about(&self) -> &'static str {
        "the node listens on its ports, or they are free for it"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let Some(node) = &ground.node else { return vec![no_node()] };
        let mut wanted = vec![("listen", node.listen), ("ops_listen", node.ops_listen)];
        if node.nats.url.is_empty() && node.nats.port != 0 {
            wanted.push(("nats.port", SocketAddr::new(node.nats.listen, node.nats.port)));
        }
        let runs = !ground.process.is_empty();
        let judged = tokio::task::spawn_blocking(move || {
            wanted
                .into_iter()
                .filter(|(_, at)| at.port() != 0)
                .map(|(name, at)| judge(name, at, runs))
                .collect()
        });
        let found: Vec<Finding> = judged.await.unwrap_or_default();
        super::or_ok(found, "every port is chosen when the node starts")
    }
}

fn judge(setting: &str, address: SocketAddr, runs: bool) -> Finding {
    if runs {
        let at = if address.ip().is_unspecified() {
            SocketAddr::from(([127, 0, 0, 1], address.port()))
        } else {
            address
        };
        return match TcpStream::connect_timeout(&at, Duration::from_secs(3)) {
            Ok(_) => Finding::ok(format!("{setting}: {address} answers")),
            Err(error) => Finding::problem(
                format!("{setting}: the node runs, but {address} does not answer: {error}"),
                "look into the node's log; a firewall of this machine may be in the way",
            ),
        };
    }
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(format!("{setting}: {address} is free")),
        Err(error) => Finding::problem(
            format!("{setting}: {address} cannot be had: {error}"),
            format!(
                "`ss -ltnp 'sport = :{}'` shows who listens there; end it, or choose another address for {setting}",
                address.port()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn a_port_that_somebody_else_holds_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut ground = node_in(folder.path());
        let node = ground.node.as_mut().expect("node");
        node.listen = other.local_addr().expect("bound");
        node.ops_listen.set_port(0);
        finds(&Ports.look(&ground).await, State::Problem, "cannot be had", "ss -ltnp");
        // the same port, when it is the node's own
        ground.process = "1".into();
        assert_eq!(Ports.look(&ground).await[0].state, State::Ok);
        drop(other);
        finds(&Ports.look(&ground).await, State::Problem, "does not answer", "log");
    }
}
