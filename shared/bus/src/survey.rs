//! What a broker is and what it keeps, as it says itself: for operators. Nothing is changed by asking.

use crate::{BusSettings, StreamLimits, topology};
use kernel::Timestamp;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Settings of a stream that matter, as the server names them.
const COMPARED: [&str; 10] = [
    "subjects",
    "retention",
    "storage",
    "num_replicas",
    "max_age",
    "max_msgs",
    "max_bytes",
    "discard",
    "duplicate_window",
    "allow_atomic",
];

/// A broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// "2.12.1".
    pub version: String,
    /// It keeps streams.
    pub jetstream: bool,
    /// One question and its answer.
    pub round_trip: Duration,
    /// Its clock, and what time it was here when it said so; `None` = it did not say.
    pub clock: Option<(Timestamp, Timestamp)>,
    /// Every stream that should be there.
    pub streams: Vec<StreamSurvey>,
}

/// One stream that should be there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamSurvey {
    /// "EVENTS".
    pub name: String,
    /// It is not there.
    pub missing: bool,
    /// Settings that are not as declared.
    pub differences: Vec<String>,
    /// How many it keeps.
    pub messages: u64,
    /// How much that is.
    pub bytes: u64,
    /// Of the oldest.
    pub oldest: Option<Timestamp>,
    /// Who reads it.
    pub consumers: Vec<ConsumerSurvey>,
}

/// One lasting reader of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConsumerSurvey {
    /// "scheduler".
    pub name: String,
    /// Not given to it yet.
    pub pending: u64,
    /// Given and not answered.
    pub unacknowledged: u64,
    /// Of those, given more than once.
    pub redelivered: u64,
    /// When it was last given one.
    pub last_delivered: Option<Timestamp>,
    /// Requests for messages that wait at the server; 0 = nobody listens.
    pub waiting_pulls: u64,
}

/// The broker did not answer, or not what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SurveyError(String);

