//! Streams both ways as a WebSocket (RFC 6455): what the client types goes in, what the guest writes comes out.

use super::call::Door;
use super::frames::{Frames, frame};
use super::problem::Problem;
use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, RawPathParams};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::Method;
use contracts::gateway::v1::{AttachConsoleRequest, AttachConsoleResponse};
use futures::StreamExt;
use http::{Request, StatusCode};
use prost::Message as _;
use std::io;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Pieces of input that may wait for a slow guest.
const WAITING: usize = 64;

/// A method with streams both ways. Errors before the first output are ordinary problems.
pub async fn socket(door: Door, method: &'static Method, request: Request<Body>) -> Response {
    match open(&door, method, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn open(door: &Door, method: &Method, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = door.admit(method, &parts).await.map_err(|s| Problem::of(&s))?;
    let path = RawPathParams::from_request_parts(&mut parts, &()).await;
    let path = path
        .map_err(|_| Problem::http(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "the path is not UTF-8"))?;
    let instance = path.iter().find(|(name, _)| *name == "instance").map(|(_, value)| value.to_owned());
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|_| {
        let detail = "a console is a WebSocket: send an upgrade request";
        Problem::http(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", detail)
    })?;
    let (typed, waiting) = mpsc::channel::<Result<Bytes, io::Error>>(WAITING);
    let first = AttachConsoleRequest { instance: instance.unwrap_or_default(), input: Vec::new() };
    // the channel is new and has room
    let _ = typed.try_send(Ok(frame(&first.encode_to_vec())));
    let body = Body::from_stream(ReceiverStream::new(waiting));
    let frames = door.send(method, &parts, caller, body).await.map_err(|s| Problem::of(&s))?;
    Ok(upgrade.on_upgrade(move |socket| carry(socket, frames, typed)))
}

async fn carry(socket: WebSocket, mut frames: Frames, typed: mpsc::Sender<Result<Bytes, io::Error>>) {
    let (mut out, mut input) = socket.split();
    let reading = async move {
        while let Some(Ok(message)) = input.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => Bytes::from(text),
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            let request = AttachConsoleRequest { instance: String::new(), input: bytes.to_vec() };
            if typed.send(Ok(frame(&request.encode_to_vec()))).await.is_err() {
                break;
            }
        }
    };
    let writing = async {
        use futures::SinkExt;
        let ended = loop {
            match frames.next().await {
                Ok(Some(bytes)) => {
                    let output = AttachConsoleResponse::decode(bytes).map(|r| r.output).unwrap_or_default();
                    if out.send(Message::Binary(output.into())).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break Status::ok("the console was closed"),
                Err(status) => break status,
            }
        };
        // 1000 normal, 1011 something broke on our side (RFC 6455, section 7.4.1); a reason has at most 123 bytes
        let code = if ended.code() == tonic::Code::Ok { 1000 } else { 1011 };
        let reason = crate::domain::violation::excerpt(ended.message(), 30);
        let _ = out.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}
