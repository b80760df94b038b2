//! Live byte channels between two processes, for what is not a message: a serial console.
//!
//! Nothing is stored. One side serves a subject, the other opens it; both then send and receive chunks until one
//! closes or falls silent. An empty chunk closes, a lone zero-length header beat keeps alive. The subjects of a channel
//! stand below the one that is served, so that a broker with permissions can tell who may listen where.

use crate::Connection;
use async_nats::client::RequestErrorKind;
use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use kernel::MessageId;
use std::time::Duration;
use tokio::sync::mpsc;

const KIND: &str = "Live";
const BEAT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(20);
const TO_OPENER: &str = "from";
const TO_SERVER: &str = "to";
/// How long nobody may serve a subject before an opener is told so.
const PRESENCE: Duration = Duration::from_secs(2);

/// A channel could not be opened, or broke.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LiveError(pub String);

/// Both directions of an open channel.
pub struct Channel {
    /// What this side says. Dropping it closes the channel.
    pub sender: mpsc::Sender<Bytes>,
    /// What the other side says. Ends when the channel is closed.
    pub receiver: mpsc::Receiver<Bytes>,
}

/// A request to open a channel.
pub struct Opening {
    /// What the opener asks for: an instance id, say.
    pub request: Bytes,
    connection: Connection,
    message: Message,
}

/// Subject of the consoles behind one host-driver process.
pub fn console_subject(agent_id: &str) -> String {
    format!("live.host_driver.v1.console.{agent_id}")
}

/// Where the side that opened a channel listens, and the side that serves it speaks: all channels of a service.
pub fn to_openers(service: &str) -> String {
    format!("live.{service}.*.*.*.{TO_OPENER}.*")
}

fn below(subject: &str, direction: &str) -> String {
    format!("{subject}.{direction}.{}", MessageId::new())
}

/// Requests to open channels at `subject`.
pub async fn serve(connection: &Connection, subject: &str) -> Result<mpsc::Receiver<Opening>, LiveError> {
    let mut requests = connection.listen(subject.to_owned()).await.map_err(LiveError)?;
    let (sender, receiver) = mpsc::channel(16);
    let connection = connection.clone();
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                () = sender.closed() => return,
                message = requests.next() => message,
            };
            let Some(message) = message else { return };
            let opening =
                Opening { request: message.payload.clone(), connection: connection.clone(), message };
            if sender.send(opening).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Opens a channel at `subject`. The error is the other side's, or says that nobody serves it.
pub async fn open(connection: &Connection, subject: &str, request: Bytes) -> Result<Channel, LiveError> {
    let here = below(subject, TO_OPENER);
    let incoming = connection.listen(here.clone()).await.map_err(LiveError)?;
    let answer = ask(connection.client(), subject, &here, &request).await?;
    match header(&answer, "Live-Error") {
        Some(error) => Err(LiveError(error)),
        None => {
            let to = header(&answer, "Live-Reply")
                .ok_or_else(|| LiveError("the answer names no channel".into()))?;
            Ok(run(connection.clone(), incoming, to))
        }
    }
}

/// Asks the other side. One that has just begun to serve may not be known to the server yet: that is given a moment.
async fn ask(
    client: &async_nats::Client,
    subject: &str,
    here: &str,
    request: &Bytes,
) -> Result<Message, LiveError> {
    let begun = tokio::time::Instant::now();
    loop {
        let mut headers = HeaderMap::new();
        headers.insert("Live-Reply", here);
        let asked = client.request_with_headers(subject.to_owned(), headers, request.clone());
        match tokio::time::timeout(SILENCE, asked).await.map_err(|_| LiveError("no answer".into()))? {
            Ok(answer) => return Ok(answer),
            Err(error) if error.kind() == RequestErrorKind::NoResponders && begun.elapsed() < PRESENCE => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(LiveError(error.to_string())),
        }
    }
}

impl Opening {
    /// Opens the channel.
    pub async fn accept(self) -> Result<Channel, LiveError> {
        let to = header(&self.message, "Live-Reply")
            .ok_or_else(|| LiveError("the request names no channel".into()))?;
        let here = below(&self.message.subject, TO_SERVER);
        let incoming = self.connection.listen(here.clone()).await.map_err(LiveError)?;
        self.answer("Live-Reply", &here).await?;
        Ok(run(self.connection.clone(), incoming, to))
    }

    /// Says no, and why.
    pub async fn refuse(self, reason: &str) -> Result<(), LiveError> {
        let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.answer("Live-Error", &reason).await
    }

    async fn answer(&self, name: &str, value: &str) -> Result<(), LiveError> {
        let reply =
            self.message.reply.clone().ok_or_else(|| LiveError("the request wants no answer".into()))?;
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        self.connection.send(reply.to_string(), headers, Bytes::new()).await.map_err(LiveError)
    }
}

fn header(message: &Message, name: &str) -> Option<String> {
    message.headers.as_ref()?.get(name).map(|v| v.as_str().to_owned())
}

fn beat() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(KIND, "beat");
    headers
}

/// Moves chunks both ways until either side is done.
fn run(connection: Connection, mut incoming: Subscriber, to: String) -> Channel {
    let (sender, mut outgoing) = mpsc::channel::<Bytes>(64);
    let (deliver, receiver) = mpsc::channel::<Bytes>(64);
    tokio::spawn(async move {
        let mut beats = tokio::time::interval(BEAT);
        let mut heard = tokio::time::Instant::now();
        loop {
            tokio::select! {
                chunk = outgoing.recv() => match chunk {
                    Some(chunk) if chunk.is_empty() => {}
                    Some(chunk) => if connection.send(to.clone(), HeaderMap::new(), chunk).await.is_err() { break },
                    None => break,
                },
                message = incoming.next() => match message {
                    None => return,
                    Some(message) => {
                        heard = tokio::time::Instant::now();
                        if header(&message, KIND).is_some() { continue }
                        // an empty chunk: the other side is done
                        if message.payload.is_empty() || deliver.send(message.payload).await.is_err() { break }
                    }
                },
                _ = beats.tick() => {
                    if heard.elapsed() > SILENCE || connection.send(to.clone(), beat(), Bytes::new()).await.is_err() { break }
                }
            }
        }
        let _ = connection.send(to, HeaderMap::new(), Bytes::new()).await;
    });
    Channel { sender, receiver }
}
