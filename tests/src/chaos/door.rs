//! The public door as a patient client uses it: a request is repeated under its key until it is answered.

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use std::time::Duration;
use testkit::eventually;

/// Longer than any story: it is the story that ends a client's waiting.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// A client of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    client: Client,
    base: String,
    token: String,
}

impl Door {
    /// The door at `base`.
    pub fn new(base: String, token: String) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // a gateway that is held answers nobody: give up soon and ask again
        let client = Client::builder().timeout(Duration::from_secs(3)).build().expect("a client");
        Self { client, base, token }
    }

    /// Asks once. `None`: no answer, or one that says to come again.
    pub async fn once(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Option<&Value>,
    ) -> Option<(StatusCode, Value)> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if !key.is_empty() {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status();
        let transient = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        (!transient).then_some((status, answer.json().await.ok()?))
    }

    /// Asks until there is an answer.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let what = format!("an answer to {method} {path}");
        eventually(PATIENCE, &what, async || self.once(method.clone(), path, key, body).await).await
    }

    /// Waits for the end of an operation and answers it.
    pub async fn wait(&self, operation: &str) -> Value {
        let path = format!("/v1/operations/{operation}/wait?timeout_ms=2000");
        loop {
            // the gateway itself holds each question for a while
            let (_, mut shown) = self.ask(Method::GET, &path, "", None).await;
            let shown = shown["operation"].take();
            let state = shown["state"].as_str().unwrap_or_default();
            if ["SUCCEEDED", "FAILED", "SUPERSEDED"].iter().any(|end| state.ends_with(end)) {
                return shown;
            }
        }
    }
}
