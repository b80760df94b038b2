//! Whether what services have committed gets out.

use super::{Check, not_asked, or_ok};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use kernel::Timestamp;
use std::time::Duration;

/// See the module.
pub struct Outboxes;

#[async_trait]
impl Check for Outboxes {
    fn name(&self) -> &'static str {
        "outboxes"
    }

    fn about(&self) -> &'static str {
        "what services have committed is published at once"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let diagnosis = match &ground.diagnosis {
            Ok(diagnosis) => diagnosis,
            Err(why) => return vec![not_asked(why)],
        };
        let (now, (warning, problem)) = (Timestamp(diagnosis.now_us), ground.limits.outbox_age);
        let mut found = Vec::new();
        for outbox in &diagnosis.outboxes {
            if !outbox.problem.is_empty() {
                found.push(Finding::problem(
                    format!("{}: the database cannot be read: {}", outbox.service, outbox.problem),
                    "look at its disk and its log",
                ));
                continue;
            }
            let age = match outbox.oldest_at_us {
                0 => Duration::ZERO,
                at => now.since(Timestamp(at)),
            };
            let text = format!(
                "{}: {} messages wait to be published, the oldest for {} s",
                outbox.service,
                outbox.waiting,
                age.as_secs()
            );
            let advice = "the broker does not take them: see the checks `nats-server`, `streams` and `disk-space`; nothing is lost, they leave when it does";
            if age > problem {
                found.push(Finding::problem(text, advice));
            } else if age > warning {
                found.push(Finding::warning(text, advice));
            }
        }
        or_ok(found, format!("{} services, nothing waits for long", diagnosis.outboxes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;
    use contracts::gateway::v1::{GetDiagnosisResponse, OutboxDiagnosis};

    #[tokio::test]
    async fn messages_that_do_not_leave_are_found() {
        let outbox = |service: &str, age_s: i64| OutboxDiagnosis {
            service: service.into(),
            waiting: 3,
            oldest_at_us: 1_000_000_000 - age_s * 1_000_000,
            problem: String::new(),
        };
        let broken =
            OutboxDiagnosis { service: "storage".into(), problem: "locked".into(), ..Default::default() };
        let diagnosis = GetDiagnosisResponse {
            now_us: 1_000_000_000,
            outboxes: vec![outbox("gateway", 1), outbox("scheduler", 20), outbox("host_driver", 90), broken],
            ..Default::default()
        };
        let found = Outboxes.look(&Ground { diagnosis: Ok(diagnosis), ..Ground::empty() }).await;
        finds(
            &found,
            State::Warning,
            "scheduler: 3 messages wait to be published, the oldest for 20 s",
            "nats-server",
        );
        finds(&found, State::Problem, "host_driver: 3 messages", "nothing is lost");
        finds(&found, State::Problem, "storage: the database cannot be read: locked", "disk");
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
