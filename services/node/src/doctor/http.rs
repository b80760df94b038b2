//! One question over plain HTTP, to endpoints for operators on this machine.

use anyhow::{Context, bail};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take, and how long it may be.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST: u64 = 4 << 20;

/// The body that `http://host:port` answers for `path`.
pub async fn get(base: &str, path: &str) -> anyhow::Result<String> {
    let address = base.trim_end_matches('/').strip_prefix("http://");
    let address = address.with_context(|| format!("{base:?}: write http://host:port"))?;
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0: the answer ends with the connection, in one piece
        let question = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(PATIENCE, ask).await.context("no answer in time")??;
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) => Ok(body.to_owned()),
        None => bail!("{address} does not speak HTTP"),
    }
}
