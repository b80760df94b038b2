//! What the broker says of itself, on the wire.

use bus::survey::{ConsumerSurvey, StreamSurvey, Survey};
use contracts::gateway::v1::{BrokerDiagnosis, ConsumerDiagnosis, StreamDiagnosis};
use kernel::Timestamp;

/// A survey, or why there is none.
pub fn broker<E: std::fmt::Display>(survey: Result<Survey, E>) -> BrokerDiagnosis {
    let survey = match survey {
        Ok(survey) => survey,
        Err(error) => return BrokerDiagnosis { problem: error.to_string(), ..BrokerDiagnosis::default() },
    };
    let (theirs, ours) = survey.clock.unwrap_or((Timestamp(0), Timestamp(0)));
    BrokerDiagnosis {
        problem: String::new(),
        server_version: survey.version,
        jetstream: survey.jetstream,
        round_trip_us: i64::try_from(survey.round_trip.as_micros()).unwrap_or(i64::MAX),
        now_us: theirs.micros(),
        asked_at_us: ours.micros(),
        streams: survey.streams.into_iter().map(stream).collect(),
    }
}

fn micros(at: Option<Timestamp>) -> i64 {
    at.map_or(0, Timestamp::micros)
}

fn stream(stream: StreamSurvey) -> StreamDiagnosis {
    StreamDiagnosis {
        name: stream.name,
        missing: stream.missing,
        differences: stream.differences,
        messages: stream.messages,
        bytes: stream.bytes,
        oldest_at_us: micros(stream.oldest),
        consumers: stream.consumers.into_iter().map(consumer).collect(),
    }
}

fn consumer(consumer: ConsumerSurvey) -> ConsumerDiagnosis {
    ConsumerDiagnosis {
        name: consumer.name,
        pending: consumer.pending,
        unacknowledged: consumer.unacknowledged,
        redelivered: consumer.redelivered,
        last_delivered_at_us: micros(consumer.last_delivered),
        waiting_pulls: consumer.waiting_pulls,
    }
}
