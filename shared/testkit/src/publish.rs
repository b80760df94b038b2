//! Events that nobody's outbox holds.

use bus::{Connection, Envelope};

/// Puts an event into the log, as a relay does.
///
/// # Panics
/// When the broker does not take it.
pub async fn publish(bus: &Connection, event: &Envelope) {
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in event.headers() {
        headers.insert(name.as_str(), value.as_str());
    }
    let (subject, payload) = (event.subject.to_string(), event.payload.clone());
    let sent = bus.jetstream().publish_with_headers(subject, headers, payload).await.expect("sent");
    sent.await.expect("stored");
}
