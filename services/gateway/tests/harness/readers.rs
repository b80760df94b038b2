//! Readers of the event stream from outside: Server-Sent Events, JSON lines and WebSocket.

use super::{Gateway, PATIENCE};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub id: String,
    pub event: String,
    pub data: Value,
}

/// A stream of server-sent events.
pub struct Sse {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    buffer: String,
}

impl Sse {
    /// Opens one with a query, behind the last event seen ("" = none).
    pub async fn open(gateway: &Gateway, token: &str, query: &str, last_id: &str) -> Self {
        let request = gateway.request(token, "", "GET", &format!("/v1/events?{query}"));
        let request = if last_id.is_empty() { request } else { request.header("last-event-id", last_id) };
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{query}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { bytes: response.bytes_stream().boxed(), buffer: String::new() }
    }

    /// The next event; `None` at the end of the stream, or where it broke off.
    pub async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                // a comment keeps the connection alive
                if block.starts_with(':') {
                    continue;
                }
                return Some(sent(&block));
            }
            let bytes = timeout(PATIENCE, self.bytes.next()).await.expect("something in time")?.ok()?;
            self.buffer += std::str::from_utf8(&bytes).expect("ascii in these tests");
        }
    }

    /// Everything to the end.
    pub async fn rest(mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some(sent) = self.next().await {
            all.push(sent);
        }
        all
    }
}

fn sent(block: &str) -> Sent {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        lines.collect::<Vec<_>>().join("\n")
    };
    Sent { id: field("id"), event: field("event"), data: serde_json::from_str(&field("data")).expect("JSON") }
}

/// Everything that a query gives as JSON lines.
pub async fn lines(gateway: &Gateway, token: &str, query: &str) -> Vec<Value> {
    let request = gateway.request(token, "", "GET", &format!("/v1/events?{query}"));
    let response = request.header("accept", "application/x-ndjson").send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson", "{query}");
    let text = response.text().await.expect("a body");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A WebSocket.
pub struct Socket(WebSocketStream<TcpStream>);

/// What a WebSocket brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Text(Value),
    Closed(u16, String),
}

impl Socket {
    /// Opens one; the error is the HTTP status of the refusal.
    pub async fn open(gateway: &Gateway, token: &str, query: &str) -> Result<Self, u16> {
        let tcp = TcpStream::connect(gateway.address).await.expect("connects");
        Self::open_over(tcp, gateway, token, query).await
    }

    /// One for which this side of the connection keeps as little as the kernel allows.
    pub async fn open_narrow(gateway: &Gateway, token: &str, query: &str) -> Result<Self, u16> {
        let tcp = TcpSocket::new_v4().expect("a socket");
        tcp.set_recv_buffer_size(4 << 10).expect("a small buffer");
        let tcp = tcp.connect(gateway.address).await.expect("connects");
        Self::open_over(tcp, gateway, token, query).await
    }

    async fn open_over(tcp: TcpStream, gateway: &Gateway, token: &str, query: &str) -> Result<Self, u16> {
        let url = format!("ws://{}/v1/events/ws?{query}", gateway.address);
        let mut request = url.into_client_request().expect("a request");
        if !token.is_empty() {
            let value = format!("Bearer {token}").parse().expect("ascii");
            request.headers_mut().insert("authorization", value);
        }
        match client_async(request, tcp).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// The next frame that says something.
    pub async fn next(&mut self) -> Frame {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("something in time");
            match message.expect("a goodbye first").expect("readable") {
                Message::Text(text) => return Frame::Text(serde_json::from_str(&text).expect("JSON")),
                Message::Close(Some(frame)) => {
                    return Frame::Closed(u16::from(frame.code), frame.reason.to_string());
                }
                Message::Close(None) => return Frame::Closed(u16::from(CloseCode::Status), String::new()),
                _ => {}
            }
        }
    }

    /// The next text.
    pub async fn text(&mut self) -> Value {
        match self.next().await {
            Frame::Text(text) => text,
            closed => panic!("{closed:?}"),
        }
    }

    /// Sends a ping and waits for the answer to it.
    pub async fn ping(&mut self) {
        self.0.send(Message::Ping(Bytes::from_static(b"there?"))).await.expect("sent");
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("something in time");
            if let Message::Pong(said) = message.expect("open").expect("readable") {
                assert_eq!(&said[..], b"there?");
                return;
            }
        }
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        self.0.close(None).await.expect("closes");
    }
}
