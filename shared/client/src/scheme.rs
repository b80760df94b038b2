//! When a gateway cannot be reached: does it speak the other scheme?

use super::{Exit, Failure};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Uri;

/// How long the question may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What answers on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Tls,
    Http,
}

/// The same failure; with the right scheme as its hint when the endpoint was given with the wrong one.
pub(super) async fn explain(failure: Failure, endpoint: &str) -> Failure {
    if failure.exit != Exit::Unreachable {
        return failure;
    }
    let Ok(uri) = endpoint.parse::<Uri>() else { return failure };
    let speaks = tokio::time::timeout(PATIENCE, ask(&uri)).await.ok().flatten();
    match (uri.scheme_str(), speaks) {
        (Some("http"), Some(Speaks::Tls)) => {
            let right = endpoint.replacen("http://", "https://", 1);
            failure
                .hint(format!("it speaks TLS: write {right}, with --ca-file for its certificate authority"))
        }
        (Some("https"), Some(Speaks::Http)) => {
            let right = endpoint.replacen("https://", "http://", 1);
            failure.hint(format!("it speaks without TLS: write {right}"))
        }
        _ => failure,
    }
}

/// A request in clear, without the token: who speaks TLS answers with an alert, or hangs up.
async fn ask(uri: &Uri) -> Option<Speaks> {
    let host = uri.host()?.trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    stream.write_all(b"OPTIONS * HTTP/1.1\r\nHost: berth\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut first = [0; 5];
    let read = stream.read(&mut first).await.unwrap_or(0);
    what_it_is(&first[..read])
}

fn what_it_is(first: &[u8]) -> Option<Speaks> {
    match first {
        // an alert: content type 21, protocol 3.x (RFC 8446, section 5.1)
        [0x15, 0x03, ..] => Some(Speaks::Tls),
        [b'H', b'T', b'T', b'P', ..] => Some(Speaks::Http),
        // the settings frame with which a server that knows HTTP/2 only begins (RFC 9113, section 3.4)
        [0, 0, _, 4, 0] => Some(Speaks::Http),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        assert_eq!(what_it_is(b"\x15\x03\x03\x00\x02"), Some(Speaks::Tls));
        assert_eq!(what_it_is(b"HTTP/"), Some(Speaks::Http));
        assert_eq!(what_it_is(b"\x00\x00\x12\x04\x00"), Some(Speaks::Http));
        assert_eq!((what_it_is(b""), what_it_is(b"SSH-2")), (None, None));
    }
}
