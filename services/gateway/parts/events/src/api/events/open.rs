//! How many streams of events are open, for whom, and how they end.

use gateway_api::translate::status;
use kernel::Refusal;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter, UpDownCounter};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::{Code, Status};

/// How much readers of events may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderLimits {
    /// Streams of events at once, of all callers.
    pub streams: usize,
    /// Streams of events at once, of the callers of one tenant.
    pub streams_of_a_tenant: usize,
    /// How long a reader may take nothing while events wait for it.
    pub patience: Duration,
}

/// The open streams of events of this process.
pub struct OpenStreams {
    limits: ReaderLimits,
    by_tenant: Mutex<HashMap<String, usize>>,
    open: UpDownCounter<i64>,
    sent: Counter<u64>,
    ended: Counter<u64>,
}

impl OpenStreams {
    /// None is open.
    pub fn new(limits: ReaderLimits, meter: &Meter) -> Arc<Self> {
        Arc::new(Self {
            limits,
            by_tenant: Mutex::default(),
            open: meter
                .i64_up_down_counter("berth_gateway_event_streams")
                .with_description("Streams of events that are open.")
                .build(),
            sent: meter
                .u64_counter("berth_gateway_events_sent")
                .with_description("Events handed to readers of streams, each counted once for each reader.")
                .build(),
            ended: meter
                .u64_counter("berth_gateway_event_streams_ended")
                .with_description("Streams of events that ended, by why.")
                .build(),
        })
    }

    /// How long a reader may take nothing.
    pub fn patience(&self) -> Duration {
        self.limits.patience
    }

    /// A place for one more stream, or why there is none.
    pub fn enter(self: &Arc<Self>, tenant: &str) -> Result<Place, Status> {
        let mut by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        let own = by_tenant.get(tenant).copied().unwrap_or_default();
        if own >= self.limits.streams_of_a_tenant {
            let most = self.limits.streams_of_a_tenant;
            return Err(full(format!(
                "the callers of this tenant read {most} streams of events at once, no more"
            )));
        }
        if by_tenant.values().sum::<usize>() >= self.limits.streams {
            return Err(full("this gateway has no room for another stream of events just now".to_owned()));
        }
        by_tenant.insert(tenant.to_owned(), own + 1);
        self.open.add(1, &[]);
        Ok(Place { streams: self.clone(), tenant: tenant.to_owned(), why: "READER_GONE" })
    }
}

fn full(text: String) -> Status {
    let refusal = Refusal::new("TOO_MANY_EVENT_STREAMS", text + ": end one, or try again later");
    status::refused_for_now(Code::ResourceExhausted, refusal, 5)
}

/// The place of one stream; given back when it is dropped.
pub struct Place {
    streams: Arc<OpenStreams>,
    tenant: String,
    why: &'static str,
}

impl Place {
    /// An event was handed over.
    pub fn sent(&self) {
        self.streams.sent.add(1, &[]);
    }

    /// Why the stream ends; the reader went away if nobody says.
    pub fn ends(mut self, why: &'static str) {
        self.why = why;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_tenant = self.streams.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = by_tenant.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                by_tenant.remove(&self.tenant);
            }
        }
        self.streams.open.add(-1, &[]);
        self.streams.ended.add(1, &[KeyValue::new("reason", self.why)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(answer: Result<Place, Status>) -> Option<String> {
        status::details(&answer.err()?).0.map(|refusal| refusal.code)
    }

    #[test]
    fn places_are_counted_by_tenant_and_together_and_given_back() {
        let meter = opentelemetry::global::meter("test");
        let limits = ReaderLimits { streams: 3, streams_of_a_tenant: 2, patience: Duration::ZERO };
        let streams = OpenStreams::new(limits, &meter);
        let (first, second) = (streams.enter("acme"), streams.enter("acme"));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(code(streams.enter("acme")).as_deref(), Some("TOO_MANY_EVENT_STREAMS"));
        let other = streams.enter("other");
        assert!(other.is_ok(), "one tenant does not take another's places");
        assert_eq!(code(streams.enter("third")).as_deref(), Some("TOO_MANY_EVENT_STREAMS"));
        drop(first);
        assert!(streams.enter("third").is_ok());
        drop((second, other));
        assert!(streams.by_tenant.lock().expect("whole").is_empty());
    }
}
