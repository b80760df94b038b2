//! Whether requests come to an end.

use super::{Check, not_asked, some};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;

/// See the module.
pub struct Operations;

#[async_trait]
impl Check for Operations {
    fn name(&self) -> &'static str {
        "operations"
    }

    fn about(&self) -> &'static str {
        "no request is unfinished for more than 15 minutes"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let diagnosis = match &ground.diagnosis {
            Ok(diagnosis) => diagnosis,
            Err(why) => return vec![not_asked(why)],
        };
        let late = diagnosis.operations_overdue.clone().unwrap_or_default();
        vec![match late.count {
            0 => Finding::ok("none is overdue"),
            count => Finding::warning(
                format!("{count} operations are overdue: {}", some(&late.names, count)),
                "`berth operation show` says how far it came, `berth instance explain` why it waits; a wait for room ends with more hosts or fewer instances",
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
    async fn a_request_that_does_not_end_is_named() {
        let look = async |count, names: Vec<String>| {
            let operations_overdue = Some(LateObjects { count, names });
            let diagnosis = GetDiagnosisResponse { operations_overdue, ..Default::default() };
            Operations.look(&Ground { diagnosis: Ok(diagnosis), ..Ground::empty() }).await
        };
        let found = look(1, vec!["CreateInstance 018f".into()]).await;
        finds(
            &found,
            State::Warning,
            "1 operations are overdue: CreateInstance 018f",
            "berth operation show",
        );
        assert_eq!(look(0, vec![]).await[0].state, State::Ok);
        assert_eq!(Operations.look(&Ground::empty()).await[0].state, State::Skipped);
    }
}
