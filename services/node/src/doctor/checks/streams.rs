//! Whether every stream is there and set up as declared.

use super::{Check, or_ok};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;

/// See the module.
pub struct Streams;

#[async_trait]
impl Check for Streams {
    fn name(&self) -> &'static str {
        "streams"
    }

    fn about(&self) -> &'static str {
        "every stream is there and set up as declared"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let broker = match &ground.broker {
            Ok(broker) => broker,
            Err(why) => return vec![Finding::skipped(format!("the broker could not be asked: {why}"))],
        };
        let mut found = Vec::new();
        for stream in &broker.streams {
            if stream.missing {
                found.push(Finding::problem(
                    format!("the stream {} is not there", stream.name),
                    "a running service makes it again and fills it from its outbox: start the node; if it runs, look into its log",
                ));
            } else if !stream.differences.is_empty() {
                found.push(Finding::problem(
                    format!("the stream {}: {}", stream.name, stream.differences.join("; ")),
                    "somebody changed it by hand: restart a service, which sets it up as declared",
                ));
            }
        }
        let messages: u64 = broker.streams.iter().map(|stream| stream.messages).sum();
        let bytes: u64 = broker.streams.iter().map(|stream| stream.bytes).sum();
        let all = format!(
            "{} streams, {messages} messages, {}",
            broker.streams.len(),
            terminal::output::bytes(bytes)
        );
        or_ok(found, all)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn a_stream_that_was_changed_or_removed_is_named() {
        let nats = testkit::NatsServer::start().await;
        let connection = nats.connect().await;
        let look = async || {
            let asked = gateway::broker_diagnosis(connection.survey().await);
            assert_eq!(asked.problem, "");
            Streams.look(&Ground { broker: Ok(asked), ..Ground::empty() }).await
        };
        let found = look().await;
        assert!(found.len() == 1 && found[0].state == State::Ok, "{found:?}");
        let jetstream = connection.jetstream();
        let mut config = jetstream.get_stream("EVENTS").await.expect("there").cached_info().config.clone();
        config.max_age = std::time::Duration::from_secs(3600);
        jetstream.update_stream(&config).await.expect("changed");
        jetstream.delete_stream("DEAD").await.expect("deleted");
        let found = look().await;
        finds(&found, State::Problem, "EVENTS: max_age is 3600000000000, declared is 0", "as declared");
        finds(&found, State::Problem, "DEAD is not there", "start the node");
        assert_eq!(Streams.look(&Ground::empty()).await[0].state, State::Skipped);
    }
}
