//! Whether libvirt answers, is new enough, and has the network that guests are attached to.

use super::{Check, no_node};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use host_driver::adapters::libvirt::{LibvirtFacts, ask_libvirt};

/// The oldest libvirt the driver is tried with.
const OLDEST: u64 = 8_000_000;
const NETWORK: &str = "default";

/// See the module.
pub struct Libvirt;

#[async_trait]
impl Check for Libvirt {
    fn name(&self) -> &'static str {
        "libvirt"
    }

    fn about(&self) -> &'static str {
        "libvirt answers, is new enough, and its network is active"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let Some(node) = &ground.node else { return vec![no_node()] };
        if !ground.has_real_guests() {
            return vec![Finding::skipped("this node pretends its hosts")];
        }
        let uri = &node.host.libvirt_uri;
        match ask_libvirt(uri, NETWORK).await {
            Ok(facts) => judge(uri, &facts),
            Err(why) => vec![Finding::problem(
                format!("{uri} does not answer: {why}"),
                "start it with: systemctl start libvirtd (or deploy/libvirt.sh start), and let this user in (group libvirt)",
            )],
        }
    }
}

fn judge(uri: &str, facts: &LibvirtFacts) -> Vec<Finding> {
    let mut found = vec![if facts.libvirt < OLDEST {
        let text = format!("libvirt {} is older than {}", dotted(facts.libvirt), dotted(OLDEST));
        Finding::warning(text, "install a current one with: deploy/prerequisites.sh run")
    } else {
        Finding::ok(format!(
            "{uri}: libvirt {}, hypervisor {}",
            dotted(facts.libvirt),
            dotted(facts.hypervisor)
        ))
    }];
    match facts.network_active {
        Some(true) => {}
        Some(false) => found.push(Finding::problem(
            format!("the network {NETWORK:?} is not active: guests get no address"),
            format!("virsh -c {uri} net-start {NETWORK} && virsh -c {uri} net-autostart {NETWORK}"),
        )),
        None => found.push(Finding::problem(
            format!("there is no network {NETWORK:?}: no guest can be started"),
            "install libvirt-daemon-config-network, or define it: virsh net-define /usr/share/libvirt/networks/default.xml",
        )),
    }
    found
}

/// libvirt counts versions as major * 1,000,000 + minor * 1,000 + release.
fn dotted(version: u64) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1_000 % 1_000, version % 1_000)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;
    use crate::settings::NodeDriver;

    #[tokio::test]
    async fn a_libvirt_that_does_not_answer_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let mut ground = node_in(folder.path());
        let host = &mut ground.node.as_mut().expect("node").host;
        (host.driver, host.libvirt_uri) =
            (NodeDriver::Libvirt, "qemu+unix:///system?socket=/nonexistent".into());
        finds(&Libvirt.look(&ground).await, State::Problem, "does not answer", "libvirtd");
        // libvirt's own mock answers, and its network is up
        ground.node.as_mut().expect("node").host.libvirt_uri = "test:///default".into();
        let found = Libvirt.look(&ground).await;
        assert!(found.iter().all(|f| f.state == State::Ok), "{found:?}");
    }

    #[test]
    fn age_and_network_are_judged() {
        let facts = |libvirt, network_active| LibvirtFacts { libvirt, hypervisor: 7_002_000, network_active };
        finds(&judge("q", &facts(9_000_000, Some(false))), State::Problem, "not active", "net-start default");
        finds(&judge("q", &facts(9_000_000, None)), State::Problem, "no network", "net-define");
        finds(&judge("q", &facts(6_001_002, Some(true))), State::Warning, "6.1.2", "prerequisites");
    }
}
