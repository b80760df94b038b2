//! A receiver of webhooks on this machine, with the manners a test gives it.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Got {
    pub id: String,
    pub attempt: u32,
    pub timestamp: i64,
    pub signature: String,
    pub media_type: String,
    pub body: Vec<u8>,
    pub event: Value,
    pub at: Instant,
    /// When it was answered.
    pub answered: Option<Instant>,
}

impl Got {
    /// "io.berth.scheduler.v1.InstanceReady".
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default()
    }

    pub fn subject(&self) -> &str {
        self.event["subject"].as_str().unwrap_or_default()
    }

    /// The revision of the instance in it.
    pub fn revision(&self) -> u64 {
        self.event["data"]["instance"]["revision"].as_u64().unwrap_or_default()
    }

    /// Whether one of its signatures was made with this secret, checked as a receiver does.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD;
        let key = base64.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64");
        self.signature.split(' ').any(|signature| {
            let given = base64.decode(signature.strip_prefix("v1,").expect("version 1")).expect("base64");
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
            mac.update(format!("{}.{}.", self.id, self.timestamp).as_bytes());
            mac.update(&self.body);
            mac.verify_slice(&given).is_ok()
        })
    }
}

/// What a receiver answers.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub delay: Duration,
    /// Bytes of the body.
    pub bytes: usize,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

type Manners = Box<dyn Fn(&Got) -> Reply + Send + Sync>;

struct Inner {
    got: Mutex<Vec<Got>>,
    manners: Mutex<Manners>,
}

/// It. Ends with the test.
pub struct Receiver {
    inner: Arc<Inner>,
    pub address: SocketAddr,
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::with(|_| Reply::status(204)).await
    }

    /// One with manners.
    pub async fn with(manners: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> Self {
        let inner = Arc::new(Inner { got: Mutex::default(), manners: Mutex::new(Box::new(manners)) });
        let router = axum::Router::new().fallback(take).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, address }
    }

    /// Other manners from now on.
    pub fn behave(&self, manners: impl Fn(&Got) -> Reply + Send + Sync + 'static) {
        *self.inner.manners.lock().unwrap() = Box::new(manners);
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.inner.got.lock().unwrap().clone()
    }

    /// Requests about one object.
    pub fn about(&self, object: &str) -> Vec<Got> {
        self.got().into_iter().filter(|got| got.subject() == object).collect()
    }

    /// Waits for what the requests so far have to show.
    pub async fn until<T>(&self, what: &str, check: impl Fn(&[Got]) -> Option<T>) -> T {
        testkit::eventually(super::PATIENCE, what, async || check(&self.got())).await
    }
}

async fn take(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let got = Got {
        id: header("webhook-id"),
        attempt: header("berth-delivery-attempt").parse().unwrap_or_default(),
        timestamp: header("webhook-timestamp").parse().unwrap_or_default(),
        signature: header("webhook-signature"),
        media_type: header("content-type"),
        event: serde_json::from_slice(&body).unwrap_or_default(),
        body: body.to_vec(),
        at: Instant::now(),
        answered: None,
    };
    let reply = (inner.manners.lock().unwrap())(&got);
    let place = {
        let mut all = inner.got.lock().unwrap();
        all.push(got);
        all.len() - 1
    };
    // a receiver that thinks: nothing is waited for
    let _ = tokio::time::timeout(reply.delay, std::future::pending::<()>()).await;
    inner.got.lock().unwrap()[place].answered = Some(Instant::now());
    let mut response =
        (StatusCode::from_u16(reply.status).expect("a status"), Body::from(vec![b'x'; reply.bytes]))
            .into_response();
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().expect("a header"));
    }
    response
}
