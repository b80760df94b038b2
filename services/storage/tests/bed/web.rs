//! A web server that behaves badly on request.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;

/// A server on the loopback interface. Ends with the value.
pub struct Web {
    pub address: SocketAddr,
    site: Arc<Site>,
    task: tokio::task::JoinHandle<()>,
}

struct Site {
    files: BTreeMap<String, Bytes>,
    hits: AtomicU32,
    /// Requests that fail before one succeeds.
    failures: AtomicU32,
    opened: Notify,
    gate: tokio::sync::Semaphore,
}

impl Web {
    /// Serves files under: `/file/NAME`; `/flaky/NAME` (first 503, then cut off, then well); `/slow/NAME` (half at once,
    /// the rest when [`Web::open`] is called); `/to/N/NAME` (N redirects); `/status/CODE`.
    pub async fn serve(files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Self {
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), Bytes::from(bytes))).collect();
        let site = Arc::new(Site {
            files,
            hits: AtomicU32::new(0),
            failures: AtomicU32::new(2),
            opened: Notify::new(),
            gate: tokio::sync::Semaphore::new(0),
        });
        let app = Router::new()
            .route("/file/{name}", get(file))
            .route("/flaky/{name}", get(flaky))
            .route("/slow/{name}", get(slow))
            .route("/to/{n}/{name}", get(redirect))
            .route("/status/{code}", get(status))
            .with_state(site.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, site, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Requests so far.
    pub fn hits(&self) -> u32 {
        self.site.hits.load(Ordering::SeqCst)
    }

    /// The next two requests for a flaky file fail.
    pub fn break_again(&self) {
        self.site.failures.store(2, Ordering::SeqCst);
    }

    /// Waits until somebody fetches a slow file.
    pub async fn fetched(&self) {
        self.site.opened.notified().await;
    }

    /// Slow files come to their end.
    pub fn open(&self) {
        self.site.gate.add_permits(1000);
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn file(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    site.hits.fetch_add(1, Ordering::SeqCst);
    site.files
        .get(&name)
        .cloned()
        .map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
}

async fn flaky(state: State<Arc<Site>>, name: Path<String>) -> Response {
    let left = state.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    match left {
        Ok(2) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Ok(_) => {
            let bytes = state.files[&name.0].clone();
            let half = bytes.slice(..bytes.len() / 2);
            let pieces = [Ok(half), Err(std::io::Error::other("the line is cut"))];
            let body = Body::from_stream(futures::stream::iter(pieces));
            ([(header::CONTENT_LENGTH, bytes.len().to_string())], body).into_response()
        }
        Err(_) => file(state, name).await,
    }
}

async fn slow(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    let bytes = site.files[&name].clone();
    let (first, rest) = (bytes.slice(..bytes.len() / 2), bytes.slice(bytes.len() / 2..));
    site.opened.notify_one();
    let first = futures::stream::iter([Ok::<_, std::io::Error>(first)]);
    let rest = futures::stream::once(async move {
        let _ = site.gate.acquire().await.map(tokio::sync::SemaphorePermit::forget);
        Ok(rest)
    });
    Body::from_stream(futures::StreamExt::chain(first, rest)).into_response()
}

async fn redirect(Path((n, name)): Path<(u32, String)>) -> Redirect {
    match n {
        1 => Redirect::temporary(&format!("/file/{name}")),
        n => Redirect::temporary(&format!("/to/{}/{name}", n - 1)),
    }
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}
