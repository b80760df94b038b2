//! `berth instance console`.

use super::super::Session;
use crate::output::print_bytes;
use clap::Args;
use client::{Exit, Failure};
use contracts::gateway::v1::AttachConsoleRequest;
use std::io::{IsTerminal as _, Read as _};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Ctrl-].
const DETACH: u8 = 0x1d;

/// Attach to the serial console of an instance
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal every key goes to the guest; Ctrl-] detaches. In a pipe, standard input goes to the guest and the
command ends when the input has ended and the guest has been silent for a while.

Examples:
  berth instance console web-1
  printf 'uptime\\n' | berth instance console web-1 --linger 5"
)]
#[group(skip)]
pub struct ConsoleArgs {
    /// Name or id
    instance: String,
    /// In a pipe: seconds of silence after the end of the input before leaving
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    linger: u32,
}

enum Typed {
    Bytes(Vec<u8>),
    Detach,
    End,
}

pub(super) async fn run(args: ConsoleArgs, session: &Session) -> Result<(), Failure> {
    let terminal = std::io::stdin().is_terminal();
    let (send, requests) = mpsc::channel(64);
    let first = AttachConsoleRequest { instance: args.instance.clone(), input: Vec::new() };
    // the channel is empty and holds 64, so this cannot fail
    let _ = send.send(first).await;
    let failed = |status: tonic::Status| Failure::from_status(&status, session.gateway.endpoint());
    let mut output = session
        .gateway
        .instances()
        .attach_console(ReceiverStream::new(requests))
        .await
        .map_err(failed)?
        .into_inner();
    let raw = RawTerminal::enter(terminal)?;
    if terminal {
        session.note(&format!("attached to {}; Ctrl-] detaches\r", args.instance));
    }
    let mut typed = read_keys(terminal);
    let linger = Duration::from_secs(u64::from(args.linger));
    let (mut sender, mut ended) = (Some(send), false);
    let result = loop {
        tokio::select! {
            message = output.message() => match message {
                Ok(Some(message)) => print_bytes(&message.output)?,
                Ok(None) => break Ok(()),
                Err(status) => break Err(failed(status)),
            },
            key = typed.recv(), if !ended => match key {
                Some(Typed::Bytes(input)) => {
                    let request = AttachConsoleRequest { instance: String::new(), input };
                    if let Some(sender) = &sender {
                        // a stream the gateway closed shows on the output side
                        let _ = sender.send(request).await;
                    }
                }
                Some(Typed::Detach) => break Ok(()),
                Some(Typed::End) | None => ended = true,
            },
            () = tokio::time::sleep(linger), if ended && !terminal => break Ok(()),
        }
    };
    drop(sender.take());
    drop(raw);
    if terminal && result.is_ok() {
        session.note("detached");
    }
    result
}

/// Reads standard input on a thread of its own: a read from a terminal cannot be cancelled.
fn read_keys(terminal: bool) -> mpsc::Receiver<Typed> {
    let (send, receive) = mpsc::channel(64);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut buffer = [0; 4096];
        loop {
            let count = match input.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) | Ok(0) => break,
                Ok(count) => count,
            };
            let typed = split(&buffer[..count], terminal);
            let detach = typed.1;
            if !typed.0.is_empty() && send.blocking_send(Typed::Bytes(typed.0.to_vec())).is_err() {
                return;
            }
            if detach {
                let _ = send.blocking_send(Typed::Detach);
                return;
            }
        }
        let _ = send.blocking_send(Typed::End);
    });
    receive
}

/// What goes to the guest, and whether the user wants to leave after it. In a pipe every byte goes to the guest.
fn split(bytes: &[u8], terminal: bool) -> (&[u8], bool) {
    match bytes.iter().position(|byte| *byte == DETACH) {
        Some(place) if terminal => (&bytes[..place], true),
        _ => (bytes, false),
    }
}

/// The terminal hands over every key unchanged until this is dropped.
struct RawTerminal(bool);

impl RawTerminal {
    fn enter(terminal: bool) -> Result<Self, Failure> {
        if terminal {
            crossterm::terminal::enable_raw_mode().map_err(|error| {
                Failure::new(Exit::Failed, format!("the terminal cannot be set to raw mode: {error}"))
            })?;
        }
        Ok(Self(terminal))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if self.0 {
            // nothing can be done about it, and the shell resets its terminal anyway
            let _ = crossterm::terminal::disable_raw_mode();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_bracket_detaches_from_a_terminal_only() {
        assert_eq!(split(b"ls\x1dnever", true), (&b"ls"[..], true));
        assert_eq!(split(b"a\x1db", false), (&b"a\x1db"[..], false));
    }
}
