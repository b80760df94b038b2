//! Answering what other services ask. The replicas of a service share the questions.

use crate::ask::{ACTOR, Asking, BUSY, NO_ANSWER, PATIENCE, REFUSED, TENANT, TRACEPARENT, UNREADABLE};
use crate::{Connection, Report, Trouble, trace};
use async_nats::{HeaderMap, Message};
use async_trait::async_trait;
use contracts::Question;
use contracts::common::v1 as common;
use futures::StreamExt;
use kernel::Refusal;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use prost::Message as _;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// Questions that one process answers at a time; whoever asks one more is told that it is busy.
const AT_A_TIME: usize = 64;
/// Before it listens again after the broker refused it.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers one kind of question. It reads, and changes nothing.
#[async_trait]
pub trait Answer<Q: Question>: Send + Sync + 'static {
    /// The answer, or why there is none. A failure (`Err(None)`) is in the log; whoever asks waits in vain no longer than
    /// the deadline.
    async fn answer(&self, asking: &Asking, question: Q) -> Result<Q::Answer, Option<Refusal>>;
}

/// Bytes of an answer, or the reason that there is none and what it says.
type Outcome = Result<Vec<u8>, (&'static str, Vec<u8>)>;

#[async_trait]
trait Erased: Send + Sync {
    async fn answer(&self, asking: &Asking, payload: &[u8]) -> Option<Outcome>;
}

struct Typed<Q, H>(H, PhantomData<fn() -> Q>);

#[async_trait]
impl<Q: Question, H: Answer<Q>> Erased for Typed<Q, H> {
    async fn answer(&self, asking: &Asking, payload: &[u8]) -> Option<Outcome> {
        let question = match Q::decode(payload) {
            Ok(question) => question,
            Err(error) => return Some(Err((UNREADABLE, error.to_string().into_bytes()))),
        };
        match self.0.answer(asking, question).await {
            Ok(answer) => Some(Ok(answer.encode_to_vec())),
            Err(Some(refusal)) => Some(Err((REFUSED, common::Refusal::from(refusal).encode_to_vec()))),
            Err(None) => None,
        }
    }
}

/// The questions that a service answers.
pub struct Answers {
    service: &'static str,
    handlers: HashMap<String, (&'static str, Arc<dyn Erased>)>,
}

impl Answers {
    /// None yet.
    pub fn new(service: &'static str) -> Self {
        Self { service, handlers: HashMap::new() }
    }

    /// One more.
    ///
    /// # Panics
    /// When it is another service's, or answered already.
    #[must_use]
    pub fn on<Q: Question>(mut self, handler: impl Answer<Q>) -> Self {
        assert_eq!(Q::SERVICE, self.service, "{} is asked of another service", Q::NAME);
        let handler: Arc<dyn Erased> = Arc::new(Typed(handler, PhantomData));
        let before = self.handlers.insert(Q::subject(), (Q::NAME, handler));
        assert!(before.is_none(), "{} is answered twice", Q::NAME);
        self
    }

    /// Answers until told to stop. Whoever was asked until then is answered before it ends; then the broker knows that
    /// nobody listens here any more.
    pub async fn serve(self, bus: Connection, meter: Meter, report: Report, stop: CancellationToken) {
        let counting = Arc::new(Counting::new(self.service, &meter));
        let room = Arc::new(Semaphore::new(AT_A_TIME));
        let open = TaskTracker::new();
        while !stop.is_cancelled() {
            match self.listen(&bus).await {
                Err(why) => report.unwell(Trouble::BrokerAway, format!("cannot listen for questions: {why}")),
                Ok(mut asked) => {
                    report.well("answers");
                    loop {
                        let message = tokio::select! { () = stop.cancelled() => break, message = asked.next() => message };
                        let Some(message) = message else { break };
                        self.take(message, &bus, &counting, &room, &open);
                    }
                    let rest = async {
                        for listener in asked.iter_mut() {
                            // a connection that is gone brings nothing more
                            let _ = listener.drain().await;
                        }
                        while let Some(message) = asked.next().await {
                            self.take(message, &bus, &counting, &room, &open);
                        }
                    };
                    let _ = tokio::time::timeout(PATIENCE, rest).await;
                }
            }
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(PAUSE) => {} }
        }
        open.close();
        open.wait().await;
    }

    /// Answers in a task of its own, or says that there is no room for one more.
    fn take(
        &self,
        message: Message,
        bus: &Connection,
        counting: &Arc<Counting>,
        room: &Arc<Semaphore>,
        open: &TaskTracker,
    ) {
        let Some((name, handler)) = self.handlers.get(message.subject.as_str()).cloned() else { return };
        let (bus, counting) = (bus.clone(), counting.clone());
        match room.clone().try_acquire_owned() {
            Err(_) => {
                counting.count(name, BUSY, None);
                open.spawn(async move { reply(&bus, message, Err((BUSY, Vec::new()))).await });
            }
            Ok(place) => {
                open.spawn(async move {
                    counting.answer(&bus, name, &*handler, message).await;
                    drop(place);
                });
            }
        }
    }

    async fn listen(
        &self,
        bus: &Connection,
    ) -> Result<futures::stream::SelectAll<async_nats::Subscriber>, String> {
        let mut asked = Vec::with_capacity(self.handlers.len());
        for subject in self.handlers.keys() {
            asked.push(bus.listen_together(subject.clone(), self.service.to_owned()).await?);
        }
        Ok(futures::stream::select_all(asked))
    }
}

/// How many were answered, how, and in what time.
struct Counting {
    service: &'static str,
    questions: Counter<u64>,
    seconds: Histogram<f64>,
}

impl Counting {
    fn new(service: &'static str, meter: &Meter) -> Self {
        let questions = meter
            .u64_counter("berth_questions")
            .with_description("Questions of other services, by service, question and outcome.")
            .build();
        let seconds = meter
            .f64_histogram("berth_question_seconds")
            .with_description("Time to an answer, by service and question.")
            .with_boundaries(vec![0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0])
            .build();
        Self { service, questions, seconds }
    }

    fn count(&self, name: &'static str, outcome: &'static str, took: Option<Duration>) {
        let labels = [KeyValue::new("service", self.service), KeyValue::new("question", name)];
        if let Some(took) = took {
            self.seconds.record(took.as_secs_f64(), &labels);
        }
        let [service, question] = labels;
        self.questions.add(1, &[service, question, KeyValue::new("outcome", outcome)]);
    }

    async fn answer(&self, bus: &Connection, name: &'static str, handler: &dyn Erased, message: Message) {
        let header = |name: &str| {
            let value = message.headers.as_ref().and_then(|headers| headers.get(name));
            value.map(|value| value.as_str().to_owned()).unwrap_or_default()
        };
        let asking = Asking { tenant: header(TENANT), actor: header(ACTOR) };
        let span = tracing::info_span!("question", otel.name = format!("{} {name}", self.service));
        trace::continue_from(&span, &header(TRACEPARENT));
        let began = Instant::now();
        let answering = handler.answer(&asking, &message.payload).instrument(span);
        let (outcome, answer) = match tokio::time::timeout(PATIENCE, answering).await {
            Ok(Some(Ok(bytes))) => ("answered", Some(Ok(bytes))),
            Ok(Some(Err((reason, bytes)))) => (reason, Some(Err((reason, bytes)))),
            Ok(None) => ("failed", None),
            Err(_) => {
                tracing::warn!(service = self.service, question = name, "not answered within {PATIENCE:?}");
                ("late", None)
            }
        };
        self.count(name, outcome, Some(began.elapsed()));
        if let Some(answer) = answer {
            reply(bus, message, answer).await;
        }
    }
}

async fn reply(bus: &Connection, message: Message, outcome: Outcome) {
    let Some(inbox) = message.reply else { return };
    let mut headers = HeaderMap::new();
    let payload = match outcome {
        Ok(answer) => answer,
        Err((reason, payload)) => {
            headers.insert(NO_ANSWER, reason);
            payload
        }
    };
    // whoever asked has given up by then, and asks again
    if let Err(error) = bus.send(inbox.to_string(), headers, payload.into()).await {
        tracing::debug!(error, "an answer was not sent");
    }
}
