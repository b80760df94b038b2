//! `berth login --oidc`: the browser comes back to a port of this machine (RFC 8252), and what it brings goes to the
//! gateway, which alone talks to the identity provider.

use super::Session;
use crate::output::note;
use client::{Exit, Failure};
use contracts::gateway::v1::{BeginOidcLoginRequest, LoginWithOidcRequest, LoginWithOidcResponse};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long somebody may take in the browser.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long one request may take to arrive.
const ONE_REQUEST: Duration = Duration::from_secs(5);
/// Longest request of a browser.
const REQUEST_LIMIT: usize = 16 << 10;

/// What the provider sent back.
#[derive(Debug, PartialEq, Eq)]
enum Brought {
    Code { code: String, state: String },
    Refusal(String),
    Nothing,
}

pub(super) async fn login(session: &Session) -> Result<LoginWithOidcResponse, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot listen for the browser on this machine: {error}"))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let redirect_uri = format!("http://{}/callback", listener.local_addr().map_err(failed)?);
    let gateway = &session.gateway;
    let request = BeginOidcLoginRequest { redirect_uri };
    let begun = gateway.read(request, async |r| gateway.sessions().begin_oidc_login(r).await).await?;
    // the address is for a person: it goes beside the output
    note(&format!("open this in a browser on this machine:\n\n  {}\n", begun.authorization_url));
    let brought = tokio::time::timeout(PATIENCE, callback(&listener)).await;
    let (code, state) = brought.map_err(|_| {
        Failure::new(Exit::Failed, "nobody came back from the browser in ten minutes; begin again")
    })??;
    let request = LoginWithOidcRequest { ticket: begun.ticket, code, state };
    // a ticket is taken once: a lost answer is a login that has to begin again
    gateway.read(request, async |r| gateway.sessions().login_with_oidc(r).await).await
}

/// Waits for the browser; answers the code and the state it brings.
async fn callback(listener: &TcpListener) -> Result<(String, String), Failure> {
    loop {
        let accepted = listener.accept().await;
        let Ok((mut stream, _)) = accepted else { continue };
        let Ok(Ok(head)) = tokio::time::timeout(ONE_REQUEST, head(&mut stream)).await else { continue };
        let brought = read(&head);
        let (status, text) = match &brought {
            Brought::Code { .. } => ("200 OK", "You can close this page and go back to the terminal."),
            Brought::Refusal(_) => ("200 OK", "The login was refused; the terminal says why."),
            Brought::Nothing => ("404 Not Found", "Nothing is here."),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
            text.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        match brought {
            Brought::Code { code, state } => return Ok((code, state)),
            Brought::Refusal(why) => {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("the identity provider refused the login: {why}"),
                ));
            }
            Brought::Nothing => {}
        }
    }
}

async fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 2048];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") && bytes.len() < REQUEST_LIMIT {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..length]);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the first line of a request brings.
fn read(head: &str) -> Brought {
    let path =
        head.lines().next().and_then(|line| line.strip_prefix("GET ")).and_then(|l| l.split(' ').next());
    let Some(query) = path.and_then(|path| path.strip_prefix("/callback?")) else { return Brought::Nothing };
    let find = |wanted: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| decoded(value)).next()
    };
    match (find("error"), find("code"), find("state")) {
        (Some(error), ..) => {
            let more = find("error_description").unwrap_or_default();
            let said = format!("{error} {more}");
            // it comes from outside and goes to a terminal
            Brought::Refusal(said.trim().chars().filter(|c| !c.is_control()).take(300).collect())
        }
        (None, Some(code), Some(state)) => Brought::Code { code, state },
        _ => Brought::Nothing,
    }
}

/// A value of a query (application/x-www-form-urlencoded).
fn decoded(text: &str) -> String {
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|digits| hex::decode(digits).ok());
        match (byte, hex) {
            (b'%', Some(hex)) => {
                plain.extend(hex);
                at += 3;
                continue;
            }
            (b'+', _) => plain.push(b' '),
            (byte, _) => plain.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_out_of_the_first_line() {
        let code = |code: &str, state: &str| Brought::Code { code: code.into(), state: state.into() };
        for (head, brought) in [
            ("GET /callback?code=a%2Fb&state=s+t HTTP/1.1\r\nHost: x\r\n\r\n", code("a/b", "s t")),
            ("GET /callback?state=s&code=c&session=1 HTTP/1.1\r\n\r\n", code("c", "s")),
            ("GET /favicon.ico HTTP/1.1\r\n\r\n", Brought::Nothing),
            ("GET /callback HTTP/1.1\r\n\r\n", Brought::Nothing),
            ("GET /callback?code=c HTTP/1.1\r\n\r\n", Brought::Nothing),
            ("POST /callback?code=c&state=s HTTP/1.1\r\n\r\n", Brought::Nothing),
            ("", Brought::Nothing),
            (
                "GET /callback?error=access_denied&error_description=not%1b[today&state=s HTTP/1.1\r\n\r\n",
                Brought::Refusal("access_denied not[today".into()),
            ),
        ] {
            assert_eq!(read(head), brought, "{head}");
        }
    }
}
