//! Whether commands lie in their queues.

use super::{Check, or_ok};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use kernel::Timestamp;

/// See the module.
pub struct Messages;

#[async_trait]
impl Check for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn about(&self) -> &'static str {
        "no command lies in its queue for long"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let broker = match &ground.broker {
            Ok(broker) => broker,
            Err(why) => return vec![Finding::skipped(format!("the broker could not be asked: {why}"))],
        };
        let now = ground.time.now();
        let mut found = Vec::new();
        for queue in broker.streams.iter().filter(|s| s.name.starts_with("CMD_") && s.oldest_at_us != 0) {
            let age = now.since(Timestamp(queue.oldest_at_us));
            if age > ground.limits.message_age {
                let service = queue.name.trim_start_matches("CMD_").to_lowercase();
                found.push(Finding::problem(
                    format!(
                        "{} holds {} commands, the oldest for {} s",
                        queue.name,
                        queue.messages,
                        age.as_secs()
                    ),
                    format!(
                        "{service} does not take them: see the checks `health` and `consumers`, and its log"
                    ),
                ));
            }
        }
        or_ok(found, "every command is taken at once")
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;
    use std::time::Duration;

    #[tokio::test]
    async fn a_command_that_nobody_takes_is_found() {
        let nats = testkit::NatsServer::start().await;
        let connection = nats.connect().await;
        let mut ground = Ground::empty();
        ground.broker = Ok(gateway::broker_diagnosis(connection.survey().await));
        assert_eq!(Messages.look(&ground).await[0].state, State::Ok);
        let ack = connection.jetstream().publish("cmd.scheduler.v1.StartInstance.x", "".into()).await;
        ack.expect("sent").await.expect("kept");
        ground.broker = Ok(gateway::broker_diagnosis(connection.survey().await));
        ground.limits.message_age = Duration::ZERO;
        let found = Messages.look(&ground).await;
        finds(&found, State::Problem, "CMD_SCHEDULER holds 1 commands", "scheduler does not take them");
    }
}
