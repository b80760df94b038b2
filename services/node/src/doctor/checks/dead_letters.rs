//! Whether there are messages that no service could take.

use super::Check;
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;

/// See the module.
pub struct DeadLetters;

#[async_trait]
impl Check for DeadLetters {
    fn name(&self) -> &'static str {
        "dead-letters"
    }

    fn about(&self) -> &'static str {
        "no message was given up"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let broker = match &ground.broker {
            Ok(broker) => broker,
            Err(why) => return vec![Finding::skipped(format!("the broker could not be asked: {why}"))],
        };
        let dead = broker.streams.iter().find(|stream| stream.name == "DEAD" && !stream.missing);
        vec![match dead {
            None => Finding::skipped("the stream of dead letters is not there"),
            Some(stream) if stream.messages == 0 => Finding::ok("none"),
            Some(stream) => Finding::warning(
                format!("{} messages were given up: what they asked for did not happen", stream.messages),
                "`berth dead list` says why; mend the cause, then `berth dead replay` each, or `berth dead drop` it",
            ),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn a_dead_letter_is_found() {
        let nats = testkit::NatsServer::start().await;
        let connection = nats.connect().await;
        let mut ground = Ground::empty();
        assert_eq!(DeadLetters.look(&ground).await[0].state, State::Skipped);
        ground.broker = Ok(gateway::broker_diagnosis(connection.survey().await));
        assert_eq!(DeadLetters.look(&ground).await[0].state, State::Ok);
        let ack = connection.jetstream().publish("dead.scheduler.x", "".into()).await;
        ack.expect("sent").await.expect("kept");
        ground.broker = Ok(gateway::broker_diagnosis(connection.survey().await));
        finds(
            &DeadLetters.look(&ground).await,
            State::Warning,
            "1 messages were given up",
            "berth dead list",
        );
    }
}
