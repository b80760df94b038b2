//! What the parts of the platform say of themselves.

use super::{Check, not_asked, or_ok};
use crate::doctor::{Finding, Ground, http};
use async_trait::async_trait;
use contracts::gateway::v1::ComponentHealth;

/// See the module.
pub struct Health;

#[async_trait]
impl Check for Health {
    fn name(&self) -> &'static str {
        "health"
    }

    fn about(&self) -> &'static str {
        "every part of the platform says that it is well"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        match &ground.status {
            Ok(status) => judge(&status.components),
            Err(why) => of_ops(ground, why).await,
        }
    }
}

/// A gateway that lets nobody in may still stand beside an endpoint for operators that answers.
async fn of_ops(ground: &Ground, why: &str) -> Vec<Finding> {
    let Some(node) = ground.node.as_ref().filter(|_| !ground.process.is_empty()) else {
        return vec![not_asked(why)];
    };
    let asked = http::get(&format!("http://{}", node.ops_listen), "/readyz").await;
    let parts = asked.ok().and_then(|body| serde_json::from_str::<serde_json::Value>(&body).ok());
    let text = format!("the node runs, but its gateway does not answer: {why}");
    let mut found =
        vec![Finding::problem(text, "look into the node's log; `berth config check` shows what was asked")];
    if let Some(parts) = parts.as_ref().and_then(|value| value["components"].as_array()) {
        let word = |part: &serde_json::Value, name: &str| part[name].as_str().unwrap_or_default().to_owned();
        let parts: Vec<ComponentHealth> = parts
            .iter()
            .map(|part| ComponentHealth {
                name: word(part, "name"),
                healthy: part["healthy"].as_bool().unwrap_or(false),
                detail: word(part, "detail"),
                reason: word(part, "reason"),
            })
            .collect();
        found.extend(judge(&parts));
    }
    found
}

fn judge(parts: &[ComponentHealth]) -> Vec<Finding> {
    let unwell = parts.iter().filter(|part| !part.healthy).map(|part| {
        Finding::problem(format!("{}: {}", part.name, part.detail), "mend what it says; its log has more")
    });
    or_ok(unwell.collect(), format!("{} parts are well", parts.len()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;
    use contracts::gateway::v1::GetStatusResponse;

    #[tokio::test]
    async fn a_part_that_is_unwell_is_named_and_a_silent_gateway_too() {
        let part = |name: &str, healthy| ComponentHealth {
            name: name.into(),
            healthy,
            detail: "d".into(),
            ..ComponentHealth::default()
        };
        let parts = vec![part("nats", true), part("scheduler.store", false)];
        let status = GetStatusResponse { version: String::new(), components: parts };
        let found = Health.look(&Ground { status: Ok(status), ..Ground::empty() }).await;
        finds(&found, State::Problem, "scheduler.store: d", "log");
        assert_eq!(Health.look(&Ground::empty()).await[0].state, State::Skipped);
        let folder = tempfile::tempdir().expect("folder");
        let silent = Ground { process: "1".into(), ..node_in(folder.path()) };
        finds(&Health.look(&silent).await, State::Problem, "its gateway does not answer", "log");
    }
}
