//! Accepting connections, and ending them in order.

use super::doors::Doors;
use crate::api::admit::Peer;
use anyhow::{Context, bail};
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a TLS handshake or the headers of a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long requests may take to finish when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// Connections at once; more wait in the listener's queue.
const CONNECTIONS: usize = 10_000;

/// Binds the address. Without TLS only a loopback address, or when `insecure_dev` says so.
pub async fn bind(address: &str, tls: bool, insecure_dev: bool) -> anyhow::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(address)
        .await
        .with_context(|| format!("listen is {address:?}; write 127.0.0.1:7480"))?
        .collect();
    let outside = addresses.iter().any(|a| !a.ip().is_loopback());
    if !tls && outside && !insecure_dev {
        bail!(
            "listen is {address}: tokens would travel in clear; set tls_cert_file and tls_key_file, listen on 127.0.0.1, or say insecure_dev"
        );
    }
    if !tls && outside {
        tracing::warn!(
            address,
            "INSECURE: listening without TLS beyond this machine; anybody on the way reads tokens and data"
        );
    } else if !tls {
        tracing::warn!(address, "listening without TLS, for this machine only");
    }
    TcpListener::bind(&*addresses).await.with_context(|| format!("listen: cannot listen on {address}"))
}

/// Serves until told to stop; then no connection is accepted any more and requests under way are finished.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    doors: Doors,
    sockets: TaskTracker,
    stopping: CancellationToken,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let connections = TaskTracker::new();
    let room = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            () = stopping.cancelled() => break,
            place = room.clone().acquire_owned() => place,
        };
        let (stream, peer) = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => (stream, Peer(peer.ip().to_canonical())),
                Err(error) => {
                    // out of file descriptors, most likely: without a pause this would spin
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, doors, stopping) = (acceptor.clone(), doors.clone(), stopping.clone());
        connections.spawn(async move {
            let _place = place;
            match acceptor {
                None => connection(stream, peer, doors, stopping).await,
                Some(acceptor) => match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, peer, doors, stopping).await,
                    Ok(Err(error)) => tracing::debug!(%error, "tls handshake failed"),
                    Err(_) => tracing::debug!("tls handshake took too long"),
                },
            }
        });
    }
    drop(listener);
    connections.close();
    sockets.close();
    let all = async { tokio::join!(connections.wait(), sockets.wait()) };
    if tokio::time::timeout(FAREWELL, all).await.is_err() {
        tracing::warn!(left = connections.len() + sockets.len(), "requests were cut off");
    }
}

async fn connection<S>(stream: S, peer: Peer, doors: Doors, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let doors = doors.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        async move { Ok::<_, Infallible>(doors.answer(request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(256);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = stopping.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
