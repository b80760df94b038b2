//! Whether instances can be started.

use super::{Check, not_asked, some};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;

/// See the module.
pub struct Instances;

#[async_trait]
impl Check for Instances {
    fn name(&self) -> &'static str {
        "instances"
    }

    fn about(&self) -> &'static str {
        "no instance has failed"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let diagnosis = match &ground.diagnosis {
            Ok(diagnosis) => diagnosis,
            Err(why) => return vec![not_asked(why)],
        };
        let failed = diagnosis.instances_failed.clone().unwrap_or_default();
        vec![match failed.count {
            0 => Finding::ok("none has failed"),
            count => Finding::warning(
                format!("{count} instances have failed: {}", some(&failed.names, count)),
                "`berth instance show` says why; mend it, then `berth instance start`, or `berth instance delete`",
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
    async fn a_failed_instance_is_named() {
        let late = LateObjects { count: 1, names: vec!["web-1".into()] };
        let diagnosis = GetDiagnosisResponse { instances_failed: Some(late), ..Default::default() };
        let found = Instances.look(&Ground { diagnosis: Ok(diagnosis), ..Ground::empty() }).await;
        finds(&found, State::Warning, "1 instances have failed: web-1", "berth instance show");
        let healthy = Ground { diagnosis: Ok(GetDiagnosisResponse::default()), ..Ground::empty() };
        assert_eq!(Instances.look(&healthy).await[0].state, State::Ok);
    }
}
