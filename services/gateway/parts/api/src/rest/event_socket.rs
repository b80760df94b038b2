//! A stream of events as a WebSocket (RFC 6455): one text frame for each event or gap. The client says nothing but pong.

use super::call::Door;
use super::events;
use super::frames::Frames;
use super::problem::Problem;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::Method;
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// How often a client is asked whether it is there.
const PING: Duration = Duration::from_secs(15);
/// How long a client may say nothing, or take nothing, until it is held to be gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest frame of a client: it has nothing to tell.
const FRAME_LIMIT: usize = 4 << 10;

/// Codes of RFC 6455, section 7.4.1, and of its registry at IANA.
mod code {
    pub const DONE: u16 = 1000;
    pub const GOING_AWAY: u16 = 1001;
    pub const BROKEN: u16 = 1011;
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

type Out = SplitSink<WebSocket, Message>;

/// A method that answers with a stream of events. Errors before the first of them are ordinary problems.
pub async fn socket(door: Door, method: &'static Method, request: Request<Body>) -> Response {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    // who may not read is told so whether it can speak WebSocket or not
    let frames = match events::open(&door, method, &mut parts).await {
        Ok(frames) => frames,
        Err(problem) => return problem.into_response(),
    };
    let Ok(upgrade) = upgrade else {
        let detail = "here events are a WebSocket: send an upgrade request, or ask at /v1/events";
        return Problem::http(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", detail).into_response();
    };
    let open = door.sockets.token();
    upgrade.max_message_size(FRAME_LIMIT).on_upgrade(async move |socket| {
        carry(socket, method, frames).await;
        drop(open);
    })
}

async fn carry(socket: WebSocket, method: &'static Method, mut frames: Frames) {
    let (mut out, mut input) = socket.split();
    let mut cursor = String::new();
    let mut ping = tokio::time::interval(PING);
    let mut heard = Instant::now();
    ping.reset();
    loop {
        tokio::select! {
            said = input.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => heard = Instant::now(),
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE || !send(&mut out, Message::Ping(Bytes::new())).await {
                    return;
                }
            }
            piece = events::next(method, &mut frames) => match piece {
                None => return close(&mut out, code::DONE, &cursor).await,
                Some(Ok(piece)) => {
                    if !piece.cursor.is_empty() {
                        cursor = piece.cursor;
                    }
                    if !send(&mut out, Message::Text(piece.whole.to_string().into())).await {
                        return;
                    }
                }
                Some(Err(problem)) => {
                    let code = match problem.code.as_str() {
                        "GATEWAY_STOPPING" => code::GOING_AWAY,
                        "READER_TOO_SLOW" => code::TRY_AGAIN_LATER,
                        _ => code::BROKEN,
                    };
                    if send(&mut out, Message::Text(json!({"error": problem}).to_string().into())).await {
                        close(&mut out, code, &cursor).await;
                    }
                    return;
                }
            },
        }
    }
}

/// Whether the client took it.
async fn send(out: &mut Out, message: Message) -> bool {
    matches!(tokio::time::timeout(SILENCE, out.send(message)).await, Ok(Ok(())))
}

/// Ends the connection; the reason is what a client puts into its next query: at most 123 bytes.
async fn close(out: &mut Out, code: u16, cursor: &str) {
    let reason = if cursor.is_empty() { String::new() } else { format!("after={cursor}") };
    send(out, Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
}
