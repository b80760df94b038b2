//! Where something is that is late: in whose outbox, in which stream, with which consumer, on which host. Asked while
//! the platform is up; it reads the services' databases, asks the broker and the public door, and changes nothing.
//!
//! Every message of an operation carries the operation's id (it is the correlation) or the instance's, so what is
//! under way is found without knowing how the services work: a message that was written and that somebody who wants it
//! has not taken. Only when there is none do the tables tell who waits for what.

mod books;
mod messages;
mod place;
mod streams;
mod tables;

pub use place::Place;

use crate::chaos::door::Door;
use books::Books;
use kernel::{Clock, SystemClock};
use messages::Traced;
use reqwest::Method;
use serde_json::Value;
use std::fmt;
use std::path::Path;
use streams::Streams;

/// Something that is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    /// In words: "create i-17".
    pub what: String,
    /// Id of the operation; "" = the request was not answered, or there is none.
    pub operation: String,
    /// Id of the instance; "" = not known.
    pub instance: String,
}

/// Where something is, and what everybody knows of it.
#[derive(Debug)]
pub struct Whereabouts {
    /// What was looked for.
    pub sought: Sought,
    /// Where it is held up.
    pub place: Place,
    /// The message that is there; "" = none is under way.
    pub message: String,
    /// What else is known, a line each.
    pub facts: Vec<String>,
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sought { what, operation, .. } = &self.sought;
        let shown = if operation.is_empty() { "without an operation" } else { operation };
        write!(f, "{what} ({shown}): ")?;
        if !self.message.is_empty() {
            write!(f, "{} ", self.message)?;
        }
        write!(f, "{}", self.place)?;
        self.facts.iter().try_for_each(|fact| write!(f, "\n    {fact}"))
    }
}

/// So many messages are shown that everybody has taken: the newest.
const DONE: usize = 8;

/// A look at everything at one moment.
pub struct Search {
    books: Books,
    streams: Streams,
    /// `None`: it did not answer.
    door: Option<Door>,
    now_us: i64,
}

impl Search {
    /// Opens the databases below `data_dir`, asks the broker at `broker` (not through a bad network) what it holds, and
    /// tries the public door.
    pub async fn begin(data_dir: &Path, broker: &str, door: &Door) -> Self {
        let hosts = door.once(Method::GET, "/v1/hosts", "", None);
        let (books, streams, answer) = tokio::join!(Books::open(data_dir), Streams::look(broker), hosts);
        let door = answer.map(|_| door.clone());
        Self { books, streams, door, now_us: SystemClock.now().micros() }
    }

    /// How things stand in general: outboxes and consumers, a line each.
    pub fn survey(&self) -> Vec<String> {
        let mut lines = self.books.outboxes(self.now_us);
        lines.extend(self.streams.describe());
        lines.extend(self.streams.trouble().map(|trouble| format!("the broker: {trouble}")));
        lines.extend(self.door.is_none().then(|| "the public door does not answer".to_owned()));
        lines
    }

    /// Where something is.
    pub async fn find(&self, sought: &Sought) -> Whereabouts {
        let traced = messages::trace(&self.books, &self.streams, sought, self.now_us).await;
        let state = tables::read(&self.books, sought).await;
        let (message, place) = match traced.iter().find(|traced| traced.place.is_some()) {
            Some(Traced { message, place: Some(place), .. }) => (message.clone(), place.clone()),
            _ => (String::new(), state.judge(sought, self.now_us)),
        };
        let mut facts = state.facts(self.now_us);
        facts.extend(self.at_the_door(sought).await);
        let others = traced.iter().filter(|t| t.place.is_some()).skip(1);
        facts.extend(others.map(|t| format!("also: {}", t.told())));
        let done: Vec<&Traced> = traced.iter().filter(|traced| traced.place.is_none()).collect();
        facts.extend(done.iter().rev().take(DONE).rev().map(|traced| format!("done: {}", traced.told())));
        Whereabouts { sought: sought.clone(), place, message, facts }
    }
}

impl Search {
    /// What the public door says, which the table behind it may contradict.
    async fn at_the_door(&self, sought: &Sought) -> Option<String> {
        let (path, field, key) = match (sought.operation.as_str(), sought.instance.as_str()) {
            ("", "") => return None,
            ("", instance) => (format!("/v1/instances/{instance}"), "instance", "phase"),
            (operation, _) => (format!("/v1/operations/{operation}"), "operation", "state"),
        };
        Some(match self.door.as_ref()?.once(Method::GET, &path, "", None).await {
            None => format!("public door: {path} is not answered"),
            Some((status, answer)) => format!("public door: {path} is {} ({status})", answer[field][key]),
        })
    }
}

/// A protobuf message as JSON, or `null` when it cannot be read.
fn json(name: &str, bytes: &[u8]) -> Value {
    if bytes.is_empty() { Value::Null } else { contracts::to_json(name, bytes).unwrap_or(Value::Null) }
}

/// A refusal in one line; "" = none.
fn refusal(refusal: &Value) -> String {
    let text = |field: &str| refusal[field].as_str().unwrap_or_default();
    match text("code") {
        "" => String::new(),
        code => format!("{code}: {}", text("message")),
    }
}
