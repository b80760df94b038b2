//! Whether every reader keeps up with its stream.

use super::{Check, or_ok};
use crate::doctor::{Finding, Ground, Thresholds};
use async_trait::async_trait;
use contracts::gateway::v1::{ConsumerDiagnosis, StreamDiagnosis};

/// See the module.
pub struct Consumers;

#[async_trait]
impl Check for Consumers {
    fn name(&self) -> &'static str {
        "consumers"
    }

    fn about(&self) -> &'static str {
        "every service reads its streams and keeps up with them"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let broker = match &ground.broker {
            Ok(broker) => broker,
            Err(why) => return vec![Finding::skipped(format!("the broker could not be asked: {why}"))],
        };
        let readers: Vec<(&StreamDiagnosis, &ConsumerDiagnosis)> =
            broker.streams.iter().flat_map(|s| s.consumers.iter().map(move |c| (s, c))).collect();
        let found: Vec<Finding> = readers.iter().filter_map(|(s, c)| judge(s, c, &ground.limits)).collect();
        let most = readers.iter().map(|(_, consumer)| consumer.pending).max().unwrap_or(0);
        if readers.is_empty() {
            return vec![Finding::skipped("nobody reads any stream yet")];
        }
        or_ok(found, format!("{} readers, the slowest is {most} messages behind", readers.len()))
    }
}

fn judge(stream: &StreamDiagnosis, consumer: &ConsumerDiagnosis, limits: &Thresholds) -> Option<Finding> {
    let (name, behind) = (format!("{} on {}", consumer.name, stream.name), consumer.pending);
    let text = format!("{name} is {behind} messages behind, {} are with it", consumer.unacknowledged);
    // a reader that listens has a request waiting, or messages in hand
    let deaf = consumer.waiting_pulls == 0 && consumer.unacknowledged == 0;
    let (warning, problem) = limits.lag;
    if behind > 0 && deaf {
        return Some(Finding::problem(
            format!("{name} is {behind} messages behind and nobody listens"),
            "its service does not run or hangs: start it, and look into its log and at the check `health`",
        ));
    }
    let advice = "its service is too slow or its database is: look at berth_bus_messages_total and at its disk; when the load was short it catches up";
    match behind {
        behind if behind > problem => Some(Finding::problem(text, advice)),
        behind if behind > warning => Some(Finding::warning(text, advice)),
        _ if consumer.redelivered > 0 => Some(Finding::warning(
            format!("{name} was given {} messages more than once", consumer.redelivered),
            "its service fails to take them: its log says why; they become dead letters when it does not stop",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn a_reader_that_left_its_backlog_is_found() {
        let nats = testkit::NatsServer::start().await;
        let connection = nats.connect().await;
        let stream = connection.jetstream().get_stream("EVENTS").await.expect("there");
        let durable = async_nats::jetstream::consumer::pull::Config {
            durable_name: Some("scheduler".into()),
            ..Default::default()
        };
        let consumer = stream.create_consumer(durable).await.expect("made");
        for n in 0..20 {
            let ack = connection.jetstream().publish(format!("evt.x.v1.Y.t.{n}"), "".into()).await;
            ack.expect("sent").await.expect("kept");
        }
        let look = async |lag| {
            let broker = Ok(gateway::broker_diagnosis(connection.survey().await));
            let limits = Thresholds { lag, ..Thresholds::default() };
            Consumers.look(&Ground { broker, limits, ..Ground::empty() }).await
        };
        let says = "scheduler on EVENTS is 20 messages behind and nobody listens";
        finds(&look((1_000, 100_000)).await, State::Problem, says, "start it");
        // somebody takes one and thinks about it: it listens, and is far behind
        let mut taken = consumer.fetch().max_messages(1).messages().await.expect("fetched");
        let _thinks = futures::StreamExt::next(&mut taken).await.expect("one");
        finds(&look((10, 100)).await, State::Warning, "19 messages behind, 1 are with it", "too slow");
        finds(&look((1, 10)).await, State::Problem, "19 messages behind", "too slow");
        assert_eq!(look((1_000, 100_000)).await[0].state, State::Ok);
    }
}
