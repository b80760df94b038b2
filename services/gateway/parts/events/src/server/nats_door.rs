//! The door at the broker: whoever connects to it with an API token may send events of their tenant, and nothing else.

use crate::adapters::nats_claims::{self, CalloutKey, Connecting};
use gateway_api::api::audit::{Answered, Drafts};

use bus::Connection;
use bus::questions::{Question, Questions};
use chassis::HealthHandle;
use gateway_api::api::admit::{Admit, Peer, TENANT_HEADER, method_of};
use gateway_api::domain::caller::Caller;
use gateway_api::translate::status::code_name;
use gateway_api::translate::{audit, status};
use http::{Extensions, HeaderMap, HeaderValue, header};
use kernel::Clock;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// Where the broker asks.
const SUBJECT: &str = "$SYS.REQ.USER.AUTH";
/// Replicas share the questions.
const QUEUE: &str = "berth-gateway";
/// How long a client is let in; then it connects again and its token is looked at again.
pub const ADMITTED_FOR: Duration = Duration::from_secs(15 * 60);
/// What a client asks for.
const METHOD: &str = "/berth.gateway.v1.ExternalEventService/PublishEvents";

/// Answers the broker.
pub struct NatsDoor {
    key: CalloutKey,
    bus: Connection,
    admit: Arc<dyn Admit>,
    drafts: Arc<Drafts>,
    clock: Arc<dyn Clock>,
    connections: Counter<u64>,
}

impl NatsDoor {
    /// A door whose answers are signed with this key.
    pub fn new(
        key: CalloutKey,
        bus: Connection,
        admit: Arc<dyn Admit>,
        drafts: Arc<Drafts>,
        clock: Arc<dyn Clock>,
        meter: &Meter,
    ) -> Self {
        let connections = meter
            .u64_counter("berth_gateway_nats_clients")
            .with_description("Clients of other systems that connected to the broker, by outcome.")
            .build();
        Self { key, bus, admit, drafts, clock, connections }
    }

    /// Runs until told to stop.
    pub async fn run(self, stop: CancellationToken, health: HealthHandle) {
        let door = Arc::new(self);
        let mut pause = Duration::from_millis(100);
        while !stop.is_cancelled() {
            match Questions::listen(&door.bus, SUBJECT, QUEUE).await {
                Ok(mut questions) => {
                    health.ok("answers the broker");
                    pause = Duration::from_millis(100);
                    loop {
                        let question = tokio::select! {
                            () = stop.cancelled() => break,
                            question = questions.next() => question,
                        };
                        let Some(question) = question else { break };
                        let door = door.clone();
                        tokio::spawn(async move { door.answer(question).await });
                    }
                }
                Err(error) => health.bad(format!("cannot listen at the broker: {error}")),
            }
            tokio::select! { () = stop.cancelled() => {} () = tokio::time::sleep(pause) => {} }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn answer(&self, question: Question) {
        let connecting = match nats_claims::read(&question.payload) {
            Ok(connecting) => connecting,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "a question of the broker that cannot be read");
                return;
            }
        };
        let now_s = self.clock.now().micros() / 1_000_000;
        let until_s = now_s + ADMITTED_FOR.as_secs() as i64;
        let answer = match self.admit(&connecting).await {
            Ok(caller) => {
                self.connections.add(1, &[KeyValue::new("outcome", "admitted")]);
                self.key.admit(&connecting, &caller.tenant, &caller.actor, now_s, until_s)
            }
            Err(refused) => {
                self.connections.add(1, &[KeyValue::new("outcome", "refused")]);
                self.key.refuse(&connecting, refused.message(), now_s)
            }
        };
        if let Err(error) = question.answer(answer).await {
            tracing::warn!(%error, "the broker was not answered");
        }
    }

    /// The same check as at the public door, with the same record of who is denied.
    async fn admit(&self, connecting: &Connecting) -> Result<Caller, Status> {
        let method = method_of(METHOD).ok_or_else(|| Status::internal("no such method"))?;
        let (headers, extensions) = as_request(connecting);
        let draft = self.drafts.draft(method, "nats", &headers, &extensions);
        let admitted = self.admit.admit(&headers, &extensions, method).await;
        match &admitted {
            // it has sent nothing yet: each event gets a record of its own
            Ok(_) => draft.leave_out(),
            Err(refused) => {
                let refusal = status::details(refused).0.map(|refusal| refusal.code).unwrap_or_default();
                if refused.code() == Code::NotFound
                    && let Some(caller) = self.admit.identify(&headers).await
                {
                    draft.is_by(audit::who(&caller));
                }
                // what cannot be recorded is counted by the ledger
                let name = code_name(refused.code()).to_owned();
                let _ = draft.answered(Answered { code: refused.code(), name, refusal }).await;
            }
        }
        admitted
    }
}

/// A connection as the headers that a request would have.
fn as_request(connecting: &Connecting) -> (HeaderMap, Extensions) {
    let (mut headers, mut extensions) = (HeaderMap::new(), Extensions::new());
    if !connecting.token.is_empty() {
        // a token that no header holds is the token of nobody
        let value = HeaderValue::from_str(&format!("Bearer {}", connecting.token));
        headers.insert(header::AUTHORIZATION, value.unwrap_or_else(|_| HeaderValue::from_static("Bearer ?")));
    }
    if !connecting.tenant.is_empty() {
        let value = HeaderValue::from_str(&connecting.tenant);
        headers.insert(TENANT_HEADER, value.unwrap_or_else(|_| HeaderValue::from_static("?")));
    }
    if let Ok(address) = connecting.host.parse() {
        extensions.insert(Peer(address));
    }
    (headers, extensions)
}
