//! Whether every host reports.

use super::{Check, not_asked, some};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;

/// See the module.
pub struct Hosts;

#[async_trait]
impl Check for Hosts {
    fn name(&self) -> &'static str {
        "hosts"
    }

    fn about(&self) -> &'static str {
        "there are hosts, and all of them report"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let diagnosis = match &ground.diagnosis {
            Ok(diagnosis) => diagnosis,
            Err(why) => return vec![not_asked(why)],
        };
        let silent = diagnosis.hosts_unreachable.clone().unwrap_or_default();
        vec![match (diagnosis.hosts, silent.count) {
            (0, _) => Finding::warning(
                "no host has ever reported: nothing can be placed",
                "start a host-driver, and look into its log",
            ),
            (all, 0) => Finding::ok(format!("{all} hosts report")),
            (all, count) => Finding::problem(
                format!("{count} of {all} hosts do not report: {}", some(&silent.names, count)),
                "is the machine up, does its host-driver run, does it reach the broker? its instances are left alone until it answers",
            ),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;
    use contracts::gateway::v1::{GetDiagnosisResponse, LateObjects};

    #[tokio::test]
    async fn a_silent_host_is_named() {
        let look = async |hosts, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
            let late = LateObjects { count: names.len() as u64, names };
            let diagnosis =
                GetDiagnosisResponse { hosts, hosts_unreachable: Some(late), ..Default::default() };
            Hosts.look(&Ground { diagnosis: Ok(diagnosis), ..Ground::empty() }).await
        };
        finds(
            &look(3, &["node-2"]).await,
            State::Problem,
            "1 of 3 hosts do not report: node-2",
            "host-driver",
        );
        finds(&look(0, &[]).await, State::Warning, "no host has ever reported", "start a host-driver");
        assert_eq!(look(3, &[]).await[0].state, State::Ok);
        let many = look(9, &["a", "b", "c", "d", "e", "f", "g"]).await;
        assert!(many[0].finding.ends_with("a, b, c, d, e and 2 more"), "{many:?}");
    }
}