impl SurveyError {
    fn because(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Connects once, without bringing streams about, and asks.
pub async fn connect_and_ask(settings: &BusSettings) -> Result<Survey, SurveyError> {
    let options = settings.options().await.map_err(SurveyError)?;
    let options = options.name("survey").connection_timeout(PATIENCE).max_reconnects(1);
    let urls: Vec<&str> = settings.url.split(',').map(str::trim).collect();
    let client = options.connect(urls).await.map_err(SurveyError::because)?;
    ask(&client, settings.replicas, &settings.limits).await
}

/// Asks over a connection that is there. `replicas` and `limits`: as declared.
pub async fn ask(
    client: &async_nats::Client,
    replicas: usize,
    limits: &StreamLimits,
) -> Result<Survey, SurveyError> {
    let info = client.server_info();
    let mut survey = Survey {
        version: info.version,
        jetstream: info.jetstream,
        round_trip: Duration::ZERO,
        clock: None,
        streams: Vec::new(),
    };
    for declared in topology::streams(replicas, limits) {
        let (asked, began) = (now(), Instant::now());
        let answer = api(client, &format!("STREAM.INFO.{}", declared.name), "").await?;
        survey.round_trip = began.elapsed();
        if let Some(theirs) = time(&answer["ts"]) {
            survey.clock = Some((theirs, asked.after(survey.round_trip / 2)));
        }
        let declared = serde_json::to_value(&declared).map_err(SurveyError::because)?;
        let mut stream = read(&declared, &answer);
        if !stream.missing {
            stream.consumers = consumers(client, &stream.name).await?;
        }
        survey.streams.push(stream);
    }
    Ok(survey)
}

async fn api(client: &async_nats::Client, what: &str, body: &str) -> Result<Value, SurveyError> {
    let request = client.request(format!("$JS.API.{what}"), body.to_owned().into());
    let answer = tokio::time::timeout(PATIENCE, request)
        .await
        .map_err(|_| SurveyError(format!("no answer to {what} within {} s", PATIENCE.as_secs())))?
        .map_err(|error| SurveyError(format!("{what}: {error}")))?;
    serde_json::from_slice(&answer.payload).map_err(SurveyError::because)
}

fn read(declared: &Value, answer: &Value) -> StreamSurvey {
    let name = declared["name"].as_str().unwrap_or_default().to_owned();
    if !answer["error"].is_null() {
        return StreamSurvey { name, missing: true, ..StreamSurvey::default() };
    }
    let state = &answer["state"];
    let messages = number(&state["messages"]);
    StreamSurvey {
        name,
        missing: false,
        differences: differences(declared, &answer["config"]),
        messages,
        bytes: number(&state["bytes"]),
        // of an empty stream the server says the time of its birth, or none
        oldest: time(&state["first_ts"]).filter(|_| messages > 0),
        consumers: Vec::new(),
    }
}

fn differences(declared: &Value, present: &Value) -> Vec<String> {
    // the server says -1 where nothing limits, and leaves out what is off
    let same = |name: &str, value: &Value| match (name, value.as_i64()) {
        ("max_msgs" | "max_bytes", None | Some(..=0)) => Value::from(-1),
        _ if value.is_null() || value == &Value::Bool(false) => Value::Null,
        _ => value.clone(),
    };
    COMPARED
        .iter()
        .filter_map(|name| {
            let (wanted, found) = (same(name, &declared[*name]), same(name, &present[*name]));
            (wanted != found).then(|| format!("{name} is {found}, declared is {wanted}"))
        })
        .collect()
}

async fn consumers(client: &async_nats::Client, stream: &str) -> Result<Vec<ConsumerSurvey>, SurveyError> {
    let (mut all, mut seen) = (Vec::new(), 0);
    loop {
        let body = serde_json::json!({ "offset": seen }).to_string();
        let answer = api(client, &format!("CONSUMER.LIST.{stream}"), &body).await?;
        let page = answer["consumers"].as_array().cloned().unwrap_or_default();
        seen += page.len() as u64;
        // whoever reads only once leaves a nameless reader behind, which the server forgets by itself
        let lasting = page.iter().filter(|consumer| consumer["config"]["durable_name"].is_string());
        all.extend(lasting.map(|consumer| ConsumerSurvey {
            name: consumer["name"].as_str().unwrap_or_default().to_owned(),
            pending: number(&consumer["num_pending"]),
            unacknowledged: number(&consumer["num_ack_pending"]),
            redelivered: number(&consumer["num_redelivered"]),
            last_delivered: time(&consumer["delivered"]["last_active"]),
            waiting_pulls: number(&consumer["num_waiting"]),
        }));
        if page.is_empty() || seen >= number(&answer["total"]) {
            return Ok(all);
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn now() -> Timestamp {
    kernel::Clock::now(&kernel::SystemClock)
}

/// RFC 3339, as Go writes it; its zero time is no time.
fn time(value: &Value) -> Option<Timestamp> {
    let micros = value.as_str()?.parse::<jiff::Timestamp>().ok()?.as_microsecond();
    (micros > 0).then_some(Timestamp(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_differs_from_the_declaration_is_said() {
        let declared =
            serde_json::to_value(&topology::streams(1, &StreamLimits::default())[0]).expect("json");
        let mut present = declared.clone();
        assert_eq!(differences(&declared, &present), Vec::<String>::new());
        present["max_msgs"] = json!(-1);
        present["num_replicas"] = json!(3);
        let found = differences(&declared, &present);
        assert_eq!(found, ["num_replicas is 3, declared is 1", "max_msgs is -1, declared is 2000000"]);
    }

    #[test]
    fn gos_zero_time_is_no_time() {
        assert_eq!(time(&json!("0001-01-01T00:00:00Z")), None);
        assert_eq!(time(&json!("1970-01-01T00:00:01.5Z")), Some(Timestamp(1_500_000)));
        assert_eq!(time(&Value::Null), None);
    }
}
